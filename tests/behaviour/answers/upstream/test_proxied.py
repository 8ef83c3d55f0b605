"""The model's server behind a company's proxy and certificates: HTTP_PROXY, HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import Start
from tests.support.certificates import make_certificate
from tests.support.models.completions import ask, data, text
from tests.support.models.model import Model
from tests.support.models.proxy import ForwardProxy
from tests.support.stack import command


@pytest.fixture
def proxy(model: Model, monkeypatch: pytest.MonkeyPatch) -> Iterator[ForwardProxy]:
    """The way to the model for all but localhost; it wants a user and a password."""
    running = ForwardProxy(urlsplit(model.url).port or 0)
    for name in ("HTTP_PROXY", "https_proxy"):
        monkeypatch.setenv(name, f"http://ada:p%40ss@{running.address}")
    monkeypatch.setenv("NO_PROXY", "localhost,.inside.example")
    yield running
    running.close()


AUTHORIZATION = "Proxy-Authorization: Basic YWRhOnBAc3M="


def test_a_model_is_reached_through_the_proxy(
    start: Start, user: str, model: Model, proxy: ForwardProxy, tmp_path: Path
) -> None:
    stack = start(llm_base_url="http://models.example/v1", llm_api_key="k", workers=1)
    for _ in range(2):
        assert text(data(ask(stack, user, stream=True).text)) == "Hello world"
    head = proxy.heads[0]
    assert head.startswith("POST http://models.example:80/v1/chat/completions HTTP/1.1\r\nHost: models.example")
    assert AUTHORIZATION in head
    assert model.asked().headers["authorization"] == "Bearer k"
    words, environ = command("publish", "--user", user, "hello", **stack.settings)
    done = subprocess.run(words, env=environ, capture_output=True, text=True, cwd=stack.folder)
    assert done.returncode == 0, done.stderr
    assert all("publish" not in each for each in proxy.heads)  # the service's own calls go without


def test_a_tunnel_to_a_server_with_a_private_certificate(
    start: Start, user: str, model: Model, proxy: ForwardProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = make_certificate(tmp_path, "model")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setattr(model, "wrap", context.wrap_socket)
    stack = start(llm_base_url="https://localhost/v1", llm_api_key="k", workers=1)
    for _ in range(2):
        assert text(data(ask(stack, user, stream=True).text)) == "Hello world"
    assert proxy.heads[0].startswith("CONNECT localhost:443 HTTP/1.")
    assert AUTHORIZATION in proxy.heads[0]
    assert "authorization" in model.asked().headers
    assert "proxy-authorization" not in model.asked().headers
