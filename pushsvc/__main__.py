"""`python -m pushsvc`: see cli.py."""

import sys

try:
    from pushsvc.cli import main
except ModuleNotFoundError as error:
    if error.name is None or error.name.startswith("pushsvc"):
        raise
    sys.exit(
        f"pushsvc: {error.name} is not installed for {sys.executable}; "
        "`make run` makes .venv, whose .venv/bin/python has all that is needed"
    )

main()
