use strongroom_seal::*;

fn copy(key: &TinkKeyset) -> TinkKeyset {
    key.clone()
}

fn main() {}
