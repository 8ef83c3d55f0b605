"""What an answer's reader does where the service refuses it."""

from __future__ import annotations

import pytest

from pushsvc.client import AnswerError
from pushsvc.client.answers import Answers
from tests.support.clients.scripted import Say, events, problem, scripted


@pytest.mark.parametrize("refusal", [problem(401), events('event: refused\ndata: {"status": 401, "detail": "No."}')])
def test_a_fresh_token_that_is_refused_as_well_ends_it(refusal: Say) -> None:
    tokens = iter("abcd")
    with scripted(refusal) as service:
        with pytest.raises(AnswerError, match="No"):
            next(Answers(service.url, lambda: next(tokens)).get("1"))
        assert len(service.requests) == 2
