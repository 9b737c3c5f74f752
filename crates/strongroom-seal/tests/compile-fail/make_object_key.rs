use strongroom_seal::*;

fn chosen() -> ObjectKey {
    ObjectKey { secret: Secret::build(|bytes| bytes.fill(1)) }
}

fn main() {}
