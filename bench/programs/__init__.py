"""Processes of the benchmark: the clients in C, and what they used."""
