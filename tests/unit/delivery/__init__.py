"""Tests of pushsvc/delivery."""
