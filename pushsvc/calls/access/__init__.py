"""Who calls, and what is kept in a browser for that."""
