"""The account that docs/redis.md gives, which has no more rights than it must have."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from tests.support.stack import ROOT

PREFIX: Final = "shop-2"
USER: Final = "pushsvc"
PASSWORD: Final = "a p@ss/w#rd:?"
PAGE: Final = ROOT / "docs" / "redis.md"


def least(*, cluster: bool = False, prefix: str = PREFIX) -> list[str]:
    """The rules that follow on the user's name, as the page has them."""
    found = re.search(r"^ACL SETUSER pushsvc (.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    rules = found[1].split()
    if cluster:
        rules = [f"{rule[0]}pushsvc{{*" if rule[0] in "~&" else rule for rule in rules]
        rules += re.findall(r"\+cluster\\\|\w+", PAGE.read_text())
    rules = [rule.replace("pushsvc{", prefix + "{").replace("\\", "") for rule in rules]
    return [f">{PASSWORD}" if rule == ">PASSWORD" else rule for rule in rules]


def of_account(url: str) -> str:
    """The same address, as this user."""
    return url.replace("://", f"://{USER}:{quote(PASSWORD, safe='')}@", 1)
