"""What is broken, refused or away, and what users see of it."""
