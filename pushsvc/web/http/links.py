"""Makes URLs of this service as browsers call it; a proxy in front may have put it under a path."""

from __future__ import annotations

from flask import request

from pushsvc.web.http.current import service


def link(path: str) -> str:
    """Make a URL: absolute where PUBLIC_URL says how, else relative to the host that the browser called. Headers of a
    proxy or client are not heeded: most proxies pass on what a stranger sent."""
    return (service().settings.public_url or request.script_root) + path


def base() -> str:
    """The path before all of ours in a page's links, such as `/push`; empty: none."""
    return service().settings.public_path or request.script_root
