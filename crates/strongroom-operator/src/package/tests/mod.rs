//! Packages, held against their verifier, which shares no code with what makes them.

mod fixture;
mod mutation;
mod redaction;
mod repeat;
mod vectors;
