"""The events that are published, and how they arrive."""
