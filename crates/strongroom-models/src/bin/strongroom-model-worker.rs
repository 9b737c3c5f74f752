//! The model worker as a program of its own, for tests; the strongroom program has the same as a hidden command.

fn main() {
    strongroom_models::worker_main();
}
