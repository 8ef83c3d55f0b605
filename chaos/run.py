"""One run: traffic all the time, the steps of the schedule one after the other, and at the end what users saw."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.programs.child import BenchError
from chaos.audit import gone
from chaos.checker import Witness, close, missing
from chaos.faults import FAULTS, Scene
from chaos.ledger import Ledger
from chaos.schedule import Blow, Step
from chaos.stacks.stack import Stack
from chaos.stacks.topologies import TOPOLOGIES
from chaos.traffic.idle import IdleTabs
from chaos.traffic.listeners import Listeners
from chaos.traffic.publishers import Channels, Publisher
from chaos.traffic.readiness import Readiness

WARM_EVENTS: Final = 100  # acknowledged before the first fault
CALM_SECONDS: Final = 1.0  # of traffic after the last fault
ARRIVE_SECONDS: Final = 60.0  # after the traffic's end, for what is still to come
LOOK_SECONDS: Final = 0.2
SPEAK_SECONDS: Final = 0.3  # after a fault began: most of its victims are cut by then, and not back


@dataclass(frozen=True)
class Plan:
    seed: int
    users: int
    publishers: int
    workers: int
    rate: float  # events a second
    events: int  # to be acknowledged before the end
    longest: float  # seconds that a fault may last
    idle: int  # users whose tabs have heard nothing when a step begins
    redis: str  # one of TOPOLOGIES


Say = Callable[[str, int], None]  # what is going on, and how many steps are done


async def run(plan: Plan, schedule: Sequence[Step], folder: Path, say: Say) -> Ledger:
    """Run the schedule under traffic. `folder` keeps the service's data and what it prints. Raises BenchError if the
    stack does not start."""
    ledger = Ledger()
    stack = TOPOLOGIES[plan.redis].stack(folder, plan.workers)
    say("starting", 0)
    try:
        await stack.start()
        listeners = Listeners(stack, ledger, plan.users)
        try:
            await listeners.start()
            idle = await _traffic(plan, schedule, stack, listeners, ledger, say)
            say("waiting for what is still to come", len(schedule))
            await _arrive(listeners, ledger)
            lacking = await gone(stack, ledger)
        finally:
            await listeners.stop()
        close([*listeners.witnesses, *idle], ledger, lacking)
    finally:
        await stack.stop()
    for line in stack.output().splitlines():
        if line.startswith("Traceback"):
            ledger.note("the service printed a traceback")
    return ledger


async def _traffic(
    plan: Plan, schedule: Sequence[Step], stack: Stack, listeners: Listeners, ledger: Ledger, say: Say
) -> list[Witness]:
    """The publishers' work, with everything that breaks meanwhile. Returns what the idle tabs saw."""
    channels = Channels(listeners.users, listeners.topics)
    idle: list[Witness] = []
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as backends:
        for number in range(plan.publishers):
            chance = random.Random(f"{plan.seed} {number}")
            publisher = Publisher(stack, ledger, channels, chance, plan.rate / plan.publishers)
            backends.create_task(publisher.run(stop))
        readiness = Readiness(stack.url)
        asking = backends.create_task(readiness.run())
        try:
            scene = Scene(stack, listeners, plan.longest)
            while ledger.acked < WARM_EVENTS:
                await asyncio.sleep(LOOK_SECONDS)
            for number, step in enumerate(schedule):
                say(step.name, number)
                tabs = IdleTabs(stack, ledger, number, plan.idle)
                idle += tabs.witnesses
                speaker = Publisher(stack, ledger, channels, random.Random(f"{plan.seed} idle {number}"), plan.rate)
                channels.quiet = plan.idle > 0
                await tabs.open()
                async with asyncio.TaskGroup() as both:
                    both.create_task(_speak(tabs, speaker, channels, step))
                    await _break(step, scene, readiness, ledger)
                await tabs.close()
                listeners.check()
            ledger.turn("after")
            while ledger.acked < plan.events:
                say(f"{ledger.acked} of {plan.events} events", len(schedule))
                await asyncio.sleep(LOOK_SECONDS)
            await asyncio.sleep(CALM_SECONDS)
        finally:
            stop.set()
            asking.cancel()
    return idle


async def _speak(tabs: IdleTabs, publisher: Publisher, channels: Channels, step: Step) -> None:
    """Publish to the idle tabs once the faults of the step have begun."""
    await asyncio.sleep(max(blow.after for blow in step.blows) + SPEAK_SECONDS)
    channels.quiet = False
    await tabs.speak(publisher)


async def _break(step: Step, scene: Scene, readiness: Readiness, ledger: Ledger) -> None:
    chapter = ledger.turn(step.name)
    clock = asyncio.get_running_loop().time
    begun = clock()
    async with asyncio.TaskGroup() as blows:
        for blow in step.blows:
            blows.create_task(_strike(blow, scene, ledger))
    green = await readiness.green_after(clock())
    if green is None:
        ledger.note(f"the service was not ready again after {step.name}")
    chapter.green_seconds = green
    chapter.red_seconds = readiness.red_after(begun)
    await asyncio.sleep(step.calm)


async def _strike(blow: Blow, scene: Scene, ledger: Ledger) -> None:
    await asyncio.sleep(blow.after)
    try:
        await FAULTS[blow.fault](scene, random.Random(blow.seed))
    except BenchError as error:
        ledger.note(f"{blow.fault}: {error}")


async def _arrive(listeners: Listeners, ledger: Ledger) -> None:
    """Wait until everybody has everything, or it has taken too long."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + ARRIVE_SECONDS
    while missing(listeners.witnesses, ledger) and clock() < deadline:
        await asyncio.sleep(LOOK_SECONDS)
    await asyncio.sleep(LOOK_SECONDS)  # an event too many would come now
