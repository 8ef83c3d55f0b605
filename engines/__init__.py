"""Model engines as other people have them, behind the service (`make engines`): asked directly and through it."""
