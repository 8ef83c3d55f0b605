"""`python -m pushsvc up`: starts that are refused, each in one line, or interrupted."""

from __future__ import annotations

import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.clients.eventsource import until
from tests.support.ports import free_port
from tests.support.processes import dies_with_the_tests
from tests.support.stack import ROOT, SECRET, command


def refusal(data_dir: Path, **settings: object) -> str:
    """The one line of an `up` that could not start; status 1, and nothing left."""
    addresses = {"http": f"127.0.0.1:{free_port()}", "app": f"127.0.0.1:{free_port()}"}
    argv, environ = command("up", **{"data_dir": data_dir, "workers": 1, **addresses, **settings})
    mark = f"TEST_RUN={data_dir}"
    done = subprocess.run(
        argv, cwd=ROOT, env=environ | {"TEST_RUN": str(data_dir)}, capture_output=True, text=True, timeout=60,
        preexec_fn=dies_with_the_tests(signal.SIGKILL),
    )  # fmt: skip
    until(lambda: not with_environment(mark), "the end of every process")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def with_environment(mark: str) -> list[int]:
    """The processes that were started with this in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue  # gone meanwhile
    return found


def test_what_was_never_an_address_is_named(tmp_path: Path) -> None:
    data_dir, port = tmp_path / "data", f"127.0.0.1:{free_port()}"
    for address in (f"unix:{tmp_path}/missing/app.sock", f"unix:{tmp_path}/{'x' * 120}", f"unix:{tmp_path}"):
        assert refusal(data_dir, app=address).startswith(f"pushsvc: PUSHSVC_APP: cannot listen at {address}: ")
    assert refusal(data_dir, http="no-such-host.invalid:80").startswith("pushsvc: PUSHSVC_HTTP: cannot listen at ")
    assert refusal(data_dir, http=port, app=port).startswith("pushsvc: PUSHSVC_APP should not be the same as ")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"workers": "many"}, "PUSHSVC_WORKERS is 'many': "),
        ({"secret": "short"}, "PUSHSVC_SECRET should be at least 32 bytes"),
        ({"redis_url": "http://127.0.0.1:6379"}, "PUSHSVC_REDIS_URL should start with "),
        ({"redis_url": "redis://:hunter2/x@127.0.0.1"}, "PUSHSVC_REDIS_URL should be encoded: encode @ : / # ? % "),
        ({"redis_url": "redis://127.0.0.1?hunter2=1"}, "PUSHSVC_REDIS_URL should have no other options than "),
        ({"redis_url": f"redis://:hunter2@127.0.0.1:{free_port()}"}, "PUSHSVC_REDIS_URL: Redis does not answer: "),
        ({"redis_url": "unix:///no/such.sock"}, "PUSHSVC_REDIS_URL: Redis does not answer: "),
    ],
)
def test_a_setting_that_cannot_work_is_named(tmp_path: Path, settings: dict[str, object], says: str) -> None:
    line = refusal(tmp_path / "data", **settings)
    assert line.startswith(f"pushsvc: {says}")
    assert "hunter2" not in line


def test_a_data_directory_that_takes_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for data_dir in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/pushsvc")):
        for secret in ("", SECRET):  # the first thing that is written differs
            assert refusal(data_dir, secret=secret).startswith("pushsvc: PUSHSVC_DATA_DIR: cannot ")


def _heed_ctrl_c() -> None:
    """Heed Ctrl-C, which tests that run in the background ignore, and with them all that they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupted(process: subprocess.Popen[str]) -> str:
    """Press Ctrl-C until the process ends, and give its output. The first one may come before Python heeds it, or be
    lost in what Python does as it starts, such as a coverage's hook."""
    for _ in range(12):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=5)[0]
    raise AssertionError("it does not heed Ctrl-C")


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.2, 0.4, 0.7])
def test_ctrl_c_while_it_starts(tmp_path: Path, seconds: float) -> None:
    words, environ = command("up", data_dir=tmp_path, http=f"127.0.0.1:{free_port()}", app=f"127.0.0.1:{free_port()}")
    process = subprocess.Popen(
        words,
        cwd=ROOT,
        env=environ,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=_heed_ctrl_c,
    )
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        output = interrupted(process)
    finally:
        process.kill()
    # Python's own start may end in a traceback, up to the first lines of the package.
    deeper = re.findall(rf'File "{re.escape(str(ROOT))}/pushsvc/(?!__init__|__main__|version)', output)
    assert not deeper, output


@pytest.mark.parametrize("name", ["nginx", "valkey", "tls"])
def test_a_file_where_a_folder_should_be(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    address = {"http": f"127.0.0.1:{free_port()}", "app": f"127.0.0.1:{free_port()}"}
    words, environ = command("up", data_dir=tmp_path, tls="self-signed", **address)
    ended = subprocess.run(words, cwd=ROOT, env=environ, text=True, capture_output=True, check=False)
    assert ended.returncode == 1
    assert [line for line in ended.stderr.splitlines() if line.startswith("pushsvc: PUSHSVC_DATA_DIR: cannot write to")]
    assert "Traceback" not in ended.stderr
