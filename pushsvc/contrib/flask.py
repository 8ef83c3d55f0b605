"""Flask: `push = Push(app, user=…)` publishes, gives tickets to the user's pages, and writes the lines these need."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Unpack

from flask import Flask, Response, current_app, request
from markupsafe import Markup

from pushsvc.client import Publisher, PublishStream, Receipt
from pushsvc.client.items import Target
from pushsvc.contrib.pages import PATIENCE_SECONDS, TICKET_PATH, base, script, ticket_answer

if TYPE_CHECKING:
    from pushsvc.config import Settings

User = Callable[[], str | None]
Topics = Callable[[], Iterable[str]]


class Push:
    """Configured by `app.config` (or the environment, as `app.config.from_prefixed_env()` reads it):

    `PUSHSVC_URL`, `PUSHSVC_TOKEN` (a backend's, which may publish and subscribe for its users), `PUSHSVC_PUBLIC_URL`
    (what browsers call the service; the same by default), `PUSHSVC_TICKET_PATH` (`/push/ticket`).
    """

    def __init__(self, app: Flask | None = None, *, user: User, topics: Topics = tuple) -> None:
        """`user`: gives the id of who is logged in, in a request; None: nobody is. `topics`: that they may follow."""
        self._user = user
        self._topics = topics
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Add the ticket's route and, for templates, `push_script()`. Raises KeyError, or ValueError."""
        url, token = app.config["PUSHSVC_URL"], app.config["PUSHSVC_TOKEN"]
        public = base(app.config.setdefault("PUSHSVC_PUBLIC_URL", url))
        path = app.config.setdefault("PUSHSVC_TICKET_PATH", TICKET_PATH)
        tickets = Publisher(url, token, patience=PATIENCE_SECONDS)
        app.extensions["pushsvc_client"] = Publisher(url, token)

        def ticket() -> Response:
            user = self._user()
            allowed = () if user is None else self._topics()
            found = ticket_answer(tickets, public, user, allowed, request.headers.get("Sec-Fetch-Site"))
            return Response(found.body, found.status, found.headers.items(), mimetype="application/json")

        def push_script(nonce: str = "") -> Markup:
            return Markup(script(public, request.script_root + path, self._user(), nonce))  # noqa: S704  # it escapes

        app.add_url_rule(path, "pushsvc_ticket", ticket)
        app.jinja_env.globals["push_script"] = push_script

    @property
    def publisher(self) -> Publisher:
        """The application's publisher."""
        found: Publisher = current_app.extensions["pushsvc_client"]
        return found

    def publish(self, data: Any, **target: Unpack[Target]) -> Receipt:
        """See `pushsvc.client.Publisher.publish`."""
        return self.publisher.publish(data, **target)

    def enqueue(self, data: Any, **target: Unpack[Target]) -> None:
        """See `pushsvc.client.Publisher.enqueue`."""
        self.publisher.enqueue(data, **target)

    def stream(self) -> PublishStream:
        """See `pushsvc.client.Publisher.stream`."""
        return self.publisher.stream()


def mount(app: Flask, path: str = "/push", settings: Settings | None = None) -> None:
    """Serve the whole service below `path` of the application, from the same gunicorn: `gunicorn -k
    pushsvc.server.worker.PushWorker`. Needs `pushsvc[server]`, and a Redis. `settings`: those of the environment, by
    default. Raises ConfigError.

    The application's own views then run in greenlets, as with gunicorn's gevent worker.
    """
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    from pushsvc import create_app
    from pushsvc.config import Settings
    from pushsvc.service import EXTENSION

    inner = create_app(settings or Settings.from_env(os.environ))
    app.extensions[EXTENSION] = inner.extensions[EXTENSION]  # where the worker looks for what it starts and stops
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {path.rstrip("/"): inner.wsgi_app})  # type: ignore[method-assign]
