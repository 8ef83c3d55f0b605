"""Redis as the rest of the service sees it: pipelines of commands and scripts, with the service's own errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import redis
from redis.connection import ConnectionInterface
from redis.exceptions import NoPermissionError, NoScriptError, RedisError

from pushsvc.addresses import redis_address
from pushsvc.addresses.redis_address import CLUSTER_SCHEMES, SENTINEL_SCHEMES
from pushsvc.concurrency.shares import OWNER
from pushsvc.errors import PushError, Unconfirmed
from pushsvc.storage.redis.apart import Apart
from pushsvc.storage.redis.fencing import Fence
from pushsvc.storage.redis.keys import ALONE, Keys
from pushsvc.storage.redis.pipeline import AutoPipeline, NotSent
from pushsvc.storage.redis.refusals import REFUSAL_LOG, refusal
from pushsvc.storage.redis.scripts import Command, Script
from pushsvc.storage.redis.topology import cluster, connecting, sentinels
from pushsvc.storage.redis.topology.nodes import Nodes

WAIT_MS: Final = 1000  # how long replicas may take to confirm
ASK_SECONDS: Final = 0.5  # how long a sentinel, or a node of a cluster, may take to name the master


def connect(
    url: str,
    handshake: Callable[[ConnectionInterface], None] | None = None,
    keys: Keys = ALONE,
    password_file: Path | None = None,
) -> redis.Redis:
    """Make a client for the partition of these `keys`. It never retries by itself: a retried append could duplicate
    an event. `handshake` runs first on each connection. Raises ValueError."""
    found = redis_address.parse(url)
    options = connecting.common(found, password_file) | {"redis_connect_func": handshake}
    if found.scheme in SENTINEL_SCHEMES:
        return redis.Redis(connection_pool=sentinels.pool(found, ASK_SECONDS, **options))
    if found.scheme in CLUSTER_SCHEMES:
        return redis.Redis(connection_pool=cluster.pool(found, keys, ASK_SECONDS, **options))
    return redis.Redis(connection_pool=redis.ConnectionPool(**connecting.place(found), **options))


def nodes_of(url: str, password_file: Path | None = None) -> Nodes:
    """The nodes of a cluster. Raises ValueError."""
    found = redis_address.parse(url)
    return cluster.nodes_of(found, ASK_SECONDS, **connecting.common(found, password_file))


class RedisClient:
    """Runs commands in one round trip and returns their answers in order. No connection goes back to a pool: a request
    that is cancelled between its command and the answer would leave that answer to the next user."""

    def __init__(
        self, client: redis.Redis, keys: Keys = ALONE, fence: Fence | None = None, *, wait_replicas: int = 0
    ) -> None:
        """`keys`: of the client's partition. `fence`: whose handshake the client's connections make.
        `wait_replicas`: how many replicas must have what `execute_replicated` writes."""
        self.keys = keys
        self.fence = fence or Fence(keys)
        self.lost = False  # the cluster's node that has this partition is down, for everybody
        self.evicts: str | None = None  # why written data may vanish (eviction); None: it does not
        self._wait_replicas = wait_replicas
        apart = Apart(client, self.fence, keys).run
        self._main = AutoPipeline(client, self.fence, apart=apart)
        self._reads = AutoPipeline(client, self.fence)
        # A separate one, so that other commands do not wait for replicas. One answer counts for its whole round trip.
        wait = ("WAIT", wait_replicas, WAIT_MS)
        self._replicated = AutoPipeline(client, self.fence, last=wait, apart=apart) if wait_replicas else self._main

    def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands. Raises Unavailable when Redis does not answer or refuses one (as NotApplied if nothing was
        done), or WrongType, see `refusal`."""
        return self._run(self._main, commands)

    def read(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands whose answers may be large, on another connection than the rest. Raises as `execute` does."""
        return self._run(self._reads, commands, owner=OWNER.get())

    def read_each(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands like `read`, but what Redis refused is an exception among the answers."""
        return self._run(self._reads, commands, refusals=True, owner=OWNER.get())

    def execute_each(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands like `execute`, but what Redis refused is an exception among the answers."""
        return self._run(self._main, commands, refusals=True)

    def execute_replicated(self, commands: Sequence[Command], weights: Sequence[int] = ()) -> list[Any]:
        """Run commands like `execute_each`, but in turn with those of other owners, and wait for replicas. `weights`:
        as how many each counts in these turns; 1 if there are none. Raises Unconfirmed if too few replicas confirm the
        write: after a failover the new master may lack it."""
        answers = self._run(self._replicated, commands, refusals=True, owner=OWNER.get(), weights=weights)
        if not self._wait_replicas:
            return answers
        *answers, replicas = answers
        if isinstance(replicas, NoPermissionError):
            raise Unconfirmed("Redis does not let the service WAIT for replicas; an operator must look.", retry_after=5)
        if isinstance(replicas, Exception):
            raise Unconfirmed(self.refusal(replicas).detail, retry_after=1)
        if replicas < self._wait_replicas:
            count = f"{replicas} of {self._wait_replicas}"
            raise Unconfirmed(f"Too few replicas of Redis have what was published ({count}); try again.", retry_after=1)
        return answers

    def execute_one(self, command: Command) -> Any:
        """Run one command, and give its answer. Raises as `execute` does."""
        return self.execute([command])[0]

    def begin(self, command: Command) -> Callable[[], Any]:
        """Run one command like `execute_one`, but return the function that waits for its answer."""
        wait = self._main.begin([command])
        return lambda: self._settled(self._main, [command], wait)[0]

    def send(self, command: Command) -> None:
        """Run a command without waiting for its answer. It runs before all later commands."""
        self._main.send([command])

    def _run(
        self,
        pipeline: AutoPipeline,
        commands: Sequence[Command],
        *,
        refusals: bool = False,
        owner: str = "",
        weights: Sequence[int] = (),
    ) -> list[Any]:
        return self._settled(pipeline, commands, pipeline.begin(commands, owner, weights), refusals=refusals)

    def _settled(
        self,
        pipeline: AutoPipeline,
        commands: Sequence[Command],
        wait: Callable[[], list[Any]],
        *,
        refusals: bool = False,
    ) -> list[Any]:
        """Wait for the answers, and translate what Redis refused. Runs again what only lacked a script."""
        try:
            answers = wait()
            refused = [i for i, answer in enumerate(answers) if isinstance(answer, Exception)]
            if not refused:
                return answers
            self._teach(pipeline, commands, answers, [i for i in refused if isinstance(answers[i], NoScriptError)])
        except RedisError as error:
            REFUSAL_LOG.warn(error)
            raise self.refusal(error) from error
        for answer in {str(answer): answer for answer in answers if isinstance(answer, Exception)}.values():
            REFUSAL_LOG.warn(answer)
            if not refusals:
                raise self.refusal(answer) from answer
        return answers

    def refusal(self, error: Exception) -> PushError:
        """Turn an error of Redis into one for clients; Redis's own text goes to the log."""
        return refusal(error, lost=self.lost)

    def _teach(
        self, pipeline: AutoPipeline, commands: Sequence[Command], answers: list[Any], missing: Sequence[int]
    ) -> None:
        """Load the scripts, which a fresh or restarted Redis lacks, and run these failed commands again. Their answers
        are replaced."""
        if not missing:
            return
        try:
            self.load_scripts()
            taught = pipeline.run([commands[i] for i in missing])
        except NotSent as error:
            taught = [error] * (len(missing) + pipeline.extra)
        for i, answer in zip([*missing, *range(len(commands), len(answers))], taught, strict=True):
            answers[i] = answer

    def load_scripts(self) -> None:
        """Load all scripts. Raises NotSent: nothing has happened."""
        try:
            answers = self._main.run([("SCRIPT", "LOAD", script.source) for script in Script.all])
        except RedisError as error:
            raise NotSent(str(error)) from error
        for answer in answers:
            if isinstance(answer, RedisError):
                raise NotSent(str(answer)) from answer
