"""The transports: ways in which bytes reach the client of one connection."""
