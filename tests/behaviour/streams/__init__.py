"""Streams, long polls, and how each begins and ends."""
