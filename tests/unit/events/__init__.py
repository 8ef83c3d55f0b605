"""Tests of pushsvc/events."""
