//! Durable append and a C2SP transparency log.
