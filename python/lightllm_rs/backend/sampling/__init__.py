"""Drawing tokens from logits: a stage of its own after the forward pass."""
