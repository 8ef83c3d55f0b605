"""Models, and their answers."""
