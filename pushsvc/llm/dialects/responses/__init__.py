"""OpenAI's Responses API (API reference, "Responses")."""
