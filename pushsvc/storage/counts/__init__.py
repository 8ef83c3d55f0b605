"""What Redis counts: connections, and calls against their rates."""
