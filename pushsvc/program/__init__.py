"""The program itself: its version, and what it says to the operator."""
