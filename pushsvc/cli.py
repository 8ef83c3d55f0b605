"""The command line: `up` and `serve` start the service; the other commands write its configuration or call it."""

from __future__ import annotations

import os
import sys
from itertools import chain
from pathlib import Path
from typing import Any, Final

import click
import httpx

from pushsvc import __version__, auth
from pushsvc.checks.remarks import MARK, tell
from pushsvc.commands.calling import own_secret, publish, read_settings, tail, ticket
from pushsvc.config import PREFIX, Settings, redis_url
from pushsvc.errors import PushError
from pushsvc.program.terminal import say
from pushsvc.settings.types import SELF_SIGNED
from pushsvc.tokens.provider_keys import ProviderKeys
from pushsvc.tokens.verifier import Verifier

_DEMO_TOKEN_SECONDS: Final = 30 * 86400
_LONGEST_TOKEN_SECONDS: Final = 10 * 365 * 86400


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name=None, version=__version__, prog_name="pushsvc")
def cli() -> None:
    """Real-time push: backends publish, the right browsers hear it. Settings are PUSHSVC_* in the environment."""


for _command in (publish, tail, ticket):
    cli.add_command(_command)


def main() -> None:
    """Run a command. An error is printed as one line on stderr, and the exit status is 1."""
    try:
        cli()
    except PushError as error:
        sys.exit(f"pushsvc: {error.detail}")
    except UnicodeEncodeError:  # Python turns bytes of the command line that are not UTF-8 into lone surrogates
        sys.exit("pushsvc: an argument is not valid UTF-8")
    except httpx.HTTPError as error:
        sys.exit(f"pushsvc: the service does not answer: {error}")


def _starting() -> Settings:
    """Read the settings of a command that starts the service."""
    tell(os.environ)
    os.environ[MARK] = "1"
    settings = read_settings().from_anywhere()
    if settings.jwks:
        ProviderKeys(settings.jwks)  # stops the start for a file that cannot be used
    return settings


@cli.command()
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


@cli.command()
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


@cli.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def nginx(folder: Path) -> None:
    """Write to DIR what a system nginx includes: http.conf, locations.conf, and a site.conf to begin with.

    They hold PUSHSVC_APP, ALLOWED_ORIGINS, PUBLIC_URL, TRUSTED_PROXIES, PROXY_PROTOCOL and RETRY_SECONDS: write them
    anew, and reload nginx, where one of these changes.
    """
    from pushsvc.stack.nginx import write_site

    for warning in write_site(read_settings(), folder):
        say(warning)


@cli.command(epilog="A CHANNEL is user:ID, topic:NAME or all; a trailing * matches the rest.")
@click.option("--user", help="Claim sub: may read its own events and those to all.")
@click.option("--publish", multiple=True, metavar="CHANNEL", help="May publish to it.")
@click.option("--subscribe", multiple=True, metavar="CHANNEL", help="May subscribe to it, and make tickets for it.")
@click.option("--admin", is_flag=True, help="May read and cancel the answers of all users (/v1/generations).")
@click.option(
    "--ttl",
    type=click.IntRange(1, _LONGEST_TOKEN_SECONDS),
    default=3600,
    show_default=True,
    help="Seconds until it expires.",
)
def token(user: str | None, publish: tuple[str, ...], subscribe: tuple[str, ...], admin: bool, ttl: int) -> None:
    """Print a token."""
    settings = read_settings()
    claims: dict[str, Any] = {"publish": list(publish), "subscribe": list(subscribe)} | settings.own_claims
    if user is not None:
        claims["sub"] = user
    if admin:
        claims["admin"] = True
    secret = own_secret(settings)
    encoded = auth.encode(claims, secret, ttl=ttl)
    identity = Verifier([secret]).verify(encoded)  # a token that the service would refuse is not printed
    vain = [pattern for pattern in (*publish, *subscribe) if not auth.matches_something(pattern)]
    for pattern in vain:
        say(f"no channel is like {pattern!r}: they are user:ID, topic:NAME and all; a trailing * matches the rest")
    if identity.user is None and not identity.admin and len(vain) == len((*publish, *subscribe)):
        say("this token may do nothing; see --user, --publish, --subscribe and --admin")
    click.echo(encoded)


@cli.command()
@click.argument("url", required=False, default="", envvar="PUSHSVC_URL")
def doctor(url: str) -> None:
    """Look at the deployment at URL, and say what is wrong and what mends it. The exit status is 1 if anything is.

    Without URL: at PUSHSVC_URL, else at PUSHSVC_PUBLIC_URL where that answers, else at PUSHSVC_HTTP. It calls with
    PUSHSVC_TOKEN, else with a token that it makes with the secret of this machine. Redis and the machine are looked at
    where PUSHSVC_REDIS_URL or PUSHSVC_DATA_DIR name the Redis of the service.
    """
    from pushsvc.doctor.site import find_site
    from pushsvc.doctor.visit import choose_site, from_inside, from_outside

    settings = read_settings()
    token = os.environ.get("PUSHSVC_TOKEN", "")
    site, noted = choose_site(url, settings, lambda at: find_site(at, token, settings, lambda: own_secret(settings)))
    wrong = False
    for each in chain(noted, from_outside(site), from_inside(settings)):
        mend = f"\n       mend: {each.mend}" if each.mend else ""
        click.echo(f"{each.mark:5}  {each.check}: {each.text}{mend}")
        wrong = wrong or each.is_wrong
    sys.exit(int(wrong))
