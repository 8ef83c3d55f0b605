"""Of pushsvc/llm."""
