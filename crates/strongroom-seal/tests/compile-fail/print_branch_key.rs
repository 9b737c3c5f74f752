use strongroom_seal::*;

fn print(key: &BranchKey) {
    println!("{key:?}");
}

fn main() {}
