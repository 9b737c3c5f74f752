//! The store as a whole, over disk and memory, with a vault that answers on cue.

mod blobs;
mod crash;
mod jobs;
mod model;
mod objects;
mod pieces;
mod rekey;
mod rig;
mod shredding;
