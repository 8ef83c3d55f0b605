"""The errors of the service. Each has an HTTP status, and all have one base class, so that one handler can turn any of
them into a problem document (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, Self


class PushError(Exception):
    """An error that the caller can understand and act on.

    `detail` is one sentence for people; `errors` maps a field or parameter to what is wrong with it.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, *, errors: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors or {}

    def to_keep(self) -> Self:
        """Give the error without its traceback, which holds all that the frames in it hold: mostly what was refused,
        and the list in which the error is kept."""
        self.__cause__ = self.__context__ = None
        return self.with_traceback(None)

    @property
    def headers(self) -> dict[str, str]:
        """Headers that the response has in addition to those of every problem."""
        return {}

    def problem(self) -> dict[str, object]:
        """The members of the problem document (RFC 9457 section 3.1)."""
        members: dict[str, object] = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            members["errors"] = self.errors
        return members


class ConfigError(PushError):
    """A setting is wrong; the service does not start. `detail` is the line to print."""

    title = "Bad setting"


class Invalid(PushError):
    """A field, parameter or body is not what it should be."""

    status = 400
    title = "Bad request"

    @classmethod
    def field(cls, name: str, what: str) -> Invalid:
        """The error for one field or parameter. `what`: the rest of the sentence that begins with its name."""
        return cls(f"{name}: {what}", errors={name: what})


class Unauthorized(PushError):
    """The request has no credentials, or bad, expired or spent ones."""

    status = 401
    title = "Unauthorized"

    @property
    def headers(self) -> dict[str, str]:
        """`WWW-Authenticate` (RFC 6750 section 3)."""
        return {"WWW-Authenticate": 'Bearer realm="pushsvc"'}  # RFC 9110 section 11.6.1: a 401 names a scheme


class Forbidden(PushError):
    """The caller is known, and the token does not allow this."""

    status = 403
    title = "Forbidden"


class TooLarge(PushError):
    """An event, a batch or a body is over its limit."""

    status = 413
    title = "Content too large"

    @classmethod
    def field(cls, name: str, what: str) -> TooLarge:
        """The error for one field. `what`: the rest of the sentence that begins with its name."""
        return cls(f"{name}: {what}", errors={name: what})


class UnsupportedMedia(PushError):
    """The body has a media type or a content coding that this path does not read."""

    status = 415
    title = "Unsupported media type"

    def __init__(self, detail: str, *, accepts: dict[str, str] | None = None) -> None:
        """`accepts`: the response header that names the types or codings that this path reads, and its value."""
        super().__init__(detail)
        self._accepts = accepts or {}

    @property
    def headers(self) -> dict[str, str]:
        """The response header that names the types or codings that this path reads."""
        return self._accepts


class RequestTimeout(PushError):
    """The request comes too slowly."""

    status = 408
    title = "Request timeout"


class ClientLeft(PushError):
    """The client has closed the connection, so nobody reads what is said of this."""

    status = 499
    title = "Client left"


class Later(PushError):
    """The service cannot do now what was asked. `retry_after`: seconds after which the client may try again."""

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """`Retry-After`."""
        return {"Retry-After": str(self.retry_after)}


class TooManyRequests(Later):
    """A user or a token has met a rate."""

    status = 429
    title = "Too many requests"


class TooManyConnections(Later):
    """A user already has the largest number of connections that one user may have."""

    status = 429
    title = "Too many connections"


class TooManyGenerations(Later):
    """The worker, or the user, already has the largest number of answers that may be made at the same time."""

    status = 429
    title = "Too many answers at a time"


class OverBudget(Later):
    """A budget of models' answers is used up. `standing`: headers that say how the caller stands."""

    status = 429
    title = "Rate limit exceeded"  # as clients of OpenAI's API know it

    def __init__(self, detail: str, *, retry_after: int, standing: Mapping[str, str]) -> None:
        super().__init__(detail, retry_after=retry_after)
        self._standing = standing

    @property
    def headers(self) -> dict[str, str]:
        """`Retry-After`, and the caller's standing. Clients of OpenAI's API do not wait for longer than a minute."""
        later = {"x-should-retry": "false"} if self.retry_after > 60 else {}
        return super().headers | dict(self._standing) | later


class UpgradeRequired(PushError):
    """The path is for WebSockets, and the request opens none that this service speaks."""

    status = 426
    title = "Upgrade required"

    @property
    def headers(self) -> dict[str, str]:
        """`Upgrade` (RFC 9110 section 15.5.22), and the version that is spoken (RFC 6455 section 4.2.2)."""
        return {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}


class NoWebSockets(PushError):
    """The server gives no socket to the application."""

    status = 501
    title = "Not implemented"


class NotFound(PushError):
    """There is nothing of this name, or the caller may not know that there is."""

    status = 404
    title = "Not found"


class Conflict(PushError):
    """The request does not fit the state of what it is about."""

    status = 409
    title = "Conflict"


class Unavailable(Later):
    """The service is full or draining, or Redis does not answer."""

    status = 503
    title = "Unavailable"


class NotApplied(Unavailable):
    """Redis does not answer, or is not ready yet. Nothing was changed, so the request can be repeated."""


class Unwritable(Unavailable):
    """Redis refuses to change anything for now. Stored data can still be read."""


class TooFewReplicas(Unwritable, NotApplied):
    """Redis has fewer replicas than its settings require for a write. Nothing was changed."""


class ReadsOnly(Unwritable, NotApplied):
    """A part of the Redis cluster's data is missing, so the cluster takes no writes to the other parts either. Nothing
    was changed."""


class NoRights(Unavailable):
    """The account has no right to a command or key in Redis. Other workers use the same account, so they fail too."""


class Unconfirmed(Unavailable):
    """Redis wrote the data, but too few replicas have confirmed it, or it is not known how many have."""


class OutOfSpace(Unwritable):
    """Redis has no room left, in memory or on its disk."""

    status = 507
    title = "Insufficient storage"


class WrongType(PushError):
    """A key of the service holds a value of another type in Redis. Only an operator can repair that."""

    status = 500
    title = "Broken channel"


_KINDS: Final = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


def as_openai(problem: Mapping[str, object], status: int) -> dict[str, object]:
    """Convert a problem to an error as clients of OpenAI's API expect it (API reference, "Errors")."""
    title, errors = str(problem["title"]), problem.get("errors")
    kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {
        "error": {
            "message": problem["detail"],
            "type": kind,
            "param": next(iter(errors), None) if isinstance(errors, dict) else None,
            "code": title.lower().replace(" ", "_"),
        }
    }
