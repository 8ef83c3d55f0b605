"""The stack that is broken, with each kind of Redis."""
