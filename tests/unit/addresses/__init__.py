"""Tests of pushsvc/addresses."""
