"""The UI message stream protocol of the AI SDK (ai-sdk.dev, "Stream Protocols")."""
