"""The service as its users reach it, and the caller that the checks are."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import httpx
import jwt

from pushsvc import auth
from pushsvc.addresses import hosts
from pushsvc.config import Settings
from pushsvc.doctor.findings import Wrong
from pushsvc.errors import ConfigError
from pushsvc.stack.certificate import find_certificate

PATIENCE_SECONDS: Final = 5.0  # for what should come at once
EVENT: Final = "doctor"  # the name of the events that the checks publish
_EVENT_SECONDS: Final = 60  # for which they are kept
_TOKEN_SECONDS: Final = 3600


@dataclass(frozen=True)
class Site:
    """The place where the service is reached. `url`: without a slash at its end; `user`: the token's; `trust`: whose
    certificates are good; `settings`: those that the service has, as far as they are known here; `path`: that of a unix
    socket where it listens at one."""

    url: str
    token: str
    user: str
    settings: Settings
    trust: ssl.SSLContext
    path: str | None = None

    @property
    def is_https(self) -> bool:
        """Whether it is reached over TLS."""
        return self.url.startswith("https:")

    def client(self, read_seconds: float = PATIENCE_SECONDS) -> httpx.Client:
        """Make a client with the token. `read_seconds`: the longest silence that it bears."""
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.token}"},
            transport=httpx.HTTPTransport(verify=self.trust, uds=self.path),
            timeout=httpx.Timeout(PATIENCE_SECONDS, read=read_seconds),
            trust_env=False,
        )

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send one request. Raises Wrong where nothing answers."""
        try:
            with self.client() as client:
                return client.request(method, path, **request)
        except httpx.HTTPError as error:
            raise Wrong(
                f"{self.url} does not answer ({error or type(error).__name__})", "start it, or give its URL"
            ) from error

    def publish(self, key: str = "") -> str:
        """Publish an event to the token's user, once under a `key`, and give its id. Raises Wrong if that is
        refused."""
        body = {"user": self.user, "event": EVENT, "data": "", "ttl": _EVENT_SECONDS} | ({"key": key} if key else {})
        answer = self.ask("POST", "/publish", json=body)
        if answer.status_code != 200:
            raise Wrong(f"no event can be published: {explained(answer)}", self.token_needed)
        event_id: str = answer.json()["id"]
        return event_id

    @property
    def token_needed(self) -> str:
        """The way to make a token with which the checks can work."""
        name = self.user or "doctor"
        return (
            f"PUSHSVC_TOKEN=$(python -m pushsvc token --user {name} --publish user:{name}), with the service's secret"
        )


def find_direct(site: Site) -> Site | None:
    """The workers of the same service, called from this machine without what lies between. None: there are none here,
    or they are asked already. Raises Wrong."""
    url, path = hosts.url_to_call(site.settings.app)
    if url == site.url:
        return None
    direct = replace(site, url=url, path=path)
    key = secrets.token_hex(8)
    try:
        event_id = direct.publish(key)
    except Wrong:
        return None
    return direct if site.publish(key) == event_id else None  # a key is known where the event is kept


def find_site(url: str, token: str, settings: Settings, secret: Callable[[], str]) -> Site:
    """The service at `url`, else at PUSHSVC_HTTP. `token`: empty: one is made with the `secret` of this machine. Raises
    ConfigError."""
    if not url and settings.proxy_protocol:
        raise ConfigError(f"give the service's URL: at {settings.http} only proxies may speak, PUSHSVC_PROXY_PROTOCOL")
    address = (url or settings.http_url).rstrip("/")
    if not address.startswith(("http://", "https://")):
        raise ConfigError(f"{address!r} should be a URL such as https://push.example.com")
    own = find_certificate(settings) if address == settings.http_url else None
    trust = ssl.create_default_context() if own is None else own.trust()
    if token:
        return Site(address, token, _user(token), settings, trust)
    user = f"doctor-{secrets.token_hex(4)}"
    claims = {"sub": user, "publish": [f"user:{user}"]} | settings.own_claims
    return Site(address, auth.encode(claims, secret(), ttl=_TOKEN_SECONDS), user, settings, trust)


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a token, which are not verified; empty: it is no token."""
    try:
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return {}
    return claims


def _user(token: str) -> str:
    user = claims_of(token).get("sub")
    if not isinstance(user, str):
        raise ConfigError("PUSHSVC_TOKEN should be a token of a user (claim sub)")
    return user


def explained(answer: httpx.Response) -> str:
    """Say what was answered where it is not what was hoped for."""
    if answer.headers.get("Content-Type", "").startswith("application/problem+json"):
        return f"{answer.status_code}, {answer.json()['detail']}"
    return f"{answer.status_code}, and not from pushsvc"
