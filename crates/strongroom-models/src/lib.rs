//! Engines that answer: upstream servers and a built-in model.
