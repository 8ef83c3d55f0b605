"""The old name of `pushsvc.server.worker`, for commands and units that say `-k pushsvc.worker.PushWorker`."""

from pushsvc.server.worker import PushWorker

__all__ = ["PushWorker"]
