"""Makes URLs of this service as browsers see them; a proxy in front may serve it under a path."""

from __future__ import annotations

from flask import request

from pushsvc.web.http.current import service


def link(path: str) -> str:
    """Make a URL: absolute if PUBLIC_URL is set, else relative to the host that the browser called. Forwarding headers
    are ignored, because most proxies pass on those that a stranger sent."""
    return (service().settings.public_url or request.script_root) + path


def base() -> str:
    """The path in front of all paths in a page's links, such as `/push`; empty: none."""
    return service().settings.public_path or request.script_root
