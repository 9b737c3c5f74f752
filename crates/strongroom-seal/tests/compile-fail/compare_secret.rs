use strongroom_seal::*;

fn equal(one: &Secret<32>, two: &Secret<32>) -> bool {
    one == two
}

fn main() {}
