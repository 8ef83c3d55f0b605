"""Tests of pushsvc/concurrency."""
