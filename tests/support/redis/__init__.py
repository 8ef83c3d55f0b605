"""Redis servers of tests."""
