"""`lightllm-rs bench`: a load client for any OpenAI-like server, and figures of the engine and of its start alone."""
