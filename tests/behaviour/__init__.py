"""What one stack does for those who use it."""
