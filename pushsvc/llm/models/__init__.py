"""The models that can be asked: those of another server (Upstream), and the Mock."""
