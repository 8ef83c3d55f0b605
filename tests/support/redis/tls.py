"""Redis servers that speak nothing but TLS, with certificates of a private CA, and want one of each client."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import redis

from pushsvc.storage.redis.keys import SLOTS
from tests.support import programs
from tests.support.clients.eventsource import until
from tests.support.ports import free_port
from tests.support.processes import dies_with_the_tests
from tests.support.redis.servers import SERVICE

SCHEMES = ("rediss://", "rediss+sentinel://", "rediss+cluster://")

_SENTINEL = """
port 0
tls-port {port}
dir {folder}
sentinel monitor {service} 127.0.0.1 {master} 1
"""


class Certificates:
    """A CA, what it signed for a server on this machine and for a client, and a CA that signed nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ca, _ = self._make("ca")
        self.foreign, _ = self._make("foreign")
        self.server, self.server_key = self._make("server", "-addext", "subjectAltName=IP:127.0.0.1")
        self.client, self.client_key = self._make("client")
        self.locked_key = folder / "locked.key"
        self._openssl("ec", "-in", str(self.client_key), "-aes256", "-passout", "pass:pw", "-out", str(self.locked_key))

    def _make(self, name: str, *options: str) -> tuple[Path, Path]:
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        signed = () if name in ("ca", "foreign") else ("-CA", str(self.ca), "-CAkey", str(self.ca.with_suffix(".key")))
        self._openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
            "-addext", "keyUsage=critical,digitalSignature,keyCertSign,cRLSign",  # Python 3.13 wants it
            "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(certificate), *signed, *options,
        )  # fmt: skip
        return certificate, key

    def _openssl(self, *words: str) -> None:
        subprocess.run([programs.need(programs.OPENSSL), *words], check=True, capture_output=True)

    @property
    def query(self) -> str:
        """The options that a URL needs."""
        return f"ssl_ca_certs={self.ca}&ssl_certfile={self.client}&ssl_keyfile={self.client_key}"


class TlsServers:
    """One server, a sentinel that watches it, and a cluster of one node. Debian's: the wheel's has no TLS."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.certificates = Certificates(folder)
        self._processes: list[subprocess.Popen[bytes]] = []
        self.single, self.sentinel, self.node = (free_port() for _ in range(3))
        self._run(self.single)
        configuration = folder / "sentinel.conf"
        configuration.write_text(
            _SENTINEL.format(port=self.sentinel, folder=folder, service=SERVICE, master=self.single)
        )
        self._run(self.sentinel, str(configuration), "--sentinel", "--tls-replication", "yes")
        self._run(self.node, "--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--tls-cluster", "yes")
        self.ask(self.node, "CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        until(lambda: b"cluster_state:ok" in self.ask(self.node, "CLUSTER", "INFO"), "the cluster")

    def _run(self, port: int, *words: str) -> None:
        given = self.certificates
        binary = programs.need(programs.REDIS)
        own = self._folder / str(port)
        own.mkdir()
        options = () if "--sentinel" in words else ("--port", "0", "--tls-port", str(port), "--save", "")
        process = subprocess.Popen(
            [
                binary, *words, *options, "--dir", str(own), "--logfile", "server.log",
                "--tls-cert-file", str(given.server), "--tls-key-file", str(given.server_key),
                "--tls-ca-cert-file", str(given.ca),
            ],
            preexec_fn=dies_with_the_tests(signal.SIGKILL),
        )  # fmt: skip
        self._processes.append(process)
        until(lambda: self._answers(port), f"the server at {port}")

    def _answers(self, port: int) -> bool:
        try:
            return bool(self.ask(port, "PING"))
        except redis.ConnectionError:
            return False

    def ask(self, port: int, *command: str | int) -> bytes:
        given = self.certificates
        with redis.Redis(
            port=port, protocol=2, ssl=True, ssl_ca_certs=str(given.ca), ssl_certfile=str(given.client),
            ssl_keyfile=str(given.client_key), ssl_check_hostname=False,
        ) as client:  # fmt: skip
            answer: bytes = client.execute_command(*command)
            return answer

    def url(self, scheme: str, host: str = "127.0.0.1") -> str:
        """The URL without options."""
        ends = {
            "rediss://": f"{self.single}/1",
            "rediss+sentinel://": f"{self.sentinel}/{SERVICE}",
            "rediss+cluster://": str(self.node),
        }
        return f"{scheme}{host}:{ends[scheme]}"

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
