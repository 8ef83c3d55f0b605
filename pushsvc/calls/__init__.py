"""What the calls of HTTP mean, whatever server and framework read the request and write the response."""
