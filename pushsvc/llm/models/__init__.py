"""Models that can be asked: another server's, and the mock."""
