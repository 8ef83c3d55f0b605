"""The WSGI entry point: `gunicorn -k pushsvc.worker.PushWorker app:app`."""

import os
import sys
from threading import Thread

from pushsvc import create_app
from pushsvc.config import Settings
from pushsvc.errors import ConfigError
from pushsvc.remarks import MARK, tell

tell(os.environ)
try:
    settings = Settings.from_env(os.environ)
    app = create_app(settings)
except ConfigError as error:
    print(f"pushsvc: {error.detail}", file=sys.stderr)
    sys.exit(4)  # what gunicorn takes as "the application cannot be loaded": it stops instead of trying for ever
if MARK not in os.environ and "pushsvc.worker" not in sys.modules:  # gunicorn by hand; our own worker sees to it itself
    from pushsvc.redis_checks import tell_of_redis

    Thread(target=tell_of_redis, args=(settings,), daemon=True).start()
