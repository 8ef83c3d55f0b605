"""The gunicorn worker: gevent's, with the service started before the first request and drained before the last.

Use: gunicorn -k pushsvc.worker.PushWorker app:app
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent
from gunicorn.workers.ggevent import GeventWorker

from pushsvc.limits import raise_descriptor_limit

if TYPE_CHECKING:
    from pushsvc.service import Service


class PushWorker(GeventWorker):
    """One gevent process that holds connections and lets them go gently."""

    _draining = False

    def run(self) -> None:
        raise_descriptor_limit()
        self._service.start()
        try:
            super().run()
        finally:
            self._service.stop()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: not ready from this moment; the listener closes within a second, then the draining begins."""
        self._service.hub.draining = True
        super().handle_exit(sig, frame)

    def notify(self) -> None:
        """Called every second, and first of all when a stopping worker has closed its listener."""
        super().notify()
        if not self.alive and not self._draining:
            self._draining = True
            gevent.spawn(self._service.hub.drain, self._service.settings.drain_seconds)

    @property
    def _service(self) -> Service:
        from pushsvc.service import EXTENSION  # after gunicorn has patched the standard library

        service: Service = self.wsgi.extensions[EXTENSION]
        return service

