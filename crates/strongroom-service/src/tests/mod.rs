//! The routes from outside, over a real store.

mod auth;
mod bad_input;
mod batches;
mod chat;
mod completions;
mod files;
mod fine_tuning;
mod journal;
mod models;
mod responses;
mod revocation;
mod rig;
mod table;
mod uploads;
