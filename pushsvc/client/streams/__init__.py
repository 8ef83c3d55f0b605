"""Publishing as a stream: one request, an event a line."""
