"""The measurements: each scenario gives figures for one server, freshly started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bench.plan import Figures
from bench.scenarios.million import million
from bench.scenarios.ones import join, ndjson, publish
from bench.scenarios.storm import storm
from bench.scenarios.streams import fanout, latency, metrics, proxied, size
from bench.scenarios.telemetry import telemetry
from bench.scenarios.tokens import tokens
from bench.subjects.better_sse import BetterSse
from bench.subjects.flasks import FlaskNothing, FlaskSse
from bench.subjects.models import Answering, Direct, LiteLLM, Pauses, Silent
from bench.subjects.nchan import Nchan, NchanRedis
from bench.subjects.servers import (
    Floor,
    FloorBehindNginx,
    Pushsvc,
    PushsvcLogged,
    PushsvcOften,
    PushsvcSwitched,
    PushsvcTraced,
    PushsvcUp,
    PushsvcWebSocket,
    Server,
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario, and the servers it is for. `once`: it takes long, so it has one turn, and only if it is asked for."""

    servers: tuple[type[Server], ...]
    measure: Callable[..., Figures]
    once: bool = False


SCENARIOS: Final = {
    "publish": Scenario((Pushsvc, NchanRedis, BetterSse, FlaskNothing), publish),
    "join": Scenario((Pushsvc, NchanRedis, BetterSse, Floor), join),
    "ndjson": Scenario((Pushsvc,), ndjson),
    "fanout": Scenario((Pushsvc, PushsvcWebSocket, Floor, Nchan, FlaskSse), fanout),
    "latency": Scenario((Pushsvc, Floor, Nchan, FlaskSse), latency),
    "size": Scenario((Pushsvc, PushsvcWebSocket, Floor, Nchan, FlaskSse), size),
    "storm": Scenario((Pushsvc,), storm),
    "nginx": Scenario((PushsvcUp, FloorBehindNginx), proxied),
    "metrics": Scenario((PushsvcSwitched,), metrics),
    "telemetry": Scenario((Pushsvc, PushsvcLogged, PushsvcTraced), telemetry),
    "million": Scenario((PushsvcOften,), million, once=True),
    "tokens": Scenario((Answering, LiteLLM, Direct, Pauses, Silent), tokens),
}
