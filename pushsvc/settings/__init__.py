"""The types of settings."""
