//! A whole system on port 0 for tests and benches.
