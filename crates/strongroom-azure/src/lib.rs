//! The Azure dialect, both directions.
