"""The things that are broken, refused or away, and what users see of it."""
