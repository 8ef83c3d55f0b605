"""The table of docs/proxies.md, and the configurations beside it, which are those that the tests run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from proxies.support import tls
from proxies.support.kinds import BALANCERS, CONFIGURATIONS, KINDS
from tests.support.stack import ROOT

PAGE: Final = ROOT / "docs" / "proxies.md"
Cells = Mapping[tuple[str, str], Mapping[str, Any]]  # by (proxy, way): what was seen

_HEAD = """\
| proxy | way | first event | idle for 40 s | a browser that left counts for | no service answers |
| --- | --- | --- | --- | --- | --- |
"""


def write(cells: Cells, page: Path = PAGE) -> bool:
    """Write the table anew if nothing is missing in it. False: it is left as it was."""
    wanted = [(kind.name, what) for kind in KINDS for what in ("plain", *kind.others, "recommended")]
    if any(not {"first", "away"} <= cells.get(each, {}).keys() for each in wanted):
        return False
    rows = "".join(_row(name, what, cells[name, what]) for name, what in wanted)
    _replace(page, "table", _HEAD + rows)
    return True


def _row(name: str, what: str, seen: Mapping[str, Any]) -> str:
    way = {"plain": "as it comes", "recommended": "with the lines below"}.get(what, f"with {what}")
    if seen["first"] is None:
        told = ["never", "-", "-"]
    else:
        told = [_first(seen["first"]), "lives" if seen["idle"] else "is cut", _left(seen.get("left"))]
    away = "200 and `retry:`" if seen["away"] == 200 else str(seen["away"])
    return f"| {' | '.join([name, way, *told, away])} |\n"


def _first(milliseconds: float) -> str:
    return "under 20 ms" if milliseconds < 20 else f"{milliseconds:.0f} ms"


def _left(seconds: float | None) -> str:
    if seconds is None:
        return "over 100 s"
    return "under 2 s" if seconds < 2 else f"{seconds:.0f} s"


def configurations() -> dict[str, str]:
    """The block of each proxy in the page: file -> what it should hold."""
    return {kind.file: (CONFIGURATIONS / kind.file).read_text() for kind in (*KINDS, *BALANCERS)}


def blocks(page: Path = PAGE) -> dict[str, str]:
    """The blocks of configuration that the page has: file -> lines."""
    found = re.findall(r"<!-- (\S+) -->\n```\w*\n(.*?)```\n", page.read_text(), re.DOTALL)
    return dict(found)


def _replace(page: Path, name: str, lines: str) -> None:
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    text = page.read_text()
    first, last = text.index(begin) + len(begin), text.index(end)
    page.write_text(text[:first] + lines + text[last:])


def secured() -> dict[str, str]:
    """The lines of each proxy over TLS that the page has: proxy -> what stands there in place of what."""
    return {name: _both(*lines) for name, lines in tls.LINES.items()}


def _both(plain: str, secure: str) -> str:
    return f"# in place of: {' '.join(plain.split())}\n{secure.rstrip()}\n"


def secured_blocks(page: Path = PAGE) -> dict[str, str]:
    """The blocks for TLS that the page has."""
    return dict(re.findall(r"<!-- over TLS: ([^\n]+) -->\n```\n(.*?)```\n", page.read_text(), re.DOTALL))
