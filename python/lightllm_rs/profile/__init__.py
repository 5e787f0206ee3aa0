"""`lightllm-rs profile` and `trace`: seconds of the steps of a real backend, and where they go."""
