"""The things that can go wrong, as exceptions with one root."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pushsvc.client.results import Gap

_TEMPORARY: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 507})


class ClientError(Exception):
    """The root of all errors of this package. `detail` is one sentence for people."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class ServiceError(ClientError):
    """The service refused, or did not answer.

    `status`: of the answer; None: there was none. `errors`: what is wrong with which field. `retry_after`: seconds
    after which the service wants to be asked again. `temporary`: the same may succeed later.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        errors: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        temporary: bool | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.errors = dict(errors or {})
        self.retry_after = retry_after
        self.temporary = (status is None or status in _TEMPORARY) if temporary is None else temporary


class Foreign(ServiceError):
    """What answers is not pushsvc."""


class PublishError(ServiceError):
    """An event was not published, as far as is known. Published again with the same `key`, it is there once.
    `of_request`: the request failed, so this says nothing of the event."""

    key: str | None = None
    of_request = False

    def of(self, key: str | None) -> PublishError:
        """Say whose error it is."""
        self.key = key
        return self


class QueueFull(PublishError):
    """The background queue holds as many events as it may."""

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} events wait to be published already", temporary=True)


class ListenError(ServiceError):
    """The service refuses the stream for good."""


class AnswerError(ServiceError):
    """A model's answer failed, or the service does not give it. `code`: for programs, such as `cancelled`, `timeout`
    or `producer_lost`."""

    def __init__(self, detail: str, *, code: str | None = None, **more: Any) -> None:
        super().__init__(detail, **more)
        self.code = code


class GapError(ClientError):
    """Events are lost to this listener; `gap` says which. Listening goes on behind them."""

    def __init__(self, gap: Gap) -> None:
        super().__init__(f"events were missed ({gap.reason}) after {gap.requested or 'a foreign id'}")
        self.gap = gap


def from_problem(kind: type[PublishError], problem: Mapping[str, Any]) -> PublishError:
    """The error that a problem document (RFC 9457) tells."""
    status = problem.get("status")
    errors = problem.get("errors")
    return kind(
        str(problem.get("detail") or problem.get("title") or "refused"),
        status=status if isinstance(status, int) else None,
        errors=errors if isinstance(errors, dict) else None,
        temporary=None if isinstance(status, int) else False,
    )
