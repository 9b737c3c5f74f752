//! Formats and key types of Strongroom.
