//! The program: configuration, composition, listeners and commands. Logic that is not one of these four is
//! in the wrong place here.

mod env;
mod folder;
mod harden;
mod limits;
mod listen;
mod local;
mod logs;
mod tls;
