"""Runs each attack against a real stack, and prints what the healthy notice and what the workers' memory does:
`python -m tests.proofs.cost [--seconds 10] [NAME...]`. The aim: p99 at most +20 ms, memory at most +64 MB, no healthy
request refused."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.proofs.cost import attacks
from tests.proofs.cost.attack import Attack, Target, running
from tests.proofs.cost.healthy import Healthy
from tests.support.stack import Stack


def every_attack() -> dict[str, Attack]:
    """All attacks by name, with the module's name before it."""
    found: dict[str, Attack] = {}
    for each in pkgutil.iter_modules(attacks.__path__):
        module = importlib.import_module(f"{attacks.__name__}.{each.name}")
        found |= {f"{each.name}.{name}": attack for name, attack in module.ATTACKS.items()}
    return found


def measure(name: str, attack: Attack, seconds: float) -> None:
    """Run one attack against a new stack, and print a line about it."""
    with TemporaryDirectory() as folder:
        rates = {"rate_connect": "120 per minute", "rate_ask": "60 per minute"}
        stack = Stack(Path(folder) / "data", **rates, **attack.settings)
        try:
            target = Target(str(stack.settings["app"]), str(stack.settings["http"]), "tls" in attack.settings)
            healthy = Healthy(stack, target)
            before = healthy.feel(seconds / 2)
            with running(attack, target):
                during = healthy.feel(seconds)
            healthy.close()
        finally:
            stack.stop()
    refused = ", ".join(f"{count}x {what}" for what, count in during.refused.items()) or "none"
    print(
        f"{name:34} p99 {before.p99:6.1f} -> {during.p99:8.1f} ms   median {before.median:5.1f} -> {during.median:7.1f}"
        f" ms   memory {during.memory - before.memory:+7.1f} MB   late {during.late}   refused {refused}",
        flush=True,
    )


def main() -> None:
    every = every_attack()
    parser = argparse.ArgumentParser(description="Measure what cheap requests cost others.")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(every)}; or how they begin")
    given = parser.parse_args()
    for name, attack in every.items():
        if not given.names or name.startswith(tuple(given.names)):
            measure(name, attack, given.seconds)


if __name__ == "__main__":
    main()
