"""`lightllm-rs profile`: seconds of the steps of a real backend, written down as the simulator's cost model."""
