"""APIs of models other than chat completions, spoken by the clients that people use."""
