"""Checks before anybody is served: of the environment, and of what Redis is and does."""
