"""requirements.lock: what `make lock` writes from requirements.txt."""

from __future__ import annotations

import re

from tests.support.stack import ROOT

PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    text = (ROOT / name).read_text()
    return {found[0].lower().replace("_", "-").replace(".", "-"): found[1] for found in PIN.findall(text)}


def test_the_lock_has_what_the_service_needs() -> None:
    wanted, locked = pins("requirements.txt"), pins("requirements.lock")
    assert wanted.items() <= locked.items(), "run `make lock`"


def test_each_locked_package_has_its_hashes() -> None:
    text = (ROOT / "requirements.lock").read_text()
    for block in re.split(r"\n(?=[A-Za-z0-9])", text.partition("\n\n")[2] or text):
        if "==" in block:
            assert "--hash=sha256:" in block, block
    assert "://" not in text, "no host of an index: whoever installs names theirs"
