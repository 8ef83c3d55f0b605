"""What drives the three browsers."""
