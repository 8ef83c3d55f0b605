"""The start does once what the service will need: each right that the account lacks is named, in one line."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import redis

import pushsvc
from pushsvc.checks import rights
from pushsvc.storage.redis.keys import ALONE, Keys
from pushsvc.storage.redis.scripts import Script
from tests.support.redis.accounts import least
from tests.support.redis.checking import account, check, port_of, refused
from tests.support.redis.filtering import filtering

PACKAGE = Path(pushsvc.__file__).parent
COMMANDS = sorted(
    {*rights.in_scripts(), *(command[0] for command in rights.by_themselves(ALONE, wait=True))}
    | {"EVAL", "EVALSHA", "SCRIPT LOAD", "SSUBSCRIBE", "SUNSUBSCRIBE", "INFO"}
)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_right_that_is_missing_is_named(bare: redis.Redis, command: str) -> None:
    with account(bare, "~*", "&*", "+@all", "-" + command.lower().replace(" ", "|")) as url:
        line = refused(url, wait_replicas=int(command == "WAIT"))
    assert re.match(rf"PUSHSVC_REDIS_URL: Redis refuses {command}( in scripts)? \(", line), line


def test_all_that_are_missing_are_named_together(bare: redis.Redis) -> None:
    with account(bare, "~*", "&*", "+@all", "-xtrim", "-spublish", "-hstrlen") as url:
        assert "Redis refuses SPUBLISH, XTRIM in scripts, HSTRLEN (" in refused(url)


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ("~pushsvc:* &*", r"key pushsvc\{0\}:clock, .*the names of all keys and channels begin with pushsvc\{0\}:"),
        ("~* &pushsvc:*", r"channel pushsvc\{0\}:.*the names of all keys and channels begin with pushsvc\{0\}:"),
        ("~* resetchannels", r"channel pushsvc\{0\}:"),
        ("%R~* &*", r"key pushsvc\{0\}:"),
        ("%W~* &*", r"key pushsvc\{0\}:"),
        ("~pushsvc{0}:[a-s]* &*", r"key pushsvc\{0\}:tail:|pushsvc\{0\}:ticket"),
    ],
)
def test_names_that_are_forbidden_are_named(bare: redis.Redis, rules: str, says: str) -> None:
    with account(bare, *rules.split(), "+@all") as url:
        assert re.search(f"the account may not use the {says}", refused(url))


def test_the_names_are_those_of_the_prefix(bare: redis.Redis) -> None:
    with account(bare, "~shop{0}:*", "&shop{0}:*", "+@all") as url:
        assert "begin with pushsvc{0}:" in refused(url)
        check(url, redis_prefix="shop")


def test_every_kind_of_key_is_tried() -> None:
    mine = {name.removeprefix("pushsvc{0}:").partition(":")[0] for name in rights.names(ALONE)}
    no_keys = {"all", "hold", "own", "draw", "channel_of", "control"}
    for name, method in inspect.getmembers(Keys(), inspect.ismethod):
        if not name.startswith("_") and name not in no_keys:
            words = ["rate_connect"] if name == "rate" else []
            made = method(*words, *["user:x"] * (len(inspect.signature(method).parameters) - len(words)))
            assert made.removeprefix("pushsvc{0}:").partition(":")[0] in mine, f"Keys.{name} is not tried"


def test_every_command_that_the_service_sends_is_tried() -> None:
    """The commands of scripts are found in the scripts, those of Python in tuples whose first word is a command."""
    table = dict.fromkeys(re.findall(r"^  ([A-Z]+) = ", (PACKAGE / "storage/redis/lua/rights.lua").read_text(), re.M))
    assert set(rights.in_scripts()) <= table.keys()
    written = set()
    for path in PACKAGE.rglob("*.py"):
        if path.name not in ("rights.py", "rehearsal.py", "start.py"):
            written |= set(
                re.findall(
                    r"\(\"([A-Z]{3,})\", (?:\*?self\._keys|\*?\(?keys\.|name|names?\b|\*names)", path.read_text()
                )
            )
    known = {command[0] for command in rights.by_themselves(ALONE, wait=True)} | {"SET", "SSUBSCRIBE", "SUNSUBSCRIBE"}
    assert {"SPUBLISH", "HGETALL", "XRANGE", "MGET"} <= written, "the pattern finds them"
    assert written - {"SSUBSCRIBE", "SUNSUBSCRIBE"} <= known


def test_the_account_in_the_documentation_has_what_is_needed_and_no_more(bare: redis.Redis) -> None:
    rules = least(prefix="pushsvc")
    commands = {rule[1:].upper() for rule in rules if rule.startswith("+")}
    assert commands == {command.replace(" ", "|") for command in COMMANDS} - {"WAIT"}
    assert [rule for rule in rules if rule[0] in "~&"] == ["~pushsvc{0}:*", "&pushsvc{0}:*"]
    with account(bare, *rules, ">hunter2") as url:
        assert check(url) == []
        assert "WAIT" in refused(url, wait_replicas=1)
    with account(bare, *rules, ">hunter2", "+wait", "+select") as url:
        assert "0 of the 1 replicas" in check(f"{url}/3", wait_replicas=1)[0]


def test_every_script_is_run(bare: redis.Redis) -> None:
    bare.config_resetstat()
    bare.script_flush()
    ran = set[bytes]()
    with filtering(port_of(bare), lambda words: ran.add(words[1]) or words) as port:  # type: ignore[func-returns-value]
        check(f"redis://127.0.0.1:{port}")
    missing = [each.name for each in Script.all if not {each.sha.encode(), each.source} & ran]
    assert missing == []
