"""Bodies of requests: what is read from JSON, with types and ranges. What needs the model or the limits comes later."""
