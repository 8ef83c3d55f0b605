"""`pushsvc up`, `pushsvc serve` and `pushsvc nginx`: they start the service, or write its configuration."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import click

from pushsvc import auth
from pushsvc.checks.remarks import MARK, tell
from pushsvc.commands.reaching import read_settings
from pushsvc.config import PREFIX, Settings, redis_url
from pushsvc.program.terminal import say
from pushsvc.settings.types import SELF_SIGNED
from pushsvc.tokens.provider_keys import ProviderKeys

_DEMO_TOKEN_SECONDS: Final = 30 * 86400


def _starting() -> Settings:
    """Read the settings of a command that starts the service."""
    tell(os.environ)
    os.environ[MARK] = "1"
    settings = read_settings().from_anywhere()
    if settings.jwks:
        ProviderKeys(settings.jwks)  # stops the start for a file that cannot be used
    return settings


@click.command()
def up() -> None:
    """Start the whole stack: Redis (embedded unless PUSHSVC_REDIS_URL is set), gunicorn, nginx."""
    from pushsvc.stack.supervisor import Supervisor

    settings = _starting()
    auth.load_secrets(settings.secret, settings.data_dir)
    Supervisor(settings, os.environ).run(_announce)


def _announce(settings: Settings) -> None:
    [secret, *_] = auth.load_secrets(settings.secret, settings.data_dir)
    token = auth.encode(auth.DEMO_CLAIMS | settings.own_claims, secret, ttl=_DEMO_TOKEN_SECONDS)
    url = settings.http_url
    made = settings.data_dir / "tls" / "certificate.pem"
    options = f" --cacert {made}" if settings.tls == SELF_SIGNED else ""
    options += " --haproxy-protocol" if settings.proxy_protocol else ""
    opened = settings.public_url if settings.proxy_protocol and settings.public_url else url
    click.echo(f"""
pushsvc is up

  open     {opened}/{f"?demo={settings.demo_key}" if settings.demo_key else ""}
  token    {token}
  publish  curl{options} -X POST {url}/publish -H 'Authorization: Bearer {token}' \\
             -H 'Content-Type: application/json' -d '{{"user": "alice", "data": "hello"}}'

Ctrl-C ends it.""")
    sys.stdout.flush()


@click.command()
def serve() -> None:
    """Start gunicorn alone, for those who run Redis and nginx themselves."""
    from pushsvc.checks.start import check_redis
    from pushsvc.stack import gunicorn

    settings = _starting()
    for warning in check_redis(redis_url(settings), settings):
        say(warning)
    os.environ |= {
        f"{PREFIX}DATA_DIR": str(settings.data_dir),
        f"{PREFIX}REDIS_URL": settings.redis_url,
        f"{PREFIX}REDIS_PASSWORD_FILE": str(settings.redis_password_file or ""),
        f"{PREFIX}LLM_API_KEY_FILE": str(settings.llm_api_key_file or ""),
        f"{PREFIX}JWKS": settings.jwks,
    }
    os.chdir(gunicorn.FOLDER)
    os.execv(sys.executable, gunicorn.COMMAND)


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def nginx(folder: Path) -> None:
    """Write to DIR what a system nginx includes: http.conf, locations.conf, and a site.conf to begin with.

    They hold PUSHSVC_APP, ALLOWED_ORIGINS, PUBLIC_URL, TRUSTED_PROXIES, PROXY_PROTOCOL and RETRY_SECONDS: write them
    anew, and reload nginx, where one of these changes.
    """
    from pushsvc.stack.nginx import write_site

    for warning in write_site(read_settings(), folder):
        say(warning)
