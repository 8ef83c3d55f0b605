"""A chunk that is not parsed must be taken as it would be if it were."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushsvc.llm.formats import openai
from pushsvc.llm.formats.alike import Alike

_HEAD = b'{"id":"c","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"'
_TAILS = (
    b'"},"logprobs":null,"finish_reason":null}]}',
    b'"},"finish_reason":null}],"usage":null,"obfuscation":"x7"}',
    b'"},"finish_reason":null}],"obfuscation":"", "service_tier":"a"}',
    b'"},"finish_reason":null}] , "obfuscation" : "ab" , "usage":null} ',
)
_PIECES = st.sampled_from(
    [
        b"a", b"[{", b'"', b"\\", b'\\"', b"\\u0041", b"\x00", b"\n", b"\x7f", b"\xc3\xa4", b"\xc3", b"\xed\xa0\x80",
        b'","obfuscation":"', b'"},"finish_reason":"stop"', b'","tool_calls":[{}],"x":"', b'"error":{}', b": NaN",
        b"\xf0\x9f\x98\x80", _TAILS[0], _HEAD,
    ]
)  # fmt: skip
_TEXTS = st.lists(_PIECES | st.binary(max_size=3), max_size=4).map(b"".join)


def _without_text(value: Any) -> Any:
    value = orjson.loads(orjson.dumps(value))
    value["choices"][0]["delta"]["content"] = ""
    if "obfuscation" in value:
        value["obfuscation"] = ""
    return value


@given(st.sampled_from(_TAILS), _TEXTS, _TEXTS, st.sampled_from(_TAILS))
def test_what_is_not_parsed_is_as_if_it_were(known: bytes, text: bytes, padding: bytes, tail: bytes) -> None:
    alike = Alike.of(openai.parse(_HEAD + b"first" + known))
    assert alike is not None
    raw = _HEAD + text + re.sub(rb'(?<="obfuscation":")[^"]*', lambda _: padding, tail)
    found = alike.read(raw)
    if found is not None:
        parsed = openai.parse(raw)
        assert found.raw == parsed.raw == raw
        assert _without_text(found.value) == _without_text(parsed.value)
        assert openai.frames([alike.chunk, found]) == openai.frames([alike.chunk, parsed])
        assert openai.only_text(parsed) is not None


@pytest.mark.parametrize("tail", _TAILS)
def test_a_token_is_not_parsed(tail: bytes) -> None:
    alike = Alike.of(openai.parse(_HEAD + b"first" + tail))
    assert alike is not None
    assert alike.read(_HEAD + "größer \\".encode()[:-1] + tail) is not None
    assert alike.read(_HEAD + tail) is not None
    assert alike.read(_HEAD + b"first" + tail.replace(b"null", b'"stop"', 1)) is None
    assert alike.read(_HEAD + b"\\n" + tail) is None


def test_a_chunk_that_carries_more_is_no_example() -> None:
    for more in (b'"x","role":"tool","name":"n"', b'"x","tool_calls":[]'):
        raw = b'{"choices":[{"index":0,"delta":{"content":%b}}]}' % more
        assert Alike.of(openai.parse(raw)) is None
