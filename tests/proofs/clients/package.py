"""Installs what `make package` built: `python -m tests.proofs.clients.package dist`. Each extra goes into an empty
environment, with the dependencies that the package index has, and does what it is for."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.support.package import Environment
from tests.support.stack import Stack

CLIENT = "import sys, pushsvc.client; sys.exit(bool({'flask', 'gevent', 'redis', 'click'} & set(sys.modules)))"


def main(dist: Path) -> None:
    [wheel], [sdist] = dist.glob("*.whl"), dist.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        for name, what in (("wheel", wheel), ("sdist", sdist)):
            client = Environment(where / name)
            client.install(str(what))
            for words in (("python", "-c", CLIENT), ("pushsvc", "--version")):
                done = client.run(*words, cwd=where)
                assert done.returncode == 0, f"{name}: {' '.join(words)}: {done.stderr}"
            print(f"well  {name}: the client alone")
        everything = Environment(where / "all")
        everything.install(f"{wheel}[all]")
        stack = Stack(where / "data", folder=where, program=[str(everything.folder / "bin/pushsvc")])
        try:
            stack.publish(user="alice", data="hello")
        finally:
            stack.stop()
        print("well  pushsvc[all]: up, and an event was published")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
