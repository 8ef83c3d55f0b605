"""The version of the service."""

VERSION = "0.3.0"
