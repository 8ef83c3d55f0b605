"""The behaviour of one stack for those who use it."""
