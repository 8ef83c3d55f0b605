"""Events, and their bytes. Pure."""
