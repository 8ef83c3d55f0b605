"""The data that Redis keeps: the log, presence, tickets."""
