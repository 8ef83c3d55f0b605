"""Redis has lost events: found, and said."""
