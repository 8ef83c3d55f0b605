"""Tests of pushsvc/checks."""
