"""Settings: the contract's defaults, and one line for each bad value."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from pushsvc.concurrency.cores import usable_cores
from pushsvc.config import Settings
from tests.support.settings import GOOD_SECRET, refusal, settings


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("REDIS_URL", ""),
        ("REDIS_PREFIX", "pushsvc"),
        ("DATA_DIR", Path(".pushsvc")),
        ("SECRET", ()),
        ("HTTP", "127.0.0.1:8080"),
        ("APP", "127.0.0.1:8000"),
        ("WORKERS", usable_cores()),
        ("KEEP_EVENTS", 1000),
        ("KEEP_SECONDS", 604800),
        ("DEDUPE_SECONDS", 86400),
        ("HEARTBEAT_SECONDS", 15),
        ("RETRY_SECONDS", 2),
        ("DRAIN_SECONDS", 20),
        ("MAX_EVENT_BYTES", 65536),
        ("MAX_BATCH", 1000),
        ("MAX_CONNECTIONS", 20000),
        ("MAX_CONNECTIONS_PER_USER", 20),
        ("SEND_BUFFER_BYTES", 262144),
        ("DURABILITY", "everysec"),
        ("LEEWAY_SECONDS", 30),
        ("ALLOWED_ORIGINS", ()),
        ("HOOK_URL", ""),
        ("HOOK_SECRET", ""),
        ("LLM_BASE_URL", ""),
        ("LLM_API_KEY", ""),
        *((name, None) for name in ("LLM_API_KEY_FILE", "LLM_UPSTREAMS")),
        ("LLM_HEADERS", ()),
        ("LLM_PASS", ("embeddings", "completions")),
        ("LLM_RESPONSES", "translate"),
        ("LLM_BUDGET", ()),
        *(("LLM_ASK_STREAMED", True), ("LLM_CONTINUE", False)),
    ],
)
def test_defaults_are_those_of_the_contract(name: str, default: object) -> None:
    for found in (settings(), settings(**{name: ""})):  # an empty value is as good as none
        assert getattr(found, name.lower()) == default


@pytest.mark.parametrize(
    ("name", "value", "meaning"),
    [
        ("REDIS_URL", "redis://:pass@127.0.0.1:6379/0", "redis://:pass@127.0.0.1:6379/0"),
        ("REDIS_URL", "unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("REDIS_PREFIX", "Shop-2.eu_x", "Shop-2.eu_x"),
        ("REDIS_PREFIX", "7", "7"),
        ("REDIS_PREFIX", "x" * 64, "x" * 64),
        ("DATA_DIR", "/a b/c", Path("/a b/c")),
        ("SECRET", GOOD_SECRET, (GOOD_SECRET,)),
        ("SECRET", "ä" * 16, ("ä" * 16,)),
        ("SECRET", f"{GOOD_SECRET}, {GOOD_SECRET[::-1]}", (GOOD_SECRET, GOOD_SECRET[::-1])),
        ("JWKS", "keys.json", "keys.json"),
        ("JWKS", "https://id.example.com/keys", "https://id.example.com/keys"),  # 16 characters, 32 bytes
        ("HTTP", "[::1]:80", "[::1]:80"),
        ("HTTP", "push.example.com:65535", "push.example.com:65535"),
        ("APP", "unix:/run/pushsvc/app.sock", "unix:/run/pushsvc/app.sock"),
        ("WORKERS", "3", 3),
        ("HEARTBEAT_SECONDS", "0.5", 0.5),
        ("DRAIN_SECONDS", "0", 0.0),
        ("DURABILITY", "always", "always"),
        ("ALLOWED_ORIGINS", "https://a.example, http://b:8080,", ("https://a.example", "http://b:8080")),
        (
            "ALLOWED_ORIGINS",
            "HTTPS://A.example:443/,https://a.example,http://bücher.example,http://[0:0::1]:3000",
            ("https://a.example", "http://xn--bcher-kva.example", "http://[::1]:3000"),
        ),
        *(
            ("ALLOWED_ORIGINS", value, (value,))
            for value in (
                "capacitor://localhost",
                "http://my_app.local",
                "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
                "moz-extension://c0ffee00-1111-2222-3333-444455556666",
            )
        ),
        ("PUBLIC_URL", "HTTPS://Push.example.com:443/", "https://push.example.com"),
        ("PUBLIC_URL", "http://[::1]:8080/a/b-c_d.e~f/", "http://[::1]:8080/a/b-c_d.e~f"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.7,::1", ("10.0.0.0/8", "192.0.2.7/32", "::1/128")),
        ("PROXY_PROTOCOL", "off", False),
        *(
            ("LLM_BASE_URL", value, value)
            for value in ("https://api.openai.com/v1", "http://[::1]:8001", "http://m/v1/")
        ),
        ("LLM_FIRST_TOKEN_SECONDS", "0.5", 0.5),
        ("LLM_PASS", "messages, /v1/audio/transcriptions,messages", ("messages", "audio/transcriptions")),
        ("LLM_PASS", "off", ()),
    ],
)
def test_good_values_are_taken(name: str, value: str, meaning: object) -> None:
    assert getattr(settings(**{name: value}), name.lower()) == meaning


@pytest.mark.parametrize(
    ("name", "value", "should"),
    [
        *(("HTTP", value, "host:port") for value in ("8080", ":8080", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536")),
        *(("HTTP", value, "host:port") for value in ("127.0.0.1:²", "127.0.0.1:80\n", "a b:80", "a;b:80", "..:80")),
        ("HTTP", "unix:/run/http.sock", "host:port"),
        *(("APP", value, "host:port") for value in ("x", "http://127.0.0.1:80", f"{'x' * 64}:80")),
        *(("APP", value, "absolute/path") for value in ("unix:", "unix:app.sock", "unix:/a b", "unix:/a;b", 'unix:/"')),
        *(("WORKERS", value, "greater") for value in ("0", "-1")),
        *(("WORKERS", value, "integer") for value in ("x", "1.5", "0x10", "many")),
        ("WORKERS", "257", "less"),
        *((name, "0", "greater") for name in ("KEEP_EVENTS", "KEEP_SECONDS", "DEDUPE_SECONDS", "MAX_EVENT_BYTES")),
        *((name, "0", "greater") for name in ("MAX_BATCH", "MAX_CONNECTIONS", "MAX_CONNECTIONS_PER_USER")),
        *((name, "1e9", "integer") for name in ("KEEP_EVENTS", "SEND_BUFFER_BYTES")),
        *((name, "0", "greater") for name in ("HEARTBEAT_SECONDS", "RETRY_SECONDS")),
        *((name, "nan", "finite") for name in ("HEARTBEAT_SECONDS", "RETRY_SECONDS", "DRAIN_SECONDS")),
        *((name, "inf", "finite") for name in ("HEARTBEAT_SECONDS", "RETRY_SECONDS", "DRAIN_SECONDS")),
        ("HEARTBEAT_SECONDS", "soon", "number"),
        ("DRAIN_SECONDS", "-1", "greater"),
        ("DURABILITY", "no", "'everysec' or 'always'"),
        *(("ALLOWED_ORIGINS", value, "origins such as") for value in ("*", "https://a.example,*", "https://*.example")),
        *(("ALLOWED_ORIGINS", value, "origins such as") for value in ("null", "a.example", "https://a.example/path")),
        *(
            ("ALLOWED_ORIGINS", value, "origins such as")
            for value in ("http://u:p@a", "a:80", "file://", "http://a:65536")
        ),
        *(
            ("ALLOWED_ORIGINS", value, "origins such as")
            for value in ("http://1.2.3", "wss://a", "http://a b", "http://")
        ),
        *(
            ("PUBLIC_URL", value, "should be such as")
            for value in ("/push", "push.example.com", "ftp://a", "https://a?b")
        ),
        *(
            ("PUBLIC_URL", value, "should be such as")
            for value in ("https://a/b/../c", "https://a//b", "https://a/b#c")
        ),
        *(
            ("PUBLIC_URL", value, "should be such as")
            for value in ("https://a/ b", 'https://a/"', "https://u:p@a", "x")
        ),
        ("PUBLIC_URL", "https://a/v1", "another path"),
        *(("TRUSTED_PROXIES", value, "addresses or networks") for value in ("proxy", "10.0.0.0/33", "10.0.0.1/8", "*")),
        ("PROXY_PROTOCOL", "on", "should be off, or PUSHSVC_TRUSTED_PROXIES should name"),
        ("PROXY_PROTOCOL", "v2", "boolean"),
        *(("LLM_BASE_URL", value, "an address such as") for value in ("api.openai.com", "ftp://a/v1", "http://", "x")),
        *(
            ("LLM_BASE_URL", value, "an address such as")
            for value in ("http://a:0x", "http://a:99999", "http://a/#b", "http://[a")
        ),
        ("LLM_BASE_URL", "http://a/my model", "without blanks"),
        *(("LLM_PASS", value, "paths under /v1") for value in ("../x", "a//b", "a b", "<x>", "http://a")),
        *(
            ("LLM_PASS", value, "has itself")
            for value in ("chat/completions", "models/x", "generations", "responses", "ui/x")
        ),
        ("LLM_RESPONSES", "pass", "'translate' or 'passthrough'"),
        ("LLM_BASE_URL", "http://a/v1\u200a/x", "without blanks"),
        ("LLM_BASE_URL", "http://a/v1/\u00fc", "percent-encoded"),
        ("LLM_BASE_URL", "http://a/{model}/v1", "percent-encoded"),
        ("LLM_BASE_URL", "https://a/v1/chat/completions", "without /chat/completions"),
        ("LLM_BASE_URL", "https://a/v1/chat/completions/", "without /chat/completions"),
        *((name, "0", "greater") for name in ("LLM_CONNECT_SECONDS", "LLM_TOTAL_SECONDS", "LLM_MAX_GENERATIONS")),
    ],
)
def test_a_bad_value_is_one_line_with_name_value_and_what_it_should_be(name: str, value: str, should: str) -> None:
    line = refusal(**{name: value})
    assert line.startswith(f"PUSHSVC_{name} ")
    assert repr(value) in line
    assert should in line


@pytest.mark.parametrize("name", ["SECRET", "REDIS_URL", "DATA_DIR", "LLM_MODEL"])
@pytest.mark.parametrize("mould", ["{}\n", "{}\r", "{}\r\n", " {}", "{} ", "\n{}", "{}\t", "a{}\nb{}", "{}\x1bb"])
def test_what_nobody_sees_is_no_part_of_a_value(name: str, mould: str) -> None:
    value = mould.replace("{}", "redis://" + GOOD_SECRET)
    line = refusal(**{name: value})
    assert line.startswith(f"PUSHSVC_{name} ")
    assert "no blank at its ends, and no line end" in line or "should start with one of" in line
    assert (GOOD_SECRET in line) is (name in ("DATA_DIR", "LLM_MODEL"))


def test_blanks_in_the_middle_of_a_secret_are_its_own() -> None:
    passphrase = "correct horse battery staple and so on"
    assert settings(SECRET=passphrase).secret == (passphrase,)


@pytest.mark.parametrize("value", ["short", "0123456789abcdef0123456789abcde", "é" * 15, "\udcff" * 31])
def test_a_short_secret_is_refused_and_never_repeated(value: str) -> None:
    line = refusal(SECRET=value)
    assert line.startswith("PUSHSVC_SECRET should be at least 32 bytes")
    assert value not in line


@pytest.mark.parametrize("value", ["https://u:hunter2@h/v1", "https://u:hunter2@h:x/v1", "https://h?k=hunter2#x"])
def test_a_bad_base_url_is_refused_without_its_secrets(value: str) -> None:
    line = refusal(LLM_BASE_URL=value)
    assert line.startswith("PUSHSVC_LLM_BASE_URL should be ")
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (" http://127.0.0.1:8081/v1 \n", "http://127.0.0.1:8081/v1"),
        (
            "https://x/openai/deployments/d?api-version=2024-10-21",
            "https://x/openai/deployments/d?api-version=2024-10-21",
        ),
    ],
)
def test_a_base_url_as_people_paste_it(given: str, taken: str) -> None:
    assert Settings.from_env({"PUSHSVC_LLM_BASE_URL": given}).llm_base_url == taken


@pytest.mark.parametrize("value", ["a b", "a{0}", "a:", "x" * 65, "é", "a\n", "a/b", "*", "{", " a"])
def test_a_prefix_is_one_plain_word(value: str) -> None:
    assert refusal(REDIS_PREFIX=value).endswith(" should be 1 to 64 letters (A to Z), digits and . _ -")


@pytest.mark.parametrize("value", ["http://:hunter2@127.0.0.1", "127.0.0.1:6379/hunter2", "hunter2"])
def test_a_bad_redis_url_is_refused_and_never_repeated(value: str) -> None:
    line = refusal(REDIS_URL=value)
    assert line.startswith("PUSHSVC_REDIS_URL should start with one of redis://")
    assert "hunter2" not in line


@pytest.mark.parametrize("value", ["hunter2\nX-Evil: 1", "hunter2 ", "hunter2ü"])
def test_an_api_key_that_is_no_header_is_refused_and_never_repeated(value: str) -> None:
    line = refusal(LLM_API_KEY=value)
    assert line.startswith("PUSHSVC_LLM_API_KEY should be visible ASCII")
    assert "hunter2" not in line


def test_neither_secret_nor_password_stands_in_the_settings_own_text() -> None:
    text = repr(settings(SECRET=GOOD_SECRET, REDIS_URL="redis://:hunter2@127.0.0.1", LLM_API_KEY="hunter2"))
    assert GOOD_SECRET not in text
    assert "hunter2" not in text


def test_headers_of_the_settings_are_lines_and_never_repeated() -> None:
    lines = "X-Team: web\r\n\n  api-key:hunter2  \nX-Empty:"
    assert settings(LLM_HEADERS=lines).llm_headers == (("X-Team", "web"), ("api-key", "hunter2"), ("X-Empty", ""))
    for bad in ("hunter2", ": hunter2", "X: hunter2\nx: 1", "Host: hunter2", "X-Y: hunter2\u00fc", "X Y: hunter2"):
        line = refusal(LLM_HEADERS=bad)
        assert line.startswith("PUSHSVC_LLM_HEADERS should be ")
        assert "hunter2" not in line


def test_settings_are_frozen_and_take_no_other_environment() -> None:
    found = Settings.from_env({"WORKERS": "7", "PUSHSVC_UNKNOWN": "x", "PUSHSVC_WORKERS": "2"})
    assert found.workers == 2
    with pytest.raises(ValidationError):
        found.workers = 3  # type: ignore[misc]


def test_hooks_are_signed() -> None:
    told = settings(HOOK_URL="https://app.example.com/hooks?a=b", HOOK_SECRET="key")
    assert (told.hook_url, told.hook_secret) == ("https://app.example.com/hooks?a=b", "key")
    assert "together with PUSHSVC_HOOK_URL" in refusal(HOOK_URL="https://app.example.com/hooks")
    assert "together with PUSHSVC_HOOK_URL" in refusal(HOOK_SECRET="key")
    for value in (
        "ftp://app.example.com/key",
        "https://me:word@app.example.com/",
        "https://[::1",
        "http://:80/",
        "word",
    ):
        assert "should be an address such as" in (line := refusal(HOOK_URL=value, HOOK_SECRET="key"))
        assert value not in line  # its path or query may hold a key
