"""What the resources share: a request read and checked, and how it is answered or refused."""
