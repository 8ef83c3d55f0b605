"""The types of settings, and how each is read."""

from __future__ import annotations

import ipaddress
import re
import select
import sys
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from pushsvc.addresses import hosts
from pushsvc.concurrency.memory import usable_memory
from pushsvc.settings.budget import Budget, parse_budgets
from pushsvc.settings.rate import Rate, parse_rates

SELF_SIGNED: Final = "self-signed"
LEAST_MEMORY: Final = 16 * 2**20  # for data, in bytes
OTHER_MEMORY: Final = 2 * 2**30  # of a machine that does not say how much it has


def listed(value: str) -> list[str]:
    """Split a comma separated setting into words."""
    return [each.strip() for each in value.split(",") if each.strip()]


def has_epoll() -> bool:
    """Whether the system has epoll. When gevent patches the standard library, it removes `select.epoll` and saves it in
    `gevent.monkey.saved`."""
    monkey = sys.modules.get("gevent.monkey")
    return hasattr(select, "epoll") or (monkey is not None and "epoll" in monkey.saved.get("select", {}))


def one_line_only(value: str | Path) -> str | Path:
    """Refuse white space at the ends of a value, and control characters in it. A file with Windows line ends, `echo |
    base64` or a secret store often adds a line end that nobody sees; such a key would not match other services'."""
    text = str(value)
    if text != text.strip() or re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError("should have no blank at its ends, and no line end, tab or other control character")
    return value


def _name(value: str) -> str:
    """Check the prefix of all names in Redis. A brace in it would be taken for a hash tag, and so move keys to other
    slots of a cluster."""
    if not re.fullmatch(r"[A-Za-z0-9._\-]{1,64}", value):
        raise ValueError("should be 1 to 64 letters (A to Z), digits and . _ -")
    return value


def _bytes(value: object) -> object:
    """Read a size as Redis writes it: bytes, or with kb, mb or gb (of 1024) after the number."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"([0-9]{1,18}) ?(|kb|mb|gb)", value.strip().lower())
    size = int(match[1]) << {"": 0, "kb": 10, "mb": 20, "gb": 30}[match[2]] if match else 0
    if not LEAST_MEMORY <= size <= 2**50:
        raise ValueError("should be a size such as 512mb or 4gb, at least 16mb")
    return size


def _networks(value: object) -> object:
    """Read addresses and networks; a single address is a network of one."""
    if not isinstance(value, str):
        return value
    try:
        return tuple(dict.fromkeys(str(ipaddress.ip_network(each)) for each in listed(value)))
    except ValueError as error:
        raise ValueError(f"should be addresses or networks such as 10.0.0.0/8, comma separated: {error}") from error


def default_memory() -> int:
    """Half of the memory that this process may use, in bytes."""
    return max(LEAST_MEMORY, (usable_memory() or OTHER_MEMORY) // 2)


HostPort = Annotated[str, AfterValidator(hosts.host_port)]
Address = Annotated[str, AfterValidator(hosts.address)]
Line = Annotated[str, AfterValidator(one_line_only)]
Name = Annotated[str, AfterValidator(_name)]
FilePath = Annotated[Path, AfterValidator(one_line_only)]
BudgetWords = Annotated[tuple[Budget, ...], BeforeValidator(parse_budgets)]
RateWords = Annotated[tuple[Rate, ...], BeforeValidator(parse_rates)]
Networks = Annotated[tuple[str, ...], BeforeValidator(_networks)]
MemorySize = Annotated[int, BeforeValidator(_bytes)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]


def _tls(value: str) -> str:
    """Check how nginx is to serve HTTPS: not at all, with a certificate made here, or with two files."""
    one_line_only(value)
    files = [each.strip() for each in value.split(",")]
    if value in ("", SELF_SIGNED):
        return value
    if len(files) != 2 or not all(files):
        raise ValueError(f"should be {SELF_SIGNED}, or two files with a comma between: certificate.pem,key.pem")
    return ",".join(files)


Tls = Annotated[str, AfterValidator(_tls)]


def _hook_url(value: str) -> str:
    """Check the address to which hooks are posted."""
    one_line_only(value)
    try:
        parts = urlsplit(value)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and hosts.port(parts) is not None
    except ValueError:  # half a bracket
        known = False
    if value and (not known or "@" in parts.netloc or parts.fragment):
        raise ValueError("should be an address such as https://app.example.com/hooks, without a user")
    return value


HookUrl = Annotated[str, AfterValidator(_hook_url)]


def _base_url(value: str) -> str:
    """Check the address of a model's server."""
    value = value.strip()
    if not re.fullmatch(r"[^\s\x00-\x20\x7f]*", value):
        raise ValueError("should be an address without blanks")
    if not re.fullmatch(r"[^/?#]*//[^/?#]*[!-~]*", value) and re.search(r"[^!-~]", value):
        raise ValueError("should be an address whose path has ASCII characters alone; others are percent-encoded")
    if re.search(r'["<>\\^`{|}]', value):
        raise ValueError('should be an address without characters such as " < > \\ ^ ` { | }, percent-encoded')
    try:
        parts = urlsplit(value)
    except ValueError:  # half a bracket
        parts = SplitResult("", "", "", "", "")
    if parts.username is not None or parts.password is not None:
        raise ValueError("should be without a user and a password; the key goes into PUSHSVC_LLM_API_KEY")
    known = parts.scheme in ("http", "https") and parts.hostname and not parts.fragment
    if value and not (known and hosts.port(parts) is not None):
        raise ValueError("should be an address such as https://api.openai.com/v1")
    if parts.path.rstrip("/").endswith("/chat/completions"):
        raise ValueError("should be without /chat/completions, which is added to it")
    return value


