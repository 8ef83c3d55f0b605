"""The presence of users over all workers: asked when somebody wants to know, and told to a backend when it changes."""
