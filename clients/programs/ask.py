"""Asks a model through the service with one of PyPI's libraries, and prints lines of JSON:

python ask.py LIBRARY URL TOKEN streamed|whole|tools QUESTION [IDEMPOTENCY_KEY]
"""

import asyncio
import json
import os
import sys

NAME, URL, TOKEN, HOW, QUESTION, *KEY = sys.argv[1:]
HEADERS = {"Idempotency-Key": KEY[0]} if KEY else {}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def say(**line):
    print(json.dumps(line), flush=True)


def with_openai():
    from openai import OpenAI

    client = OpenAI(base_url=URL, api_key=TOKEN)
    asked = {"model": "m", "messages": [{"role": "user", "content": QUESTION}], "extra_headers": HEADERS}
    if HOW == "whole":
        say(text=client.chat.completions.create(**asked).choices[0].message.content)
    elif HOW == "tools":
        message = client.chat.completions.create(**asked, tools=[TOOL]).choices[0].message
        for call in message.tool_calls:
            say(tool=call.function.name, arguments=json.loads(call.function.arguments))
        with client.chat.completions.stream(**asked, tools=[TOOL]) as stream:
            for call in stream.get_final_completion().choices[0].message.tool_calls:
                say(tool=call.function.name, arguments=json.loads(call.function.arguments))
    else:
        for chunk in client.chat.completions.create(**asked, stream=True):
            for choice in chunk.choices:
                say(text=choice.delta.content or "", finished=choice.finish_reason)


def with_langchain():
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(base_url=URL, api_key=TOKEN, model="m", default_headers=HEADERS, stream_usage=True)
    if HOW == "whole":
        say(text=model.invoke(QUESTION).content)
    elif HOW == "tools":
        bound = model.bind_tools([TOOL])
        for call in bound.invoke(QUESTION).tool_calls:
            say(tool=call["name"], arguments=call["args"])
        whole = None
        for chunk in bound.stream(QUESTION):
            whole = chunk if whole is None else whole + chunk
        for call in whole.tool_calls:
            say(tool=call["name"], arguments=call["args"])
    else:
        for chunk in model.stream(QUESTION):
            say(text=chunk.content, finished=chunk.response_metadata.get("finish_reason"))


def with_litellm():
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would ask the internet for prices
    import litellm

    asked = {
        "model": "openai/m", "api_base": URL, "api_key": TOKEN, "extra_headers": HEADERS,
        "messages": [{"role": "user", "content": QUESTION}],
    }  # fmt: skip
    if HOW == "whole":
        say(text=litellm.completion(**asked).choices[0].message.content)
    elif HOW == "tools":
        answers = [litellm.completion(**asked, tools=[TOOL])]
        answers.append(litellm.stream_chunk_builder(list(litellm.completion(**asked, tools=[TOOL], stream=True))))
        for answer in answers:
            for call in answer.choices[0].message.tool_calls:
                say(tool=call.function.name, arguments=json.loads(call.function.arguments))
    else:
        for chunk in litellm.completion(**asked, stream=True):
            say(text=chunk.choices[0].delta.content or "", finished=chunk.choices[0].finish_reason)


async def with_pydantic_ai():
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel("m", provider=OpenAIProvider(base_url=URL, api_key=TOKEN))
    agent = Agent(model, model_settings={"extra_headers": HEADERS})
    if HOW == "whole":
        say(text=(await agent.run(QUESTION)).output)
    elif HOW == "tools":

        @agent.tool_plain
        def weather(city: str) -> str:
            say(tool="weather", arguments={"city": city})
            return "sunny"

        say(text=(await agent.run(QUESTION)).output)
        async with agent.run_stream(QUESTION) as result:
            say(text=await result.get_output())
    else:
        async with agent.run_stream(QUESTION) as result:
            async for text in result.stream_text(delta=True, debounce_by=None):
                say(text=text)
            say(text="", finished=result.response.finish_reason)


def cause(error, name):
    """The statement of the library, or the one that it wraps, about the response."""
    while error is not None:
        if getattr(error, name, None) is not None:
            return getattr(error, name)
        error = error.__cause__ or error.__context__
    return None


LIBRARIES = {
    "openai": with_openai,
    "langchain-openai": with_langchain,
    "litellm": with_litellm,
    "pydantic-ai": lambda: asyncio.run(with_pydantic_ai()),
}
try:
    LIBRARIES[NAME]()
    say(ended=True)
except Exception as error:
    response = cause(error, "response")
    say(
        error=type(error).__name__,
        message=str(error),
        status=cause(error, "status_code"),
        headers=dict(response.headers) if response is not None else {},
    )
