"""The description of the HTTP surface for machines (OpenAPI 3.1), made from the constants that the calls are checked
with."""
