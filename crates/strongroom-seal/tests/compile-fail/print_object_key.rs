use strongroom_seal::*;

fn print(key: &ObjectKey) {
    println!("{key:?}");
}

fn main() {}
