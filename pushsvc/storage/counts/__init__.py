"""The things that Redis counts: connections, and calls against their rates."""
