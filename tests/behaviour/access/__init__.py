"""Access: who may do what, and how a request says who it is."""
