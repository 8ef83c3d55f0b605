"""A backup of the embedded server as docs/operate.md describes it: taken while it runs, and put back under another
DATA_DIR."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.support.clients.eventsource import EventSource
from tests.support.stack import Stack

LOG = "valkey/appendonlydir"


def back_up(stack: Stack, folder: Path) -> None:
    """Copy the append-only files. Meanwhile no rewrite may replace them."""
    stack.redis.config_set("auto-aof-rewrite-percentage", "0")
    shutil.copytree(stack.data_dir / LOG, folder)
    stack.redis.config_set("auto-aof-rewrite-percentage", "100")


def gaps(source: EventSource) -> list[str]:
    return [json.loads(each.data)["reason"] for each in source.messages if each.event == "gap"]


@pytest.mark.parametrize("known", [True, False], ids=["what was acknowledged is known", "and is not"])
def test_a_backup_is_put_back(start: Start, tmp_path: Path, user: str, known: bool) -> None:
    """A reader who has seen what came after the backup is told, even once ids have passed that place. A reader who has
    seen only what is in it goes on, and is told as well if the files are left in which workers write what they
    acknowledged."""
    stack = start(workers=1)
    first, second = (stack.publish(user=user, data=number) for number in range(2))
    back_up(stack, tmp_path / "backup")
    lost = stack.publish(user=user, data=2)
    stack.stop()
    shutil.copytree(tmp_path / "backup", tmp_path / "restored" / LOG)
    if known:
        shutil.copytree(stack.data_dir / "acknowledged", tmp_path / "restored" / "acknowledged")
    restored = start(workers=1, data_dir=tmp_path / "restored")
    later = restored.publish(user=user, data=3)
    with (
        restored.listen(user, f"?last_event_id={first}") as before,
        restored.listen(user, f"?last_event_id={lost}") as after,
    ):
        before.wait_ids(second, later)
        after.wait_ids(later)
        assert (gaps(before), gaps(after)) == (["reset"] if known else [], ["reset"])
