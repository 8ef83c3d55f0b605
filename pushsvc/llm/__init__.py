"""Answers of language models: asked, written to the log, kept."""
