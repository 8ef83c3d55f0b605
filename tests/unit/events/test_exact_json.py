"""JSON whose numbers keep their digits, and whose keys and characters are not silently others."""

from __future__ import annotations

import json
import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushsvc.events import exact_json
from pushsvc.events.exact_json import LoneSurrogate, NotJson, Number

NUMBERS = [
    "0", "-0", "-0.0", "1", "-1", "1.10", "1.0", "0.1", "1E5", "1e5", "1e+5", "1e-7", "0.0000001", "1e400", "-1e400",
    "18446744073709551615", "18446744073709551616", "-9223372036854775808", "-9223372036854775809",
    "123456789012345678901234567890", "0.1000000000000000055511151231257827", "9" * 5000, "1" + "0" * 400 + ".5",
]  # fmt: skip


@pytest.mark.parametrize("text", NUMBERS)
def test_a_number_keeps_its_digits(text: str) -> None:
    raw = b'{"a":[%b,{"b":%b}]}' % (text.encode(), text.encode())
    assert exact_json.dumps(exact_json.loads(raw)) == raw
    assert exact_json.dumps(exact_json.loads(raw.replace(b":", b" : "), unique=True)) == raw
    [number, _] = exact_json.loads(raw)["a"]
    assert math.isclose(number, float(text)) or number == float(text)


def test_what_is_plain_is_read_as_ever() -> None:
    value = exact_json.loads(b'{"a": 1, "b": [1.5, true, null, "x"], "c": {}, "d": 1e-7}')
    assert value == {"a": 1, "b": [1.5, True, None, "x"], "c": {}, "d": 1e-7}
    assert not any(isinstance(each, Number) for each in (value["a"], *value["b"]))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_whatever_is_written_is_read_and_written_again(value: object) -> None:
    for raw in (json.dumps(value).encode(), json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()):
        again = exact_json.dumps(exact_json.loads(raw, unique=True))
        assert json.loads(again) == value
        if b" " not in raw and b"\\" not in raw:
            assert again == raw


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"nope", b"\xff", b'{"a":NaN}', b"[Infinity]", b"[-Infinity]", b"[01]", b"[1.]", b"[+1]", b"[1] x",
        b'"\xed\xa0\xbd"', b'"a\nb"', b"[" * 5000 + b"]" * 5000, b"\xef\xbb\xbf{}", b'{"a":1,}', b'{"a":\\u0031}',
    ],
)  # fmt: skip
def test_what_is_no_json(raw: bytes) -> None:
    with pytest.raises(NotJson):
        exact_json.loads(raw)


@pytest.mark.parametrize("raw", [b'{"a":1,"a":2}', b'{"a":1, "a":1}', b'[{"b":{"a":1,"\\u0061":2}}]'])
def test_doubled_keys_are_refused_where_that_matters(raw: bytes) -> None:
    with pytest.raises(NotJson, match="'a' is named twice"):
        exact_json.loads(raw, unique=True)
    exact_json.loads(raw)


def test_an_item_that_names_a_key_twice_harms_no_other() -> None:
    one, two, three = exact_json.loads_items(b'[{"a":1,"a":2}, {"a":[{"b":1.10,"c":0,"b":2}]}, {"a": -0, "b": 7}]')
    assert str(one) == "'a' is named twice in one object"
    with pytest.raises(NotJson, match="'b' is named twice"):
        exact_json.dumps(two)
    assert (exact_json.dumps(three), three["b"]) == (b'{"a":-0,"b":7}', 7)


@pytest.mark.parametrize("blank", [" ", "\t", "\n", "\r\n", " \n  "])
def test_blanks_between_words_change_nothing_and_those_in_strings_stay(blank: str) -> None:
    for number in ("1.5", "1.50"):
        raw = f'{{{blank}"a b":{blank}["x  \\n\\" y",{blank}{number}]{blank}}}'.encode()
        assert exact_json.dumps(exact_json.loads_items(raw)) == f'{{"a b":["x  \\n\\" y",{number}]}}'.encode()


def test_halves_of_surrogate_pairs() -> None:
    raw = b'{"a":"x\\ud83d","\\ude80":[1.10,-0,null,"\\"\\n"]}'
    value = exact_json.loads(raw)
    with pytest.raises(LoneSurrogate):
        exact_json.dumps(value)
    assert exact_json.dumps(value, lone=True) == raw
    assert exact_json.has_lone_surrogate(raw, value)
    for good in (b'{"a":"\\ud83d\\ude80"}', rb'{"a":"\\ud83d"}', b'"x"'):
        assert not exact_json.has_lone_surrogate(good, exact_json.loads(good))
    assert exact_json.paired("a\ud83d" + "\ude80b") == "a🚀b"
    assert exact_json.paired("ü\ude80\ud83d🚀") == "ü\ude80\ud83d🚀"


def test_too_deep_to_be_written() -> None:
    value: object = 1
    for _ in range(400):
        value = [value]
    with pytest.raises(ValueError, match="nested too deeply"):
        exact_json.dumps(value)


def test_the_usual_costs_no_second_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact_json, "_EXACT", None)
    monkeypatch.setattr(exact_json, "_UNIQUE", None)
    raw = orjson.dumps({"user": "alice", "data": {"n": 7, "x": [1.25, "ü"]}})
    assert exact_json.loads(raw, unique=True) == orjson.loads(raw)
