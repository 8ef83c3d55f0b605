"""PUSHSVC_REDIS_URL: what is refused, in one line in which no piece of a password stands."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushsvc.addresses.redis_address import SCHEMES, parse
from pushsvc.config import Settings
from pushsvc.errors import ConfigError

ENCODE = "encode @ : / # ? % in the password"
PORTS = ["0", "65536", "x", "", "-1", "6379x", "1e3"]


def refusal(url: str) -> str:
    with pytest.raises(ConfigError) as caught:
        Settings.from_env({"PUSHSVC_REDIS_URL": url})
    line = caught.value.detail
    assert re.fullmatch(r"PUSHSVC_REDIS_URL should [^\n]{1,300}", line)
    assert caught.value.__cause__ is None, "pydantic's text would hold the value"
    return line


UNCLEAR = [
    ":secret@word@h:6379/0", ":secret/word@h:6379/0", ":12/34@h:6379/0", ":secret#word@h", ":secret?word@h/0",
    ":secret?word=secret@h/0", "user:secret:word@h", "user:secret:", "secret@word:secret?word=1@h", ":secret%zz@h",
    ":secret%@h", ":secret%ff@h", "secret%word@h", ":secret@h?word@h", ":secret@word?secret=1@h:6379/0",
    ":secret@word?db=secret@h", ":secret@word#secret@h", "user:secret@h/word@h", ":/secret@h", ":?secret@h",
    ":#secret@h", ":@secret@h", "a:secret@h1,b:secret@h2", ":secret@word?client_name=secret@h/0",
]  # fmt: skip


@pytest.mark.parametrize("scheme", [each for each in SCHEMES if each != "unix://"])
@pytest.mark.parametrize("rest", UNCLEAR)
def test_of_a_password_that_is_not_encoded_nothing_is_repeated(scheme: str, rest: str) -> None:
    line = refusal(f"{scheme}{rest}")
    if rest != "user:secret:":
        assert ENCODE in line
    for piece in ("secret", "word=", ":word", "12", "34", "zz"):
        assert piece not in line.removeprefix(f"PUSHSVC_REDIS_URL should be encoded: {ENCODE}")


@pytest.mark.parametrize("rest", [":se@cret@/run/r.sock", ":se/cret@/run/r.sock", "u:se@/cret@/run/r.sock", ":se?c@/r"])
def test_nor_in_front_of_a_unix_socket(rest: str) -> None:
    line = refusal(f"unix://{rest}")
    assert ENCODE in line
    assert "cret" not in line


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("sentinel_password=secret&word=1", "& encoded as %26 in sentinel_password"),
        ("sentinel_password=secret&word", "& encoded as %26 in sentinel_password"),
        ("sentinel_password=secret#word", "encode # as %23"),
        ("sentinel_password=secret%word", "encode % as %25 (in sentinel_password)"),
        ("sentinel_password=%ffsecret", "UTF-8 percent-encoded (in sentinel_password)"),
        ("sentinel_password=", "should have a text that is not empty as sentinel_password"),
        ("sentinel_password", "should have a value for sentinel_password"),
    ],
)
def test_nor_of_the_sentinels_password(query: str, says: str) -> None:
    line = refusal(f"redis+sentinel://h/s?{query}")
    assert says in line
    assert "secret" not in line
    assert "word" not in line.replace("sentinel_password", "")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:6379", "should start with one of redis:// rediss:// unix:// redis+sentinel://"),
        ("redis:/127.0.0.1", "should start with one of"),
        ("redis+tls://h", "should start with one of"),
        ("redis://", "should name a host"),
        ("redis:///0", "should name a host"),
        ("redis://:word@", "should name a host"),
        ("redis://:word@/0", "should name a host"),
        ("redis://:6379/0", "should name each server by a host name"),
        ("redis://a,b", "should name one server; several are for +sentinel:// and +cluster://"),
        ("rediss://:word@a:1,b:2/0", "should name one server"),
        ("redis+cluster://a,,b", "should name each server by a host name"),
        ("redis+sentinel://a,/s", "should name each server by a host name"),
        ("redis+sentinel://a, b/s", "should name each server by a host name"),
        ("redis://a b", "should name each server by a host name"),
        ("redis://a..b", "should name each server by a host name"),
        (f"redis://{'a' * 64}.b", "should name each server by a host name"),
        ("redis://a%20b", "should name each server by a host name"),
        ("redis://::1:6379/0", "should name each server as host:port, an address of IPv6 as [::1]:6379"),
        ("redis://[::1", "should name each server as host:port"),
        ("redis://[::1]6379", "should name each server as host:port"),
        ("redis://[h]:1", "should have an address of IPv6 in its brackets"),
        ("redis://[::1%]:1", "should have an address of IPv6 in its brackets"),
        *((f"redis+sentinel://:word@h:{port}/s", "should have ports from 1 to 65535") for port in PORTS),
        *((f"redis://:word@h:{port}", "should have ports from 1 to 65535") for port in PORTS),
        ("redis://h/x", "should have nothing but the number of a database as its path"),
        ("redis://h/3/4", "should have nothing but the number of a database as its path"),
        ("redis://h//", "should have nothing but the number of a database as its path"),
        ("redis://h/-1", "should have nothing but the number of a database as its path"),
        ("redis://h/³", "should have nothing but the number of a database as its path"),
        ("redis://h/99999999999", "should have nothing but the number of a database as its path"),
        ("redis://h/0?db=3", "should name one database, in its path or as db"),
        ("redis://h/0#x", "should have no fragment"),
        ("redis+sentinel://h", "should end in the name under which the sentinels know the master"),
        ("redis+sentinel://h/", "should end in the name under which the sentinels know the master"),
        ("redis+sentinel://h/s/3", "should have nothing behind the name of the master in its path"),
        ("redis+cluster://h/0", "should have no path: a cluster has no databases"),
        ("redis+cluster://h/3", "should have no path: a cluster has no databases"),
        ("unix://", "should have the path of a socket"),
        ("unix:///", "should have the path of a socket"),
        ("unix://run/redis.sock", "should have the whole path of the socket"),
        ("unix://:word@run/redis.sock", "should have the whole path of the socket"),
        ("unix:///run/100%.sock", "encode % as %25"),
        ("unix:///run/a%00b", "should have the path of a socket"),
        ("redis://h?socket_timeoutt=10", "no option socket_timeoutt, which is not known; is socket_timeout meant?"),
        ("redis://h?decode_responses=true", "no option decode_responses, which is not known"),
        ("rediss://h?ssl_foo=1", "no option ssl_foo, which is not known"),
        ("redis://h?hunter2=1", "should have no other options than those that are known"),
        ("redis://h?DB=3", "no option DB, which is not known"),
        ("redis://h?password=hunter2", "should have the account before an @ in front of the host, and not as password"),
        ("redis://h?db=3&db=3", "should have db once"),
        ("redis://h?db", "should have a value for db"),
        ("redis://h?db=", "should have a number from 0 to 2147483647 as db"),
        ("redis://h?db=x", "should have a number from 0 to 2147483647 as db"),
        ("redis://h?db=%zz", "encode % as %25 (in db)"),
        ("redis+cluster://h?db=0", "should have db only with redis:// rediss:// unix:// redis+sentinel://"),
        ("redis+cluster://h?db=3", "should have db only with redis://"),
        ("redis://h?ssl_ca_certs=/etc/ca.pem", "should have ssl_ca_certs only with rediss:// rediss+sentinel://"),
        ("redis+sentinel://h/s?ssl_cert_reqs=none", "should have ssl_cert_reqs only with rediss://"),
        ("unix:///r.sock?ssl_cert_reqs=none", "should have ssl_cert_reqs only with rediss://"),
        ("unix:///r.sock?socket_keepalive=1", "should have socket_keepalive only with redis://"),
        ("redis://h?sentinel_password=x", "should have sentinel_password only with redis+sentinel://"),
        ("rediss+cluster://h?sentinel_username=x", "should have sentinel_username only with redis+sentinel://"),
        ("rediss://h?ssl_cert_reqs=maybe", "should have none, optional or required as ssl_cert_reqs"),
        ("rediss://h?ssl_check_hostname=never", "should have true or false as ssl_check_hostname"),
        ("rediss://h?ssl_min_version=TLSv1.1", "should have TLSv1.2 or TLSv1.3 as ssl_min_version"),
        ("rediss://h?ssl_include_verify_flags=ALL", "should have one or more of VERIFY_CRL_CHECK_LEAF"),
        ("rediss://h?ssl_keyfile=/k", "should have ssl_certfile beside ssl_keyfile"),
        ("rediss://h?ssl_password=x", "should have ssl_certfile beside ssl_password"),
        *((f"redis://h?socket_timeout={value}", "a number of seconds over 0, at most 3600 as socket_timeout")
          for value in ("abc", "0", "-1", "nan", "inf", "1e3", "3601", "", "None", "²")),
        ("redis://h?socket_keepalive=maybe", "should have true or false as socket_keepalive"),
        ("redis://h?protocol=4", "should have a number from 2 to 3 as protocol"),
        ("redis://h?client_name=a%20b", "should have a word of ASCII characters without blanks as client_name"),
        ("redis://\udcff", "should be valid UTF-8"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(url: str, says: str) -> None:
    line = refusal(url)
    assert says in line
    assert "word@" not in line
    assert "hunter2" not in line


@given(st.sampled_from(SCHEMES), st.sampled_from([":", "user:"]), st.text("@:/#?%&=+[],;.a1Z4é -_", min_size=1))
def test_any_password_is_taken_as_it_is_or_not_at_all(scheme: str, before: str, word: str) -> None:
    """No piece of it is ever a host, a path or an option."""
    end = "/run/r.sock" if scheme == "unix://" else "h.invalid/s" if "sentinel" in scheme else "h.invalid"
    url = f"{scheme}{before}{word}@{end}"
    if set("@:/#?") & set(word) or re.search("%(?![0-9A-Fa-f]{2})", word):
        with pytest.raises(ValueError, match=re.escape(ENCODE)):
            parse(url)
        return
    try:
        unquote(word, errors="strict")
    except UnicodeDecodeError:
        return
    found = parse(url)
    assert found.password == unquote(word)
    expected = ((), "/run/r.sock") if scheme == "unix://" else ((("h.invalid", found.servers[0][1]),), "")
    assert (found.servers, found.path, found.options) == (*expected, {})
