"""Tests of pushsvc/storage."""
