"""`python -m pushsvc`, and the command `pushsvc`: see cli.py."""

import atexit
import gc
import signal
import sys


def run() -> None:
    """Load the command line, and run it."""
    gc.disable()  # modules are not garbage: to look for it among them takes a fifth of the start
    atexit.register(gc.freeze)  # and of the end: the process frees all at once
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # else it is ignored, as with nohup
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules are loaded ends this without a traceback
    try:
        from pushsvc.cli import load, main

        load(next((word for word in sys.argv[1:] if not word.startswith("-")), ""))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("pushsvc"):
            raise
        sys.exit(_how_to_get(error.name))
    signal.signal(signal.SIGINT, handler)
    gc.freeze()
    gc.enable()
    main()


def _how_to_get(module: str) -> str:
    from pushsvc.program.files import CHECKOUT

    advice = (
        "`make run` makes .venv, whose .venv/bin/python has all that is needed"
        if CHECKOUT
        else "pip install 'pushsvc[server]' (or [all], with Redis and nginx) brings what this command needs"
    )
    return f"pushsvc: {module} is not installed for {sys.executable}; {advice}"


if __name__ == "__main__":
    run()
