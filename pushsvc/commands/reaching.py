"""The service that a command calls, and as whom: PUSHSVC_URL and PUSHSVC_TOKEN, else the one that this machine's
settings name, with a token that is signed with its secret."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pushsvc.client import ClientError
from pushsvc.program.terminal import say

if TYPE_CHECKING:
    from pushsvc.config import Settings

TOKEN_SECONDS: Final = 86400


class Reached(NamedTuple):
    """A service. `tls`: what to trust, where that is a certificate of its own."""

    url: str
    token: str
    tls: ssl.SSLContext | None = None


def given_token() -> str:
    """PUSHSVC_TOKEN. Empty: it is not set."""
    return os.environ.get("PUSHSVC_TOKEN", "").strip()


def reach(claims: Mapping[str, Any]) -> Reached:
    """Find the service. `claims`: of a token that is made here. Raises ClientError, or ConfigError."""
    url, token = os.environ.get("PUSHSVC_URL", "").strip(), given_token()
    if url and token:
        return Reached(url, token)
    settings = read_settings()
    if not token:
        from pushsvc import auth

        token = auth.encode({**claims, **settings.own_claims}, own_secret(settings), ttl=TOKEN_SECONDS)
    if url:
        return Reached(url, token)
    if settings.proxy_protocol:
        return Reached(_worker(settings), token)
    from pushsvc.stack.certificate import find_certificate

    certificate = find_certificate(settings)
    return Reached(settings.http_url, token, None if certificate is None else certificate.trust())


def _worker(settings: Settings) -> str:
    """The URL of the workers, for where only proxies may speak to nginx. Raises ClientError."""
    from pushsvc.addresses import hosts

    url, path = hosts.url_to_call(settings.app)
    if path:
        raise ClientError(f"set PUSHSVC_URL: at {settings.http} only proxies may speak (PUSHSVC_PROXY_PROTOCOL)")
    return url


def read_settings() -> Settings:
    """The settings of the environment. Raises ConfigError; ClientError where only the client is installed."""
    try:
        from pushsvc.config import Settings
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("pushsvc"):
            raise
        raise ClientError(
            "set PUSHSVC_URL and PUSHSVC_TOKEN; without them this needs pip install 'pushsvc[server]'"
        ) from error
    return Settings.from_env(os.environ)


def own_secret(settings: Settings) -> str:
    """Read the secret that signs; say so if a new one had to be made. That happens when a command runs in another
    folder than the service: the service does not know that secret, and refuses tokens signed with it."""
    from pushsvc import auth

    path = settings.data_dir.resolve() / "secret"
    made = not settings.secret and not path.exists()
    secrets = auth.load_secrets(settings.secret, settings.data_dir)
    if made:
        say(f"a new secret was made, in {path}: only a service with PUSHSVC_DATA_DIR={path.parent} knows it")
    return secrets[0]
