"""Tests of pushsvc/server."""
