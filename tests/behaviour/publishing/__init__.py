"""What is published, and how it arrives."""
