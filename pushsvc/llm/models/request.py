"""A request to a model's server, and where the server redirects it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

MOST_REDIRECTS: Final = 20  # as httpx has it, which OpenAI's client uses
_PORTS: Final = {"http": 80, "https": 443}
_KEEPING: Final = frozenset({307, 308})  # statuses that keep the method and the body
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Origin(NamedTuple):
    """A server. `scheme`: http or https; `host`: an IPv6 address stands without brackets."""

    scheme: str
    host: str
    port: int

    @property
    def address(self) -> str:
        """The host and the port, as a URL has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.scheme == "https"

    def trusts(self, other: Origin) -> bool:
        """Whether the other origin may see the key that is meant for this one: it is the same, or only makes it
        encrypted, as OpenAI's client has it."""
        upgraded = (self.scheme, self.port, other.scheme, other.port) == ("http", 80, "https", 443)
        return self == other or (upgraded and self.host == other.host)


def origin_of(url: SplitResult) -> Origin:
    """The origin of a URL. Raises ValueError for one that is not of HTTP."""
    if url.scheme not in _PORTS or not url.hostname:
        raise ValueError("it is no address of HTTP")
    return Origin(url.scheme, url.hostname, url.port or _PORTS[url.scheme])


class Request(NamedTuple):
    """A request as it is sent. `target`: the path, and the query; `headers`: those of this request alone; `redirects`:
    how many led here."""

    method: str
    origin: Origin
    target: str
    body: bytes | None = None
    headers: Mapping[str, str] = _NO_HEADERS
    redirects: int = 0


def redirected(request: Request, status: int, headers: Mapping[str, str]) -> Request | None:
    """The same request to where the server wants it. None: it does not, or not in a way that is followed."""
    place = headers.get("location", "")
    if status not in _KEEPING or not place or request.redirects >= MOST_REDIRECTS:
        return None
    try:
        url = urlsplit(urljoin(f"{request.origin.scheme}://{request.origin.address}{request.target}", place))
        origin = origin_of(url)
    except ValueError:
        return None
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    if not (target.isascii() and target.isprintable() and " " not in target) or url.username is not None:
        return None
    return request._replace(origin=origin, target=target, redirects=request.redirects + 1)
