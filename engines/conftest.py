from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from engines.install import ENVIRONMENT, FOLDER
from tests.conftest import _model as _model
from tests.conftest import model as model
from tests.conftest import shared as shared
from tests.conftest import user as user
from tests.support.clients.eventsource import until
from tests.support.ports import free_port
from tests.support.processes import dies_with_the_tests
from tests.support.stack import Stack

KEY = "sk-engines"
_LITELLM = """
model_list:
  - model_name: tiny
    litellm_params: {model: openai/tiny, api_base: "%s", api_key: x}
general_settings: {master_key: %s}
litellm_settings: {num_retries: 0}
"""


@dataclass
class Engine:
    """A server of models at `base`, and the service before it."""

    name: str
    base: str
    process: subprocess.Popen[bytes]
    stack: Stack
    engine: str  # the URL of llama.cpp itself

    def ask(self, **members: object) -> httpx.Response:
        return _post(self.base, KEY, members)

    def through(self, **members: object) -> httpx.Response:
        return _post(f"{self.stack.url}/v1", self.stack.token("ada"), members)

    def busy(self) -> int:
        """The number of answers that the engine makes just now."""
        return sum(each["is_processing"] for each in httpx.get(f"{self.engine}/slots", trust_env=False).json())


def _post(base: str, key: str, members: object) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"}
    question = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 60, "temperature": 0}
    body = question | members  # type: ignore[operator]
    return httpx.post(f"{base}/chat/completions", json=body, headers=headers, trust_env=False, timeout=120)


def _start(folder: Path, url: str, *words: str | Path) -> subprocess.Popen[bytes]:
    """Start a program, and wait until it answers at `url`."""
    if not ENVIRONMENT.exists():
        pytest.skip("its packages are not there")
    environ = dict(os.environ) | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
    with (folder / "output").open("ab") as log:
        process = subprocess.Popen(
            [*map(str, words)], cwd=folder, stdout=log, stderr=log, env=environ,
            preexec_fn=dies_with_the_tests(signal.SIGKILL),
        )  # fmt: skip

    def answers() -> bool:
        try:
            return process.poll() is not None or httpx.get(url, trust_env=False).status_code < 500
        except httpx.TransportError:
            return False

    until(answers, f"{words[0]} to answer", 120)
    assert process.poll() is None, (folder / "output").read_text()
    return process


@pytest.fixture(scope="session")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    if not ENVIRONMENT.exists():
        pytest.skip("its packages are not there")
    words = [ENVIRONMENT / "bin" / "python", FOLDER / "programs" / "tiny_gguf.py", path, "4", "1024"]
    subprocess.run([*map(str, words)], check=True)
    return path


@pytest.fixture(scope="module", params=["llama.cpp", "LiteLLM"])
def engine(request: pytest.FixtureRequest, gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder, port = tmp_path_factory.mktemp("engine"), free_port()
    url = f"http://127.0.0.1:{port}"
    program = FOLDER / "programs" / "llama_cpp.py"
    started = [_start(folder, f"{url}/health", ENVIRONMENT / "bin" / "python", program, gguf, str(port))]
    base = f"{url}/v1"
    if request.param == "LiteLLM":
        (folder / "litellm.yaml").write_text(_LITELLM % (base, KEY))
        port = free_port()
        base = f"http://127.0.0.1:{port}/v1"
        options = ["--config", "litellm.yaml", "--host", "127.0.0.1", "--port", str(port)]
        alive = f"http://127.0.0.1:{port}/health/liveliness"
        started.append(_start(folder, alive, ENVIRONMENT / "bin" / "litellm", *options))
    stack = Stack(folder / "stack", llm_base_url=base, llm_api_key=KEY, llm_continue="on", workers=1, rate_ask="off")
    yield Engine(request.param, base, started[0], stack, url)
    stack.stop()
    for each in started:
        each.kill()
        each.wait()
