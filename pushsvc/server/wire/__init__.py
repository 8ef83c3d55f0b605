"""HTTP/1.1 on a client's connection: heads through a parser in C, bodies as they are wanted, and responses."""
