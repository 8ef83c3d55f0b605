"""The model's API."""
