"""The JSON of questions and answers, as OpenAI's API has it. Pure."""
