//! The second reader: proves what the stored bytes are.
