"""TLS to Redis: its options with each scheme, for the data's servers, a cluster's nodes and the sentinels."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from pushsvc.addresses.redis_address import parse
from pushsvc.errors import ConfigError
from pushsvc.storage.redis.client import connect
from pushsvc.storage.redis.keys import Keys
from pushsvc.storage.redis.topology.connecting import check_files
from tests.support.redis.checking import check, refused
from tests.support.redis.tls import SCHEMES, TlsServers
from tests.support.stack import ROOT, Stack


@pytest.fixture(scope="module", autouse=True)
def _contexts_are_each_their_own() -> Iterator[None]:
    """These tests change their contexts, so they do not share them as other tests do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", ssl.create_default_context.__wrapped__)  # type: ignore[attr-defined]
        yield


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServers]:
    running = TlsServers(tmp_path_factory.mktemp("tls"))
    yield running
    running.stop()


def good(url: str) -> None:
    check(url, partitions=2)


def bad(url: str) -> str:
    return refused(url, partitions=2)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_private_ca_and_a_client_certificate(servers: TlsServers, tmp_path: Path, user: str, scheme: str) -> None:
    stack = Stack(tmp_path, redis_url=f"{servers.url(scheme)}?{servers.certificates.query}", workers=1, partitions=2)
    try:
        with stack.listen(user, "?since=now") as source:
            source.wait_ids(stack.publish(user=user, data="x"))
    finally:
        stack.stop()
    assert "redis: " not in stack.output


def test_paths_are_of_the_folder_of_the_start(
    servers: TlsServers, tmp_path: Path, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parts of the stack run in another."""
    given = servers.certificates
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "a b").symlink_to(given.ca.parent)
    (tmp_path / "password").write_text("hunter2")
    servers.ask(servers.single, "ACL", "SETUSER", "relative", "on", ">hunter2", "~*", "&*", "+@all")
    query = "ssl_ca_certs=a%20b%2Fca.pem&ssl_certfile=a+b/client.pem&ssl_keyfile=a+b/client.key"
    url = servers.url("rediss://").replace("://", "://relative@")
    stack = Stack(tmp_path / "stack", folder=tmp_path, redis_url=f"{url}?{query}", redis_password_file="password")
    try:
        with stack.listen(user, "?since=now") as source:
            source.wait_ids(stack.publish(user=user, data="x"))
    finally:
        stack.stop()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_is_not_verified_is_refused(servers: TlsServers, scheme: str) -> None:
    given, url = servers.certificates, servers.url(scheme)
    own = f"ssl_certfile={given.client}&ssl_keyfile={given.client_key}"
    assert "certificate verify failed" in bad(f"{url}?{own}")
    assert "ssl_ca_certs" in bad(f"{url}?{own}")
    assert "certificate verify failed" in bad(f"{url}?{own}&ssl_ca_certs={given.foreign}")
    assert "ssl_certfile" in bad(f"{url}?ssl_ca_certs={given.ca}")
    assert "rediss" in bad(url.replace("rediss", "redis"))
    good(f"{url}?{own}&ssl_cert_reqs=none")
    good(f"{url}?{own}&ssl_cert_reqs=CERT_NONE")
    good(f"{url}?{own}&ssl_cert_reqs=optional&ssl_ca_certs={given.ca}&ssl_min_version=TLSv1.3")
    good(f"{url}?{own}&ssl_ca_certs={given.ca}&ssl_include_verify_flags=VERIFY_X509_STRICT&ssl_ciphers=HIGH")


def test_another_kind_of_server_is_named_with_its_url(servers: TlsServers) -> None:
    """The URL is one with TLS, without which the server would not answer."""
    for scheme, port, says in (
        ("rediss://", servers.sentinel, "a sentinel answers there; use rediss+sentinel://"),
        ("rediss+cluster://", servers.sentinel, "a sentinel answers there; use rediss+sentinel://"),
        ("rediss://", servers.node, "a node of a cluster answers there; use rediss+cluster://"),
        ("rediss+cluster://", servers.single, "no node of a cluster; use rediss://"),
    ):
        assert says in bad(f"{scheme}127.0.0.1:{port}?{servers.certificates.query}")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_name_in_the_certificate(servers: TlsServers, scheme: str) -> None:
    url = f"{servers.url(scheme, 'localhost')}?{servers.certificates.query}"
    assert "Hostname mismatch" in bad(url)
    good(f"{url}&ssl_check_hostname=false")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_ends_the_handshake_is_no_answer(servers: TlsServers, scheme: str) -> None:
    """It may come before the first command is sent, or not."""
    for _ in range(20):
        with connect(f"{servers.url(scheme)}?{servers.certificates.query}", keys=Keys(0, 2)) as client:
            assert client.execute_command("GET", "pushsvc{0}:nothing") is None


def test_an_encrypted_key_does_not_ask_on_the_terminal(servers: TlsServers) -> None:
    given = servers.certificates
    url = (
        f"{servers.url('rediss://')}?ssl_ca_certs={given.ca}&ssl_certfile={given.client}&ssl_keyfile={given.locked_key}"
    )
    good(f"{url}&ssl_password=pw")
    for wrong in ("", "&ssl_password=hunter2"):
        assert "ssl_password is another's" in bad(url + wrong)
        assert "hunter2" not in bad(url + wrong)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("ssl_ca_certs=/no/such.pem", "ssl_ca_certs: cannot read /no/such.pem: No such file or directory"),
        ("ssl_ca_path=/no/such", "ssl_ca_path: cannot read /no/such: No such file or directory"),
        ("ssl_certfile=/no/such.pem", "ssl_certfile: cannot read /no/such.pem: No such file or directory"),
        ("ssl_certfile={client}&ssl_keyfile=/no/such.key", "ssl_keyfile: cannot read /no/such.key: No such file"),
        ("ssl_ca_certs={client_key}", "ssl_ca_certs: {client_key} has no certificate in PEM"),
        ("ssl_ca_certs=/", "ssl_ca_certs: cannot read /: Is a directory"),
        ("ssl_ca_certs=/dev/zero", "ssl_ca_certs: /dev/zero is neither a file nor a folder"),
        ("ssl_certfile={client}", "ssl_certfile: {client} has no certificate in PEM with its key"),
        ("ssl_certfile={client}&ssl_keyfile={server_key}", "ssl_certfile: {client} has no certificate in PEM with its"),
        ("ssl_ciphers=NONE-OF-THESE", "ssl_ciphers: OpenSSL knows none of them"),
    ],
)
def test_files_are_looked_at_before_anything_is_connected(servers: TlsServers, query: str, says: str) -> None:
    given = servers.certificates
    with pytest.raises(ConfigError) as caught:
        check_files(parse(f"rediss+sentinel://no-such-host.invalid/s?{query.format(**vars(given))}"))
    assert f"PUSHSVC_REDIS_URL: {says.format(**vars(given))}" in caught.value.detail
