"""The backends that publish and the users who listen while things break."""
