"""The addresses of this service as browsers call it, which a proxy in front may have put under a path."""

from __future__ import annotations

from flask import request

from pushsvc.web.http.current import service


def link(path: str) -> str:
    """Absolute where PUBLIC_URL says how; else relative to the host that the browser called. What a proxy or client
    claims in headers is not heeded: most proxies pass on what a stranger sent."""
    return (service().settings.public_url or request.script_root) + path


def base() -> str:
    """The path before all of ours in a page's links, such as `/push`; empty: none."""
    return service().settings.public_path or request.script_root
