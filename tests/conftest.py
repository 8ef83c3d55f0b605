from __future__ import annotations

import functools
import gc
import inspect
import itertools
import signal
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import redis
from hypothesis import settings as hypothesis_settings
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support import programs
from tests.support.clients.chatpage import say
from tests.support.models.model import HEAD, Conversation, Model, plain, silent
from tests.support.ports import free_port
from tests.support.redis import matrix
from tests.support.redis.servers import Servers
from tests.support.stack import Stack

# A busy machine is no failure, and the same commit gives the same result; `make fuzz` looks for more.
hypothesis_settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
hypothesis_settings.register_profile("searching", deadline=None, max_examples=5000)
hypothesis_settings.load_profile("repeatable")

Start = Callable[..., Stack]
Ask = Callable[[str], Conversation]

_numbers = itertools.count()
_LONG = (
    "console", "push_tabs", "part_of_a_cluster", "public_url", "push_js", "pollers", "chat", "failover", "accessible",
    "page", "refusals", "chaos", "leftovers", "supervisor", "generations", "generations_kept", "cluster", "sentinels",
    "other_redis", "faults", "cli",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long begin first, so that none is left alone at the end."""
    items.sort(key=lambda item: item.path.stem.removeprefix("test_") not in _LONG)


def pytest_collection_finish() -> None:
    """Keep thousands of tests out of the garbage collector's way: they are no garbage."""
    gc.freeze()


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes may hold the time, as gzip's do, and every process must give the tests the same names."""
    return f"{len(val)} bytes" if isinstance(val, bytes) and len(val) > 20 else None


@pytest.fixture(scope="session", autouse=True)
def _certificates_are_loaded_once() -> Iterator[None]:
    """Load certificates once. httpx would do so with each call, though most need none, which takes longer than the call
    itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        yield


@pytest.fixture(scope="session", autouse=True)
def _answers_may_take_a_minute() -> None:
    """Let answers take a minute. httpx would give up after five seconds, and a busy machine is no failure."""
    inspect.signature(httpx.request).parameters["timeout"].default.read = 60.0


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for all tests that do not break it."""
    running = Stack(tmp_path_factory.mktemp("stack"), heartbeat_seconds=1, max_connections_per_user=5)
    yield running
    running.stop()
    assert "Traceback" not in running.output, running.output


@pytest.fixture(scope="session", params=matrix.chosen("Valkey 9"))
def bare(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.Redis]:
    """A Redis that no service uses."""
    servers = Servers(tmp_path_factory.mktemp("bare"), matrix.binary(request.param))
    port = free_port()
    servers.serve(port)
    yield redis.Redis(port=port)
    servers.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start stacks with other settings, or to be broken."""
    running: list[Stack] = []

    def starter(**settings: object) -> Stack:
        folder = settings.pop("data_dir", tmp_path / f"stack{len(running)}")
        running.append(Stack(Path(str(folder)), **settings))
        return running[-1]

    yield starter
    for each in running:
        each.stop()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Stacks with other settings for tests that do not break them: the same settings give the same stack."""
    running: dict[frozenset[tuple[str, object]], Stack] = {}

    def starter(**settings: object) -> Stack:
        key = frozenset(settings.items())
        if key not in running:
            running[key] = Stack(tmp_path_factory.mktemp("shared"), **settings)
        return running[key]

    yield starter
    for each in running.values():
        each.stop(signal.SIGKILL if each.worker else signal.SIGINT)  # gunicorn's own worker may end with a traceback
        assert each.worker or "Traceback" not in each.output, each.output


@pytest.fixture
def single(shared: Start, worker: str) -> Stack:
    """One worker, where a user may have many connections and none of them a large buffer."""
    return shared(worker=worker, workers=1, max_connections_per_user=1000, send_buffer_bytes=50_000, keep_events=5000)


@pytest.fixture
def user() -> str:
    """A user nobody else in this run uses, so that tests share a stack and no state."""
    return f"user{next(_numbers)}"


@pytest.fixture(scope="session")
def other_server(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same application and Redis under a server that gives no socket away: connections keep their greenlets."""
    yield from _other_server(stack, tmp_path_factory.mktemp("other"))


def _other_server(stack: Stack, folder: Path) -> Iterator[str]:
    settings = stack.settings | {
        "worker": "gevent",
        "redis_url": f"unix://{stack.data_dir}/valkey.sock",
        "http": f"127.0.0.1:{free_port()}",
        "app": f"127.0.0.1:{free_port()}",
    }
    del settings["data_dir"]
    running = Stack(folder, **settings)
    yield running.app_url
    output = running.output  # gunicorn's own worker may end with a traceback
    running.stop(signal.SIGKILL)  # it would wait for its streams
    assert "Traceback" not in output, output


@pytest.fixture(scope="session")
def _model() -> Iterator[Model]:
    running = Model()
    yield running
    running.close()


@pytest.fixture
def model(_model: Model) -> Iterator[Model]:
    """The model's server behind `answering`, as if nobody had asked it anything; afterwards, too, for tests that do not
    ask for it and leave it to answer."""
    _model.conversations = []
    yield _model
    _model.script = plain


@pytest.fixture(scope="session")
def answering(_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose answers come from a model that a test has in its hands."""
    running = Stack(
        tmp_path_factory.mktemp("answering"), heartbeat_seconds=0.5,
        llm_base_url=_model.url, llm_api_key="a-test-key", llm_model="the-default",
    )  # fmt: skip
    yield running
    running.stop()
    assert "Traceback" not in running.output, running.output


@pytest.fixture(scope="session")
def other_answering(answering: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from _other_server(answering, tmp_path_factory.mktemp("other"))


@pytest.fixture(params=["nginx", "gunicorn", "queue"])
def door(request: pytest.FixtureRequest, answering: Stack) -> str:
    """The same choice as `base`, of doors to `answering`."""
    return address(request, answering, "other_answering")


@pytest.fixture(params=["nginx", "gunicorn", "queue"])
def base(request: pytest.FixtureRequest, stack: Stack) -> str:
    """The same behaviour with nginx in front and without, and of connections that keep their greenlets."""
    return address(request, stack)


@pytest.fixture(params=["gunicorn", "queue"])
def server(request: pytest.FixtureRequest, stack: Stack) -> str:
    """The same behaviour of connections that are detached, and of those that keep their greenlets."""
    return address(request, stack)


def address(request: pytest.FixtureRequest, stack: Stack, other_server: str = "other_server") -> str:
    if request.param == "queue":
        other: str = request.getfixturevalue(other_server)
        return other
    return stack.url if request.param == "nginx" else stack.app_url


@pytest.fixture(params=["", "gevent"], ids=["detached", "queue"])
def worker(request: pytest.FixtureRequest) -> str:
    """A worker class for a stack of the test's own: ours, and gunicorn's."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = programs.need(programs.CHROMIUM)
    expect.set_options(timeout=20_000)  # ms: a busy machine is no failure
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=programs.CHROMIUM_FLAGS)
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    assert not faults
    context.close()


@pytest.fixture
def ask(answering: Stack, model: Model, page: Page) -> Ask:
    """Ask from a new chat, and have the model's side of it in hand, with nothing said yet."""
    model.script = silent
    page.goto(answering.page("/chat"))

    def asker(prompt: str) -> Conversation:
        number = len(model.conversations) + 1
        say(page, prompt)
        return model.asked(number).send(HEAD)

    return asker
