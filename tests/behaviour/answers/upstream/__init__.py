"""The model's server: how it is asked, what it may answer, and what goes through to it."""
