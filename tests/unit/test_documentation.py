"""The pages of documentation fit each other, and the settings that there are."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

from pushsvc.config import Settings
from tests.support.stack import ROOT

README: Final = ROOT / "README.md"
CHINESE: Final = ROOT / "README.zh-CN.md"
SETTINGS: Final = ROOT / "docs/settings.md"

_BLOCK: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING: Final = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")


def blocks(page: Path) -> list[str]:
    return _BLOCK.findall(page.read_text())


def prose(page: Path) -> str:
    return _BLOCK.sub("", page.read_text())


def levels(page: Path) -> list[int]:
    return [len(marks) for marks, _ in _HEADING.findall(prose(page))]


def links(page: Path) -> list[str]:
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    titles = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title) for _, title in _HEADING.findall(prose(page)))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def settings_rows(page: Path) -> list[tuple[str, str]]:
    """The names and the default of each row of the page's table of settings."""
    table = page.read_text().partition("| name | default | meaning |\n")[2].partition("\n\n")[0]
    return [(row.split(" | ")[0].removeprefix("| "), row.split(" | ")[1]) for row in table.splitlines()[1:]]


def test_the_chinese_readme_has_the_headings_code_and_links_of_the_english_one() -> None:
    assert levels(CHINESE) == levels(README)
    assert blocks(CHINESE) == blocks(README)
    others = {"README.md", "README.zh-CN.md"}
    assert sorted(set(links(CHINESE)) - others) == sorted(set(links(README)) - others)
    code = re.compile(r"`([^`\n]+)`")
    assert sorted(code.findall(prose(CHINESE))) == sorted(code.findall(prose(README)))


def test_the_pages_of_the_readme_are_those_of_the_documentation() -> None:
    pages = [each for each in blocks(README) if each.startswith("```js\n")]
    assert pages == [blocks_of("listen.md")[0], blocks_of("answers.md")[0]]


def blocks_of(page: str) -> list[str]:
    return [each for each in blocks(ROOT / "docs" / page) if each.startswith("```js\n")]


def test_the_table_of_settings_is_complete() -> None:
    listed = [name for names, _ in settings_rows(SETTINGS) for name in re.findall(r"`(\w+)`", names)]
    ours = {"demo_key"}  # the supervisor tells its workers; nobody else sets it
    assert sorted(listed) == sorted(name.upper() for name in Settings.model_fields.keys() - ours)


def test_the_short_table_of_settings_is_a_part_of_the_complete_one() -> None:
    assert set(settings_rows(README)) <= set(settings_rows(SETTINGS))


def test_links_lead_somewhere() -> None:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    pages = [ROOT / name for name in listed.split()] or [README, CHINESE, *(ROOT / "docs").glob("*.md")]
    lost = []
    for page in pages:
        for link in links(page):
            path, _, anchor = link.partition("#")
            target = (page.parent / path) if path else page
            if ":" in path or link.startswith("/"):
                continue
            if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
                lost.append(f"{page.relative_to(ROOT)}: {link}")
    assert lost == []
