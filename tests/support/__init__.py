"""The parts that tests share: stacks, servers, clients, models."""
