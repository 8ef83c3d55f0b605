"""A machine to deploy on, in a folder: it runs the commands of docs/deploy.md, with as much of systemd as they need."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pushsvc.config import Settings
from pushsvc.stack.nginx import nginx_command
from tests.support.clients.eventsource import until
from tests.support.processes import alive, dies_with_the_tests
from tests.support.programs import CURL, OPENSSL, need
from tests.support.stack import ROOT

NAME = "push.example.com"
_CODE = ("app.py", "pushsvc", "templates", "npm", "nginx", "systemd", "requirements.txt")
_DEBIANS_NGINX = """
user {user};
pid {root}/nginx.pid;
daemon off;
events {{ }}
http {{ include {root}/etc/nginx/sites-enabled/*; }}
"""


def blocks(page: Path) -> list[str]:
    """The text in the page's fences."""
    return re.findall(r"^```\w+\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def environment_file(text: str) -> dict[str, str]:
    """The variables as systemd reads them (systemd.exec(5), EnvironmentFile=): a comment is a line of its own."""
    found = {}
    for line in text.splitlines():
        name, given, value = line.strip().partition("=")
        if given and line.strip()[0] not in "#;":
            value = value.strip()
            quoted = re.fullmatch(r"\"(.*)\"|'(.*)'", value)
            found[name.strip()] = (quoted[1] or quoted[2] or "") if quoted else value
    return found


class Machine:
    """Its files are below `root`."""

    def __init__(self, root: Path, edits: dict[str, Callable[[str], str]], moved: dict[str, str]) -> None:
        """`edits`: what a person does to a file, by name; `moved`: addresses of the page, and what is meant here."""
        self.root = root
        self._edits = edits
        self._moved = moved
        self._folder = root
        self._variables: dict[str, str] = {}
        self._service: subprocess.Popen[bytes] | None = None
        self.said = ""  # by the commands, on stdout
        for folder in ("etc/nginx/sites-enabled", "etc/systemd/system", "srv", "var/log/nginx", "bin"):
            (root / folder).mkdir(parents=True)
        user = "root" if os.geteuid() == 0 else "nobody"
        (root / "etc/nginx/nginx.conf").write_text(_DEBIANS_NGINX.format(root=root, user=user))
        words = [nginx_command(Settings(data_dir=root / "unused"))[0], "-c", root / "etc/nginx/nginx.conf"]
        self._nginx_words = [*map(str, words), "-p", str(root), "-e", str(root / "var/log/nginx/error.log")]
        self._nginx = subprocess.Popen(self._nginx_words, preexec_fn=dies_with_the_tests(signal.SIGTERM))
        until(lambda: (root / "nginx.pid").exists(), "nginx")

    def stop(self) -> None:
        for process in (self._service, self._nginx):
            if process is not None:
                process.terminate()
                process.wait(60)

    def here(self, text: str) -> str:
        """The same with paths and addresses as they are here."""
        for address, other in self._moved.items():
            text = text.replace(address, other)
        return re.sub(r"(?<![\w./-])/(etc|srv|var)/", rf"{self.root}/\1/", text)

    @property
    def token(self) -> str:
        """The token that the page made."""
        return self._variables["TOKEN"]

    def run(self, block: str) -> None:
        """Run each command in turn; one that fails ends the test."""
        for line in block.replace("\\\n", " ").splitlines():
            for part in filter(None, re.split(r" && ", line.partition("    #")[0].strip())):
                self._do(self.here(re.sub(r"(^|\$\()sudo ", r"\1", part)))

    def _do(self, line: str) -> None:
        words = shlex.split(line)
        match words:
            case ["cd", folder]:
                self._folder = Path(folder)
            case ["useradd", *_] | ["systemctl", "daemon-reload"] | ["git", "fetch" | "checkout" | "diff", *_]:
                pass
            case ["git", "clone", *_, folder]:
                Path(folder).mkdir()
                for name in _CODE:
                    copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
                    copy(ROOT / name, Path(folder, name))
            case ["python3", "-m", "venv", folder]:
                self._make_environment(self._folder / folder)
            case ["install", "-d", "-o", _, folder]:
                (self._folder / folder).mkdir()
            case ["sudoedit", file]:
                path = Path(file)
                path.write_text(self._edits[path.name](path.read_text()))
            case ["systemctl", "enable", "--now", "pushsvc"]:
                self._start()
            case ["systemctl", "reload", "pushsvc"]:
                for command in self._unit("ExecReload"):
                    assert self._service is not None
                    self._shell(
                        command.replace("$MAINPID", str(self._service.pid)).replace("/bin/kill", "kill"),
                        self._environment(),
                    )
            case ["curl", *_]:
                need(CURL)
                self.said += self._shell(f"{line} --no-progress-meter --fail")
            case ["nginx", *options]:
                subprocess.run([*self._nginx_words, *options], check=True)
            case ["systemctl", "reload", "nginx"]:
                self._nginx.send_signal(signal.SIGHUP)
            case [word, *_] if re.match(r"\w+=\$\(", word):
                name = word.partition("=")[0]
                self._variables[name] = self._shell(f"{line}; echo ${name}").strip()
            case _:
                self.said += self._shell(line)

    def _shell(self, line: str, environ: dict[str, str] | None = None) -> str:
        environ = (environ or self._clean()) | self._variables
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line], cwd=self._folder, env=environ, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _clean(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if not name.startswith("PUSHSVC_")}

    def _make_environment(self, folder: Path) -> None:
        """Packages that are installed already are all that its pip finds: it sees whether that is what the file asks
        for."""
        (folder / "bin").mkdir(parents=True)
        for name, words in {"python": "", "pip": "-m pip --disable-pip-version-check"}.items():
            (folder / "bin" / name).write_text(f'#!/bin/sh\nPIP_NO_INDEX=1 exec {sys.executable} {words} "$@"\n')
            (folder / "bin" / name).chmod(0o755)

    def _unit(self, name: str) -> list[str]:
        text = self.here((self.root / "etc/systemd/system/pushsvc.service").read_text())
        return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)

    def _environment(self) -> dict[str, str]:
        [file] = self._unit("EnvironmentFile")
        return self._clean() | environment_file(Path(file).read_text())

    def _start(self) -> None:
        """Start a service of Type=notify, and wait until it says that it is ready."""
        [command], [folder] = self._unit("ExecStart"), self._unit("WorkingDirectory")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, (self.root / "journal").open("wb") as journal:
            notify.bind(str(self.root / "notify"))
            notify.settimeout(30)
            self._service = subprocess.Popen(
                command.split(), cwd=folder, stdout=journal, stderr=journal,
                env=self._environment() | {"NOTIFY_SOCKET": str(self.root / "notify")},
                preexec_fn=dies_with_the_tests(signal.SIGTERM),
            )  # fmt: skip
            while b"READY=1" not in notify.recv(4096):
                assert alive(self._service.pid), self.journal

    @property
    def journal(self) -> str:
        return (self.root / "journal").read_text()


def certificate(folder: Path) -> tuple[Path, Path]:
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [need(OPENSSL), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={NAME}",
         "-addext", f"subjectAltName=DNS:{NAME}", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, cert
