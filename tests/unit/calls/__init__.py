"""The tests of calls that need no server."""
