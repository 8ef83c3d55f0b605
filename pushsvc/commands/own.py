"""`pushsvc token` and `pushsvc doctor`: they know the secret of this machine."""

from __future__ import annotations

import os
import sys
from itertools import chain
from typing import Any, Final

import click

from pushsvc import auth
from pushsvc.commands.reaching import own_secret, read_settings
from pushsvc.program.terminal import say
from pushsvc.tokens.verifier import Verifier

_LONGEST_TOKEN_SECONDS: Final = 10 * 365 * 86400


@click.command(epilog="A CHANNEL is user:ID, topic:NAME or all; a trailing * matches the rest.")
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


@click.command()
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
