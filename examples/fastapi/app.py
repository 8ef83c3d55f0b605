"""A chat with a language model, whose answer comes token by token to all tabs of the user who asked.

pip install 'pushsvc' fastapi uvicorn
PUSHSVC_URL=http://127.0.0.1:8080 PUSHSVC_TOKEN=… uvicorn app:app --port 5001
"""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import BackgroundTasks, Body, Cookie, FastAPI, Response
from fastapi.responses import HTMLResponse

from pushsvc.contrib.fastapi import Push


def user(who: Annotated[str | None, Cookie()] = None) -> str | None:
    return who  # a real one verifies a session


app = FastAPI()
push = Push(os.environ["PUSHSVC_URL"], os.environ["PUSHSVC_TOKEN"], user=user)
app.include_router(push.router)

PAGE = """<!doctype html><html lang="en"><title>Chat</title>
<form><input name="question" aria-label="Question"><button>Ask</button></form><p id="answer"></p>
PUSH_SCRIPT
<script>
  window.push?.on("token", text => document.querySelector("#answer").append(text));
  document.querySelector("form").onsubmit = event => {
    event.preventDefault();
    fetch("/ask", { method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify(event.target.question.value) });
  };
</script></html>"""


@app.get("/", response_class=HTMLResponse)
def index(who: Annotated[str | None, Cookie()] = None) -> str:
    return PAGE.replace("PUSH_SCRIPT", push.script(who))


@app.get("/login")
def login(name: str, response: Response) -> None:
    response.set_cookie("who", name, httponly=True, samesite="lax")


async def model(question: str) -> AsyncIterator[str]:
    """Stands for the call of a real one."""
    for word in f"You asked: {question}".split(" "):
        await asyncio.sleep(0.01)
        yield f"{word} "


async def answer(question: str, who: str) -> None:
    async with push.stream() as stream:
        async for text in model(question):
            await stream.publish(text, user=who, event="token")


@app.post("/ask", status_code=202)
def ask(question: Annotated[str, Body()], tasks: BackgroundTasks, who: Annotated[str, Cookie()]) -> None:
    tasks.add_task(answer, question, who)
