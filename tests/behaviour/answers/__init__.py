"""Answers of models: asked for, listened to, kept."""
