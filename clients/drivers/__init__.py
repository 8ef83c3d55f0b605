"""The drivers of the three browsers."""
