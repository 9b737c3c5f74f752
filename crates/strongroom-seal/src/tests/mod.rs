//! Tests of the whole crate that need to choose nonces, which nothing outside of it may.

mod vectors;
