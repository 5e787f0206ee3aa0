"""The health server: knows from heartbeats and progress whether the service lives and may take requests."""
