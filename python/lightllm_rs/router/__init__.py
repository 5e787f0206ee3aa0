"""The router process: a Rust loop, entered once."""
