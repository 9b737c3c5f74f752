use strongroom_seal::*;

fn copy(key: &BranchKey) -> BranchKey {
    key.clone()
}

fn main() {}
