"""Answers in the words of other APIs: their requests become questions, and the chunks in the log their events."""
