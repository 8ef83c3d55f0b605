"""Parts that the resources share: a request is read and checked, and answered or refused."""
