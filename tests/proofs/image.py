"""Builds the image of examples/docker without Docker, and runs it: each step of the Dockerfile in a chroot, then the
service as the image's user, with a root that is read-only, without capabilities, as process 1. Linux; needs to be root.
`python -m tests.proofs.image [--base FOLDER]`: a root of Debian with Python (`debootstrap --variant=minbase
--include=python3,python3-venv,ca-certificates trixie FOLDER`), which stands for `python:3.14-slim-trixie`."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import httpx

from pushsvc import auth
from tests.support.clients.eventsource import until
from tests.support.ports import free_port
from tests.support.processes import dies_with_the_tests
from tests.support.redis.servers import Alone
from tests.support.stack import ROOT, SECRET

DOCKERFILE: Final = ROOT / "examples/docker/Dockerfile"
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# How the machine that builds reaches packages.
OUTSIDE: Final = ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/ssl/certs", "/root/.config/pip")
BUILD_SECONDS: Final = 900


class Stage:
    """The stage that is built from one FROM. Raises CalledProcessError if a step fails."""

    def __init__(self, root: Path, base: Path) -> None:
        self.root = root
        self.environ = {"PATH": PATH, "HOME": "/root"}
        self.user = "0:0"
        self.folder = "/"
        self.volumes: list[str] = []
        self.words: dict[str, list[str]] = {}  # of ENTRYPOINT, CMD and HEALTHCHECK
        subprocess.run(["cp", "-a", "--reflink=auto", f"{base}/.", root], check=True)
        if not (root / "usr/local/bin/python").exists():
            (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")

    def run(self, command: str) -> None:
        """Run the words of a RUN by the image's shell, with the network."""
        outside = [name for name in OUTSIDE if os.path.exists(name)]
        for name in outside:
            self._stand_in(name)
        mounts = [f"mount --rbind {name} {self.root}{name}" for name in (*outside, "/dev", "/proc")]
        inside = shlex.join(["chroot", str(self.root), "/bin/sh", "-c", f"cd {self.folder} && {command}"])
        script = "\n".join(["set -e", *mounts, f"exec {inside}"])
        pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or "CERT" in name}
        subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script],
            env=pip | self.environ, check=True, timeout=BUILD_SECONDS,
        )  # fmt: skip

    def _stand_in(self, name: str) -> None:
        """Have something there on which the machine's own can be mounted."""
        target = self.root / name.lstrip("/")
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.mkdir() if os.path.isdir(name) else target.touch()

    def copy(self, words: Sequence[str], source: Path) -> None:
        """Do a COPY from the project or from another stage."""
        *names, to = words
        target = self.root / os.path.join(self.folder, to).lstrip("/")
        for name in names:
            found = source / name.lstrip("/")
            place = target / Path(name).name if to.endswith("/") else target
            place.parent.mkdir(parents=True, exist_ok=True)
            if found.is_dir():
                shutil.copytree(found, place, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(found, place)


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """The instructions and what stands after each."""
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        name, _, rest = line.partition(" ")
        yield name, rest.strip()


def build(base: Path, folder: Path) -> Stage:
    """Take each step. Gives the last stage, which is the image."""
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for name, rest in instructions(DOCKERFILE.read_text()):
        print(f"{name} {rest[:100]}", flush=True)
        if name == "FROM":
            words = rest.split()
            stage = stages[words[2] if len(words) > 1 else ""] = Stage(folder / f"stage{len(stages)}", base)
            continue
        assert stage is not None, "FROM comes first"
        if name == "COPY" and rest.startswith("--from="):
            origin, *words = rest.removeprefix("--from=").split()
            stage.copy(words, stages[origin].root)
        else:
            _take(stage, name, rest)
    assert stage is not None
    return stage


def _take(stage: Stage, name: str, rest: str) -> None:
    if name == "RUN":
        stage.run(rest)
    elif name == "COPY":
        stage.copy(rest.split(), ROOT)
    elif name == "ENV":
        given = dict(each.split("=", 1) for each in shlex.split(rest))
        stage.environ |= {key: value.replace("$PATH", stage.environ["PATH"]) for key, value in given.items()}
    elif name == "WORKDIR":
        stage.folder = rest
        (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif name == "USER":
        stage.user = rest
    elif name == "VOLUME":
        stage.volumes = json.loads(rest)
    elif name == "HEALTHCHECK":
        stage.words[name] = json.loads(rest.partition("CMD ")[2])
    elif name in ("ENTRYPOINT", "CMD"):
        stage.words[name] = json.loads(rest)
    elif name != "EXPOSE":
        raise ValueError(f"{name} is not known here")


def restricted(stage: Stage) -> list[str]:
    """The words before a command which make it the image's user, without any right."""
    user, group = stage.user.split(":")
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs", "--inh-caps=-all",
            "--bounding-set=-all"]  # fmt: skip


@contextmanager
def running(stage: Stage, folder: Path, environ: dict[str, str]) -> Iterator[int]:
    """Run the image as process 1 of a namespace; its root is read-only, /tmp and the volumes are not. Gives its id
    outside, and at the end sees that it stops when it is told to."""
    mounts = [f"mount --rbind {stage.root} {stage.root}", f"mount -o remount,bind,ro {stage.root}"]
    mounts += [f"mount -t proc proc {stage.root}/proc", f"mount --rbind /dev {stage.root}/dev"]
    mounts += [f"mount -t tmpfs -o mode=1777 tmpfs {stage.root}/tmp"]
    for number, volume in enumerate(stage.volumes):
        outside = folder / f"volume{number}"  # with the owner and rights of the folder that it covers, as in Docker
        subprocess.run(["cp", "-a", f"{stage.root}{volume}", outside], check=True)
        mounts.append(f"mount --bind {outside} {stage.root}{volume}")
    words = [*restricted(stage), "env", f"--chdir={stage.folder}", *stage.words["ENTRYPOINT"], *stage.words["CMD"]]
    script = "\n".join(["set -e", *mounts, f"exec chroot {stage.root} {shlex.join(words)}"])
    outer = subprocess.Popen(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "/bin/sh", "-c", script],
        env=stage.environ | environ, preexec_fn=dies_with_the_tests(signal.SIGKILL),
    )  # fmt: skip
    try:
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
        until(lambda: bool(children.read_text().split()), "process 1 of the image")
        inner = int(children.read_text())
        yield inner
        os.kill(inner, signal.SIGTERM)
        assert outer.wait(60) == 0, "it should end well when it is told to stop"
    finally:
        outer.kill()
        outer.wait()


