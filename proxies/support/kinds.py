"""The proxies that are tried, each as it comes and with the lines that docs/proxies.md recommends."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from pushsvc.config import Settings
from pushsvc.stack.nginx import nginx_command
from tests.support import programs
from tests.support.stack import ROOT

FOLDER: Final = ROOT / "proxies"
CONFIGURATIONS: Final = FOLDER / "configurations"  # recommended, with what they send; `plain/` as proxies come
MODULES: Final = FOLDER / "node_modules"
ENVIRONMENT: Final = FOLDER / ".venv"
PORT, SERVICES = 8080, (8001, 8002)  # as the configurations have them

Words = Callable[[Path, Path, int], list[str]]


@dataclass(frozen=True)
class Kind:
    """A proxy. `file`: the recommended lines; `plain`: the fewest that work at all; `around`: what a whole
    configuration has besides. `words` makes its command of the folder it runs in, the file, and the port to listen at.
    """

    name: str
    file: str
    plain: str
    words: Words
    around: str = "{lines}"
    balances: bool = True  # between two services
    says_retry: bool = True  # while no service answers
    answers_lines: bool = True  # of a published stream, while its body is open, over HTTP/1.1
    others: Mapping[str, str] = field(default_factory=dict)  # more ways that people write it: what -> file

    def configuration(self, file: str, folder: Path) -> str:
        """The whole configuration, as the program reads it."""
        lines = (CONFIGURATIONS / file).read_text()
        user = "www-data" if os.geteuid() == 0 else ""
        places = {"lines": lines, "folder": str(folder), "user": user, "port": str(PORT)}
        text = self.around
        for name, value in places.items():
            text = text.replace(f"{{{name}}}", value)
        return text


def _on_path(program: str, *options: str) -> Words:
    def words(folder: Path, file: Path, port: int) -> list[str]:
        path = os.environ["PATH"] + os.pathsep + "/usr/sbin"
        found = shutil.which(program, path=path) or shutil.which(program, path=str(ENVIRONMENT / "bin"))
        if found is None:
            pytest.skip(f"there is no {program}")
        return [found, *(each.format(folder=folder, file=file, port=port) for each in options)]

    return words


def _nginx(folder: Path, file: Path, port: int) -> list[str]:
    binary = nginx_command(Settings(data_dir=folder / "unused"))[0]
    return [binary, "-c", str(file), "-p", str(folder), "-e", str(folder / "error.log")]


def _node(*options: str) -> Words:
    def words(folder: Path, file: Path, port: int) -> list[str]:
        if not MODULES.exists():
            pytest.skip("its npm packages are not there")
        if not (folder / "node_modules").exists():
            (folder / "node_modules").symlink_to(MODULES)
        return [programs.need(programs.NODE), *(each.format(file=file) for each in options)]

    return words


_NGINX = """
{USER}
daemon off;
pid {folder}/nginx.pid;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
{lines}
}
""".replace("{USER}", "user root;" if os.geteuid() == 0 else "")
_NGINX_STREAM = """
{USER}
daemon off;
pid {folder}/nginx.pid;
events { worker_connections 4096; }
stream {
{lines}
}
""".replace("{USER}", "user root;" if os.geteuid() == 0 else "")
_APACHE_MODULES = (
    "ssl", "mpm_event", "authz_core", "mime", "headers", "setenvif", "asis", "proxy", "proxy_http",
    "proxy_balancer", "slotmem_shm", "lbmethod_byrequests",
)  # fmt: skip
_APACHE = (
    "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in _APACHE_MODULES)
    + ("User {user}\nGroup {user}\n" if os.geteuid() == 0 else "")
    + """
TypesConfig /dev/null
ServerName push.example.com
Listen 127.0.0.1:{port}
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
DefaultRuntimeDir {folder}
DocumentRoot {folder}
{lines}
"""
)
_LIGHTTPD = """
server.modules = ("mod_proxy")
server.document-root = "{folder}"
server.errorlog = "{folder}/error.log"
server.upload-dirs = ("{folder}")
server.bind = "127.0.0.1"
server.port = {port}
{lines}
"""
_SQUID = """
pid_filename {folder}/squid.pid
cache_log {folder}/cache.log
access_log none
coredump_dir {folder}
pinger_enable off
shutdown_lifetime 0 seconds
{lines}
"""

KINDS: Final = (
    Kind(
        "HAProxy", "haproxy.cfg", "plain/haproxy.cfg", _on_path("haproxy", "-db", "-f", "{file}"),
    ),
    Kind(
        "nginx", "nginx.conf", "plain/nginx.conf", _nginx, _NGINX, others={"gzip": "plain/nginx.gzip.conf"},
    ),
    Kind(
        "Apache", "apache.conf", "plain/apache.conf",
        _on_path("apache2", "-DFOREGROUND", "-d", "{folder}", "-f", "{file}"), _APACHE, answers_lines=False,
    ),
    Kind(
        "Caddy", "Caddyfile", "plain/Caddyfile",
        _on_path("caddy", "run", "--adapter", "caddyfile", "--config", "{file}"),
    ),
    Kind(
        "Traefik", "traefik.dynamic.yml", "plain/traefik.dynamic.yml",
        _on_path("traefik", "--entrypoints.push.address=127.0.0.1:{port}", "--providers.file.filename={file}"),
        says_retry=False, answers_lines=False,
    ),
    Kind(
        "Envoy", "envoy.yaml", "plain/envoy.yaml",
        _on_path("envoy", "-c", "{file}", "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warn"),
    ),
    Kind(
        "Varnish", "varnish.vcl", "plain/varnish.vcl",
        _on_path("varnishd", "-F", "-j", "none", "-a", "127.0.0.1:{port}", "-f", "{file}", "-n", "{folder}/work",
                 "-s", "malloc,16m"),
    ),
    Kind(
        "lighttpd", "lighttpd.conf", "plain/lighttpd.conf", _on_path("lighttpd", "-D", "-f", "{file}"), _LIGHTTPD,
        says_retry=False,
    ),
    Kind(
        "Squid", "squid.conf", "plain/squid.conf", _on_path("squid", "-N", "-f", "{file}"), _SQUID, says_retry=False,
    ),
    Kind(
        "http-proxy (Node)", "node/http-proxy.mjs", "plain/http-proxy.mjs", _node("{file}"), balances=False,
    ),
    Kind(
        "Express, compression", "node/express.mjs", "plain/express.mjs", _node("{file}"), balances=False,
    ),
    Kind(
        "Vite", "node/vite.config.mjs", "plain/vite.config.mjs",
        _node("node_modules/vite/bin/vite.js", "--config", "{file}"), balances=False, says_retry=False,
    ),
)  # fmt: skip

# They pass bytes on, and know nothing of HTTP: before services with PUSHSVC_PROXY_PROTOCOL.
BALANCERS: Final = (
    Kind("HAProxy", "haproxy.tcp.cfg", "haproxy.tcp.cfg", _on_path("haproxy", "-db", "-f", "{file}")),
    Kind("nginx", "nginx.stream.conf", "nginx.stream.conf", _nginx, _NGINX_STREAM),
)
