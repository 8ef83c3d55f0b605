"""The parts of an answer that is being made: how it is asked, read, followed and handed over for writing."""