def inside(stage: Stage, pid: int, environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the container, as its user."""
    return subprocess.run(
        ["nsenter", "--target", str(pid), "--mount", "--pid", f"--root=/proc/{pid}/root", *restricted(stage), "env",
         f"--chdir={stage.folder}", *words],
        env=stage.environ | environ, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def prove(stage: Stage, folder: Path) -> None:
    """Run it, and use it. Raises AssertionError."""
    store = Alone(folder / "redis")
    app = f"127.0.0.1:{free_port()}"
    environ = {"PUSHSVC_SECRET": SECRET, "PUSHSVC_REDIS_URL": store.url, "PUSHSVC_APP": app, "PUSHSVC_WORKERS": "2"}
    try:
        with running(stage, folder, environ) as pid:
            check = stage.words["HEALTHCHECK"]
            until(lambda: inside(stage, pid, environ, *check).returncode == 0, "the health check", 60)
            status = Path(f"/proc/{pid}/status").read_text()
            assert re.search(r"^Uid:(\t10001){4}$", status, re.MULTILINE), status
            assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE), status
            assert "Read-only" in inside(stage, pid, environ, "touch", "/srv/pushsvc/x").stderr
            token = auth.encode({"sub": "alice", "publish": ["*"]}, SECRET, ttl=600)
            with httpx.Client(base_url=f"http://{app}", trust_env=False, timeout=30) as client:
                client.headers["Authorization"] = f"Bearer {token}"
                sent = client.post("/publish", json={"user": "alice", "data": 1}).raise_for_status().json()["id"]
                [event] = client.get("/history", params={"channel": "user:alice"}).raise_for_status().json()["events"]
            assert event["id"] == sent
    finally:
        store.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description="Build and run the image without Docker.")
    parser.add_argument("--base", type=Path, help="a root of Debian with Python; without, debootstrap makes one")
    base = parser.parse_args().base
    with TemporaryDirectory() as name:
        folder = Path(name)
        if base is None:
            base = folder / "base"
            packages = "--include=python3,python3-venv,ca-certificates"
            subprocess.run(["debootstrap", "--variant=minbase", packages, "trixie", base], check=True)
        stage = build(base, folder)
        size = {root: int(subprocess.check_output(["du", "-sk", root]).split()[0]) for root in (base, stage.root)}
        print(f"built: {(size[stage.root] - size[base]) / 1024:.0f} MB over its base of {size[base] / 1024:.0f} MB")
        prove(stage, folder)
    print("it ran as user 10001 without capabilities on a read-only root, was healthy, kept an event, and stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
