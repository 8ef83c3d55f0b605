"""The servers that are asked for answers: the model of model.c, and what stands in front of it."""

from __future__ import annotations

import signal
from typing import ClassVar, Final

from bench.programs import proc
from bench.programs.child import ROOT, BenchError, Child, answers, free_port
from bench.subjects.servers import Pushsvc, Server
from pushsvc.config import PREFIX

RATE: Final = 30  # tokens a second, of each answer
PHASES: Final = 200  # times at which answers speak in turn, see model.c

LITELLM_SECONDS: Final = 180.0  # that LiteLLM may take to start
_LITELLM: Final = """
model_list:
  - model_name: speaks
    litellm_params: {{model: openai/speaks, api_base: "http://127.0.0.1:{port}/v1", api_key: x}}
general_settings: {{master_key: {key}}}
litellm_settings: {{num_retries: 0, set_verbose: false}}
"""
_QUIETLY: Final = {  # as its documentation has it for production, and without a look at other hosts
    "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
}  # fmt: skip


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


class LiteLLM(Server):
    """LiteLLM's proxy with one worker in front of the same model, as `make engines` installs it."""

    name = "litellm"
    share = 0.125  # one worker does not keep up with more
    _PROGRAM: ClassVar = ROOT / "engines/.venv/bin/litellm"
    _KEY: ClassVar = "sk-bench"

    def start(self) -> None:
        if not self._PROGRAM.exists():
            raise BenchError("not installed")
        model_port = free_port()
        self.model = run_model(self, model_port)
        config = self.folder / "litellm.yaml"
        config.write_text(_LITELLM.format(port=model_port, key=self._KEY))
        words = [str(self._PROGRAM), "--config", str(config), "--host", "127.0.0.1", "--port", str(self.port)]
        child = Child([*words, "--num_workers", "1"], _QUIETLY, signal.SIGINT)
        self.children.append(child)
        child.until(lambda: answers(self.port, "/health/liveliness"), LITELLM_SECONDS)

    def headers(self, count: int) -> list[str]:
        return [f"Authorization: Bearer {self._KEY}"] * count

    def processes(self) -> list[int]:
        """The ids of its own processes, not the model's."""
        return list(proc.family(self.children[-1].pid))


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
