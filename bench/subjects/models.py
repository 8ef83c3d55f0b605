"""The servers that are asked for answers: the model of model.c, and the service in front of it."""

from __future__ import annotations

from typing import ClassVar, Final

from bench.programs import proc
from bench.programs.child import Child, answers, free_port
from bench.subjects.servers import Pushsvc, Server
from pushsvc.config import PREFIX

RATE: Final = 30  # tokens a second, of each answer
PHASES: Final = 200  # times at which answers speak in turn, see model.c


def run_model(server: Server, port: int) -> Child:
    child = Child([str(server.programs["model"]), str(port), str(RATE), str(PHASES)])
    server.children.append(child)
    child.until(lambda: answers(port, "/"))
    return child


class Direct(Server):
    """The model alone."""

    name = "direct"

    def start(self) -> None:
        run_model(self, self.port)


class Answering(Pushsvc):
    """`python -m pushsvc serve` with one worker, in front of the model."""

    def start(self) -> None:
        self.model_port = free_port()
        self.model = run_model(self, self.model_port)
        super().start()

    def settings(self) -> dict[str, str]:
        given = {
            "llm_base_url": f"http://127.0.0.1:{self.model_port}/v1",
            "llm_first_token_seconds": "3600",
            "llm_between_tokens_seconds": "3600",
            "llm_total_seconds": "3600",
            "llm_max_generations": "100000",
            "llm_max_generations_per_user": "100000",
        }
        return super().settings() | {PREFIX + name.upper(): value for name, value in given.items()}

    def processes(self) -> list[int]:
        """The ids of the service's own processes: neither Valkey's nor the model's."""
        return list(proc.family(self.children[-1].pid))

    def valkey(self) -> list[int]:
        known = {*self.processes(), self.model.pid}
        return [pid for pid in self.pids() if pid not in known]


class Unsaid(Answering):
    """The service with answers that do not begin. `says`: the model's name, see model.c."""

    says: ClassVar[str]


class Pauses(Unsaid):
    """The response's head comes, and no token."""

    name = "pushsvc, pauses"
    says = "pauses"


class Silent(Unsaid):
    """Nothing comes, not even the response's head."""

    name = "pushsvc, silent"
    says = "silent"
