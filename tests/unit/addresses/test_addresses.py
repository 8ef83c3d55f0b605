"""PUSHSVC_REDIS_URL: what is taken, and what it means."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from pushsvc.addresses.redis_address import SCHEMES, RedisUrl, at_socket, from_anywhere, parse
from pushsvc.config import Settings
from tests.support.stack import ROOT

CHARACTERS = "@:/#?%&+ é\u2028[]=;,"
ENCODED = quote(CHARACTERS, safe="")
TLS_SCHEMES = [each for each in SCHEMES if each.startswith("rediss")]


def taken(url: str) -> RedisUrl:
    """The address as the settings take it."""
    return parse(Settings.from_env({"PUSHSVC_REDIS_URL": url}).redis_url)


@pytest.mark.parametrize(
    ("url", "servers", "db"),
    [
        ("redis://localhost", [("localhost", 6379)], 0),
        ("redis://localhost/", [("localhost", 6379)], 0),
        ("redis://127.0.0.1:7000/0", [("127.0.0.1", 7000)], 0),
        ("redis://redis_1.local-net:1/15", [("redis_1.local-net", 1)], 15),
        ("redis://bücher.example:65535/3/", [("bücher.example", 65535)], 3),
        ("redis://h?db=3", [("h", 6379)], 3),
        ("redis://h/3?db=3", [("h", 6379)], 3),
        ("redis://h?", [("h", 6379)], 0),
        ("rediss://[::1]/2", [("::1", 6379)], 2),
        ("redis://:p@[2001:db8::7]:7000", [("2001:db8::7", 7000)], 0),
        ("redis://[fe80::1%eth0]:1", [("fe80::1%eth0", 1)], 0),
        ("redis://[fe80::1%25eth0]:1", [("fe80::1%eth0", 1)], 0),
        ("redis+sentinel://a,b:1,[::1]:2/s?db=4", [("a", 26379), ("b", 1), ("::1", 2)], 4),
        ("rediss+sentinel://u:p@a/s", [("a", 26379)], 0),
        ("redis+cluster://a,b:1", [("a", 6379), ("b", 1)], 0),
        ("rediss+cluster://:p@[::1]:2,a/", [("::1", 2), ("a", 6379)], 0),
    ],
)
def test_servers_and_databases(url: str, servers: list[tuple[str, int]], db: int) -> None:
    found = taken(url)
    assert [*found.servers] == servers
    assert found.options.get("db", 0) == db
    assert found.tls is url.startswith("rediss")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("account", "user", "password"),
    [
        ("", "", ""),
        ("@", "", ""),
        (":@", "", ""),
        ("user@", "user", ""),
        ("user:@", "user", ""),
        (":word@", "", "word"),
        ("user:word@", "user", "word"),
        (f"{ENCODED}:{ENCODED}@", CHARACTERS, CHARACTERS),
        (":a+b&c=d;e,f!$'()*~[]{}|^ é@", "", "a+b&c=d;e,f!$'()*~[]{}|^ é"),  # these mean nothing in this place
    ],
)
def test_accounts(scheme: str, account: str, user: str, password: str) -> None:
    rest = "/run/redis.sock" if scheme == "unix://" else "h/s" if "sentinel" in scheme else "h"
    found = taken(f"{scheme}{account}{rest}")
    assert (found.user, found.password) == (user, password)
    assert "word" not in repr(found)


@pytest.mark.parametrize(
    ("url", "path", "db"),
    [
        ("unix:///run/redis/redis.sock", "/run/redis/redis.sock", 0),
        ("unix://user:p%40@/run/redis.sock?db=3", "/run/redis.sock", 3),
        ("unix:///run/a%20b%3Fc%23d%25/r.sock", "/run/a b?c#d%/r.sock", 0),
        ("unix:///run/redis@2.sock", "/run/redis@2.sock", 0),
    ],
)
def test_unix_sockets(url: str, path: str, db: int) -> None:
    found = taken(url)
    assert (found.path, found.servers, found.options.get("db", 0)) == (path, (), db)


def test_the_path_of_any_socket_makes_a_url() -> None:
    for path in ("/tmp/a b?c#d%e@f/é\udcff.sock", "/x"):
        assert parse(at_socket(Path(path))).path == path


def test_the_service_of_sentinels_is_decoded() -> None:
    for service in ("events", "a.b-c:d", CHARACTERS.replace("/", "")):
        assert taken(f"redis+sentinel://h/{quote(service, safe='')}").service == service


OPTIONS: list[tuple[str, str, Any]] = [
    ("ssl_ca_certs", "/etc/c@a%2Bb.pem", "/etc/c@a+b.pem"),
    ("ssl_ca_path", "/etc/ssl/certs", "/etc/ssl/certs"),
    ("ssl_certfile", "me.pem", "me.pem"),
    ("ssl_cert_reqs", "none", "none"),
    ("ssl_cert_reqs", "CERT_NONE", "none"),
    ("ssl_cert_reqs", "CERT_OPTIONAL", "optional"),
    ("ssl_cert_reqs", "Required", "required"),
    ("ssl_check_hostname", "false", False),
    ("ssl_check_hostname", "1", True),
    ("ssl_min_version", "772", "TLSv1_3"),
    ("ssl_min_version", "TLSv1.2", "TLSv1_2"),
    ("ssl_ciphers", "HIGH:!aNULL", "HIGH:!aNULL"),
    ("ssl_exclude_verify_flags", "[VERIFY_X509_STRICT]", ("VERIFY_X509_STRICT",)),
    ("socket_timeout", "0.5", 0.5),
    ("socket_connect_timeout", "30", 30.0),
    ("socket_keepalive", "no", False),
    ("client_name", "push", "push"),
    ("health_check_interval", "30", 30),
    ("max_connections", "20", 20),
    ("protocol", "3", 3),
    ("retry_on_timeout", "True", True),
]


@pytest.mark.parametrize("scheme", TLS_SCHEMES)
@pytest.mark.parametrize(("name", "given", "value"), OPTIONS)
def test_options_mean_the_same_with_every_scheme(scheme: str, name: str, given: str, value: Any) -> None:
    assert taken(f"{scheme}h{'/s' * ('sentinel' in scheme)}?{name}={given}").options == {name: value}


def test_the_sentinels_have_an_account_of_their_own() -> None:
    for encode in (quote, quote_plus):
        given = f"sentinel_username={encode(CHARACTERS)}&sentinel_password={encode(CHARACTERS)}"
        found = taken(f"redis+sentinel://:word@h/s?{given}")
        assert found.options == {"sentinel_username": CHARACTERS, "sentinel_password": CHARACTERS}
        assert found.password == "word"


def test_files_hold_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("elsewhere")
    url = "rediss://u:p%3F@h/3?ssl_ca_certs=c%2Fa+b.pem&ssl_password=%3D&ssl_certfile=link&ssl_ca_path=/x"
    assert parse(from_anywhere(url)).options == {**parse(url).options} | {
        "ssl_ca_certs": f"{tmp_path}/c/a b.pem",
        "ssl_certfile": f"{tmp_path}/link",
    }
    for same in ("", "redis://h", "unix:///r.sock?db=3"):
        assert from_anywhere(same) == same


def test_reading_an_address_loads_no_redis() -> None:
    """gunicorn's master reads it before gevent has patched what that imports."""
    code = "import sys; import pushsvc.config; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_the_documentation_shows_is_taken() -> None:
    page = (ROOT / "docs" / "redis.md").read_text()
    shown = re.findall(r"^((?:rediss?(?:\+\w+)?|unix)://\S+)", page, re.M)
    assert len(shown) == 6
    for url in shown:
        taken(url)
    table = page.partition("| option | with |")[2].partition("\n\n")[0]
    named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.M) for name in re.findall(r"`(\w+)`", row)}
    for name in named:
        with pytest.raises(ValueError, match=f"should have a value for {name}"):
            parse(f"rediss+sentinel://h/s?{name}")
    assert {name for name, _, _ in OPTIONS} <= named
