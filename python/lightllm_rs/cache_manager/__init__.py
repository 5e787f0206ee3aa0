"""The cache manager: a Rust loop, entered once, that owns the shared memory of images and their features."""
