"""The supervisor: starts the other processes, restarts or stops them, and leaves nothing behind."""
