"""The behaviour where all requests go through Flask, as they do where gunicorn logs them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import behaviour
from tests.support.models.model import Model
from tests.support.stack import Stack

globals().update(behaviour.marked("every_redis"))  # run with the `stack` of this module


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, _model: Model) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("logged")
    log = folder / "access.log"
    running = Stack(folder, gunicorn=f"--access-logfile {log}", **behaviour.settings(_model))
    yield running
    running.stop()
    assert "Traceback" not in running.output, running.output
    assert '"POST /publish' in log.read_text()
