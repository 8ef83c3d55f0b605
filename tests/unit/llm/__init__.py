"""Tests of pushsvc/llm."""
