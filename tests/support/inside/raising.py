"""Raises an exception at each line that a connection's life runs through, one at a time, in a worker of its own; then
new connections get the same descriptors. Run by test_leftovers.py: prints what was left behind, or heard by others.

    python -m tests.support.inside.raising REDIS_URL EVERY STORY...

Of the lines that a story runs through, sorted, it takes each EVERYth: 1 is all of them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import gevent

from tests.support.inside.lab import MOMENT, PATIENCE, TRACER, Client, Injected, Lab, Place, Reason, descriptors, until

MOST_WRONG = 10  # then it is enough

Story = Callable[[Lab, str], Client]


def arrive(lab: Lab, user: str, **wish: Any) -> Client:
    with TRACER.arm():
        client = Client(lab, user).ask(**wish)
        if client.open():
            until(lambda: client.ended or (who := lab.subscriber(user)) is None or who.on_fast_path, MOMENT)
            lab.publish(user, "first")
            client.wait(b"first")
    return client


def arrive_and_leave(lab: Lab, user: str) -> Client:
    client = Client(lab, user).ask()
    client.open()
    until(lambda: (who := lab.subscriber(user)) is not None and who.on_fast_path, MOMENT)
    with TRACER.arm():
        client.close()
        until(lambda: lab.subscriber(user) is None, MOMENT)
    return client


def be_ended(reason: Reason) -> Story:
    def story(lab: Lab, user: str) -> Client:
        client = Client(lab, user).ask()
        client.open()
        until(lambda: (who := lab.subscriber(user)) is not None and who.on_fast_path, MOMENT)
        with TRACER.arm():
            who = lab.subscriber(user)
            if who is not None:
                with contextlib.suppress(Injected):
                    lab.hub.lifetimes.end(who, reason)
            client.wait(b"never said")
        return client

    return story


def expire(lab: Lab, user: str) -> Client:
    client = Client(lab, user).ask()
    client.open()
    until(lambda: (who := lab.subscriber(user)) is not None and who.on_fast_path, MOMENT)
    with TRACER.arm():
        who = lab.subscriber(user)
        if who is not None:
            who.expires = time.time()
        client.wait(b"never said", 1.0)
    return client


def be_slow(lab: Lab, user: str) -> Client:
    client = Client(lab, user).ask()
    client.open()
    until(lambda: (who := lab.subscriber(user)) is not None and who.on_fast_path, MOMENT)
    with TRACER.arm():
        for _ in range(20):
            who = lab.subscriber(user)
            if who is None or who.transport._backlog is not None:  # type: ignore[attr-defined]
                break
            lab.publish(user, "x" * 50_000)
            gevent.sleep(0.005)
        for _ in range(50):
            if who is None or who.transport._backlog is None or client.wait(b"never said", 0.01):  # type: ignore[attr-defined]
                break
        lab.publish(user, "last of all")
        client.wait(b"last of all", 1.0)
        until(lambda: client.ended or (who := lab.subscriber(user)) is None or who.on_fast_path, MOMENT)
    return client


def fall_behind(lab: Lab, user: str) -> Client:
    client = Client(lab, user).ask()
    client.open()
    until(lambda: (who := lab.subscriber(user)) is not None and who.on_fast_path, MOMENT)
    with TRACER.arm():
        try:
            lab.hub.catch_up.on_connect()
        except Injected:
            lab.hub.catch_up.on_connect()  # as the PubSub does, whose reader begins anew after any error
        until(lambda: (who := lab.subscriber(user)) is None or who.on_fast_path, MOMENT)
    return client


def with_a_greenlet(lab: Lab, user: str) -> Client:
    lab.service.capacity.allow_detaching(allowed=False)
    try:
        client = arrive(lab, user)
        with TRACER.arm():
            client.close()
            until(lambda: lab.subscriber(user) is None, MOMENT)
    finally:
        lab.service.capacity.allow_detaching()
    return client


def poll_long(lab: Lab, user: str) -> Client:
    with TRACER.arm():
        client = Client(lab, user).ask(f"/history?channel=user:{user}&wait=5")
        until(lambda: lab.subscriber(user) is not None, MOMENT)
        gevent.sleep(0.05)
        lab.publish(user, "first")
        client.wait(b"first")
    return client


def be_refused(lab: Lab, user: str) -> Client:
    presence: Any = lab.partition.presence
    most, presence._max_per_user = presence._max_per_user, 0
    try:
        with TRACER.arm():
            client = Client(lab, user).ask()
            client.wait(b"\r\n\r\n")
    finally:
        presence._max_per_user = most
    return client


STORIES: dict[str, Story] = {
    "arrives": arrive,
    "arrives with HTTP/1.0": lambda lab, user: arrive(lab, user, version="1.0"),
    "leaves": arrive_and_leave,
    "is drained": be_ended(Reason.DRAINING),
    "is cut": be_ended(Reason.SLOW),
    "expires": expire,
    "is slow": be_slow,
    "falls behind": fall_behind,
    "keeps its greenlet": with_a_greenlet,
    "polls": poll_long,
    "is refused": be_refused,
}


def trial(lab: Lab, story: Story) -> list[str]:
    """The things that went wrong around somebody's life."""
    lab.number += 1
    victim, stranger = f"victim{os.getpid()}.{lab.number}", f"stranger{os.getpid()}.{lab.number}"
    before = descriptors()
    others = [Client(lab, stranger) for _ in range(2)]  # with descriptors of their own, before any becomes free
    held = lab.held()
    wrong: list[str] = []
    client = story(lab, victim)
    for other in others:
        other.ask()
        if not other.wait(b"event: cursor\n", PATIENCE):
            wrong.append("somebody else is not served")
    lab.publish(victim, "for the victim alone")
    lab.publish(stranger, "for strangers")
    for other in others:
        if not other.wait(b"for strangers", PATIENCE):
            wrong.append("somebody else misses an event")
        if b"victim" in other.heard or b"first" in other.heard:
            wrong.append("somebody else hears what is not theirs")
    alive = lab.subscriber(victim)
    if (
        alive is not None
        and alive.reason is None
        and not client.wait(b"for the victim alone", PATIENCE)
        and not client.ended
    ):
        wrong.append("it is open, and hears nothing")
    if client.heard.count(b"for the victim alone") > 1 or client.heard.count(b"first") > 1:
        wrong.append("it hears something twice")
    for each in (client, *others):
        each.close()
    if not until(lambda: all(n <= held[name] for name, n in lab.held().items())):
        wrong.append(f"left behind: { {name: n - held[name] for name, n in lab.held().items() if n > held[name]} }")
    if not until(lambda: descriptors() <= before):
        wrong.append("a descriptor stays open")
    return wrong


def run(redis_url: str, every: int, names: list[str]) -> dict[str, object]:
    raised = 0
    wrong: list[str] = []
    known: set[Place] = set()
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(redis_url, folder)
        for name in names:
            TRACER.target = None
            trial(lab, STORIES[name])  # what is opened once is open then
            TRACER.seen.clear()
            wrong += [f"{name}, without an error: {each}" for each in trial(lab, STORIES[name])]
            for place in sorted(TRACER.seen.keys() - known)[::every]:
                TRACER.target, TRACER.hit = place, False
                wrong += [f"{name}, {place[0]}:{place[1]}: {each}" for each in trial(lab, STORIES[name])]
                raised += TRACER.hit
                if len(wrong) > MOST_WRONG:
                    break
            known |= TRACER.seen.keys()
    return {"raised": raised, "wrong": wrong}


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    try:
        print(json.dumps(run(sys.argv[1], int(sys.argv[2]), sys.argv[3:])), flush=True)
    finally:
        os._exit(0)
