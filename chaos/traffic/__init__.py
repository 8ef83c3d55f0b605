"""Who publishes and who listens while things break."""
