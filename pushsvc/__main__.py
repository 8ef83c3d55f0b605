"""`python -m pushsvc`: see cli.py."""

import atexit
import gc
import signal
import sys

gc.disable()  # modules are not garbage: to look for it among them takes a fifth of the start
atexit.register(gc.freeze)  # and of the end: the process frees all at once
_handler = signal.getsignal(signal.SIGINT)
if _handler is signal.default_int_handler:  # else it is ignored, as with nohup
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules are loaded ends this without a traceback
try:
    from pushsvc.cli import main
except ModuleNotFoundError as error:
    if error.name is None or error.name.startswith("pushsvc"):
        raise
    sys.exit(
        f"pushsvc: {error.name} is not installed for {sys.executable}; "
        "`make run` makes .venv, whose .venv/bin/python has all that is needed"
    )
signal.signal(signal.SIGINT, _handler)
gc.freeze()
gc.enable()

main()
