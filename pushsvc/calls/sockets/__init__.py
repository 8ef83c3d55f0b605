"""WebSockets: the handshake, the frames that their clients send, and the calls in these."""
