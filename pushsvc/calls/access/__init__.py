"""The caller, and what is kept in a browser for that."""
