use strongroom_seal::*;

fn copy(key: &ObjectKey) -> ObjectKey {
    key.clone()
}

fn main() {}
