"""Asks by the Responses API with one of PyPI's libraries, and prints lines of JSON:

python responses.py LIBRARY URL TOKEN
"""

import asyncio
import json
import os
import sys

NAME, URL, TOKEN = sys.argv[1:]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}}


def say(**line):
    print(json.dumps(line), flush=True)


def with_openai():
    from openai import OpenAI

    client = OpenAI(base_url=URL, api_key=TOKEN)
    say(whole=client.responses.create(model="mock", input="q").output_text)
    events = list(client.responses.create(model="mock", input="q", stream=True))
    rest = list(client.responses.retrieve(events[0].response.id, stream=True, starting_after=99))
    assert rest == events[100:]
    say(streamed=events[-1].response.output_text)
    tool = {"type": "function", "strict": True} | TOOL["function"]
    [call] = client.responses.create(model="mock", input="Oslo", tools=[tool]).output
    say(tool=call.name, arguments=json.loads(call.arguments))


def with_langchain():
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(base_url=URL, api_key=TOKEN, model="mock", use_responses_api=True)
    say(whole=model.invoke("q").text)
    say(streamed="".join(chunk.text for chunk in model.stream("q")))
    whole = None
    for chunk in model.bind_tools([TOOL]).stream("Oslo"):
        whole = chunk if whole is None else whole + chunk
    [call] = whole.tool_calls
    say(tool=call["name"], arguments=call["args"])


async def with_pydantic_ai():
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIResponsesModel("mock", provider=OpenAIProvider(base_url=URL, api_key=TOKEN))
    say(whole=(await Agent(model).run("q")).output)
    async with Agent(model).run_stream("q") as result:
        say(streamed=await result.get_output())
    agent = Agent(model)

    @agent.tool_plain
    def weather(city: str) -> str:
        say(tool="weather", arguments={"city": city})
        return "sunny"

    assert "sunny" in (await agent.run("Oslo")).output


def with_litellm():
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would ask the internet for prices
    import litellm

    asked = {"model": "openai/mock", "input": "q", "api_base": URL, "api_key": TOKEN}
    say(whole=litellm.responses(**asked).output[0].content[0].text)
    events = list(litellm.responses(**asked, stream=True))
    say(streamed=events[-1].response.output[0].content[0].text)
    tool = {"type": "function", "strict": True} | TOOL["function"]
    [call] = litellm.responses(**asked | {"input": "Oslo"}, tools=[tool]).output
    say(tool=call.name, arguments=json.loads(call.arguments))


LIBRARIES = {
    "openai": with_openai,
    "langchain-openai": with_langchain,
    "pydantic-ai": lambda: asyncio.run(with_pydantic_ai()),
    "litellm": with_litellm,
}
LIBRARIES[NAME]()
say(ended=True)
