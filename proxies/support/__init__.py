"""The proxies that the tests start, and the table that they fill."""
