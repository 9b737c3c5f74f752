use strongroom_seal::*;

fn print(key: &Secret<32>) {
    println!("{key:?}");
}

fn main() {}
