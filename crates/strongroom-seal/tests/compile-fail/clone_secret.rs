use strongroom_seal::*;

fn copy(key: &Secret<32>) -> Secret<32> {
    key.clone()
}

fn main() {}
