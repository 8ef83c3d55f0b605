"""The meaning of the calls of HTTP, whatever server and framework read the request and write the response."""