BaseUrl = Annotated[str, AfterValidator(_base_url)]


def _api_key(value: str) -> str:
    if not re.fullmatch(r"[!-~]*", value):  # a line break would end the header it is sent in
        raise ValueError("should be visible ASCII characters")
    return value


ApiKey = Annotated[str, AfterValidator(_api_key)]

_OWN_PATHS: Final = re.compile(r"(chat/completions|models|generations|responses|ui|usage)(/.*)?")


def _passed_paths(value: object) -> object:
    """Read paths under /v1."""
    if not isinstance(value, str):
        return value
    if value.strip() == "off":
        return ()
    found = dict.fromkeys(each.removeprefix("/v1/").strip("/") for each in listed(value))
    for path in found:
        if not re.fullmatch(r"[A-Za-z0-9_.\-]+(/[A-Za-z0-9_.\-]+)*", path) or {".", ".."} & set(path.split("/")):
            raise ValueError("should be off, or paths under /v1 such as embeddings,audio/transcriptions")
        if _OWN_PATHS.fullmatch(path):
            raise ValueError(f"should be without {path}, which the service has itself")
    return tuple(found)


PassedPaths = Annotated[tuple[str, ...], BeforeValidator(_passed_paths)]

_FRAMING: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "expect"})


def _headers(value: object) -> object:
    """Read headers as they are written in a request: a line each."""
    if not isinstance(value, str):
        return value
    found: dict[str, tuple[str, str]] = {}
    for line in filter(None, map(str.strip, re.split(r"[\r\n]+", value))):
        match = re.fullmatch(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([ -~\t]*)", line)
        if match is None or match[1].lower() in found:
            raise ValueError(
                "should be lines such as `X-Team: web`, each with another name, in visible ASCII characters"
            )
        if match[1].lower() in _FRAMING:
            raise ValueError(f"should be without {match[1]}, which is the service's own affair")
        found[match[1].lower()] = (match[1], match[2])
    return tuple(found.values())


RequestHeaders = Annotated[tuple[tuple[str, str], ...], BeforeValidator(_headers)]
