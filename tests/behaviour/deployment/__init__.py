"""The service as an operator has it: its commands, nginx, other servers, other machines."""
