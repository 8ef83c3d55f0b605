"""The command line. A command's module is loaded when it is called; what calls the service needs the client alone."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

import click
from click.shell_completion import get_completion_class

from pushsvc import __version__
from pushsvc.client import ClientError
from pushsvc.errors import PushError


class _Lazy(NamedTuple):
    module: str
    help: str


_COMMANDS: Final = {
    "completion": _Lazy("", "Print what makes a shell complete commands and options."),
    "doctor": _Lazy("own", "Look at a deployment, and say what is wrong and what mends it."),
    "nginx": _Lazy("serving", "Write what a system nginx includes."),
    "publish": _Lazy("publishing", "Publish an event, or the events of stdin."),
    "relay": _Lazy("relaying", "Publish what an outbox holds, once each."),
    "serve": _Lazy("serving", "Start gunicorn alone."),
    "tail": _Lazy("tailing", "Print events as they come."),
    "ticket": _Lazy("publishing", "Print a ticket's URL, for an EventSource."),
    "token": _Lazy("own", "Print a token."),
    "up": _Lazy("serving", "Start the whole stack: Redis, gunicorn, nginx."),
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS or not _COMMANDS[name].module:
            return super().get_command(ctx, name)
        found: click.Command = getattr(load(name), name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in sorted(_COMMANDS.items())])


def load(name: str) -> object:
    """Load the module of a command. Raises ModuleNotFoundError where what it needs is not installed."""
    lazy = _COMMANDS.get(name)
    return importlib.import_module(f"pushsvc.commands.{lazy.module}") if lazy is not None and lazy.module else None


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  pushsvc up
  pushsvc publish --user alice "hello"
  pushsvc tail alice
Exit status: 0, 1 for what went wrong (one line on stderr), 2 for wrong usage.
""",
)
@click.version_option(package_name=None, version=__version__, prog_name="pushsvc")
def cli() -> None:
    """Real-time push: backends publish, the right browsers hear it. Settings are PUSHSVC_* in the environment.

    publish, tail and ticket call the service at PUSHSVC_URL with PUSHSVC_TOKEN; without these the one at PUSHSVC_HTTP,
    with a token that is signed with the secret of this machine.
    """


@cli.command(
    epilog="""\b
Example, in ~/.bashrc:
  eval "$(pushsvc completion bash)"
"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes the shell complete commands and options."""
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(cli, {}, "pushsvc", "_PUSHSVC_COMPLETE").source())


def main(words: Sequence[str] | None = None) -> None:
    """Run a command. An error is printed as one line on stderr, and the exit status is 1."""
    try:
        cli(words, prog_name="pushsvc")
    except (PushError, ClientError) as error:
        sys.exit(f"pushsvc: {error.detail}")
    except UnicodeEncodeError:  # Python turns bytes of the command line that are not UTF-8 into lone surrogates
        sys.exit("pushsvc: an argument is not valid UTF-8")
