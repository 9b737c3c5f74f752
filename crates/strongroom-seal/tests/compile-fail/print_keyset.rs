use strongroom_seal::*;

fn print(key: &TinkKeyset) {
    println!("{key:?}");
}

fn main() {}
