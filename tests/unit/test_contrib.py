"""The common ground of the frameworks' parts."""

from __future__ import annotations

import json
import re

import pytest
from flask import Flask

from pushsvc.client import Publisher
from pushsvc.contrib.flask import Push
from pushsvc.contrib.outbox.store import Postgres, Sqlite, open_store
from pushsvc.contrib.pages import FOREIGN, NOBODY, script, ticket_answer
from tests.support.ports import free_port


@pytest.mark.parametrize("user", ["alice", "</script><script>alert(1)//", 'a"b&c', "\u2028müller"])
def test_a_user_is_nothing_but_a_string_of_the_script(user: str) -> None:
    made = script("https://push.example.com/", "/push/ticket", user, nonce='"x')
    assert made.count("<script") == made.count("</script>") == 2
    assert 'nonce="&quot;x"' in made
    found = re.search(r"share: (\".*?\"), ticket", made)
    assert found is not None
    assert json.loads(found[1]) == user


def test_pages_of_nobody_have_no_script() -> None:
    assert script("https://push.example.com/", "/push/ticket", None) == ""


def test_tickets_are_for_the_sites_own_users_and_say_when_the_service_is_away() -> None:
    with Publisher(f"http://127.0.0.1:{free_port()}", "t", patience=0) as push:
        assert ticket_answer(push, "https://push.example.com/", "alice", (), "cross-site") is FOREIGN
        assert ticket_answer(push, "https://push.example.com/", None, (), "same-origin") is NOBODY
        away = ticket_answer(push, "https://push.example.com/", "alice", (), "same-origin")
    assert (away.status, away.headers["Cache-Control"]) == (503, "no-store")
    assert "does not answer" in json.loads(away.body)["detail"]


def test_flask_does_not_ask_for_the_topics_of_nobody() -> None:
    app = Flask("shop")
    app.config |= {"PUSHSVC_URL": "http://a", "PUSHSVC_TOKEN": "t"}
    Push(app, user=lambda: None, topics=lambda: pytest.fail("nobody is logged in"))
    assert app.test_client().get("/push/ticket").status_code == 401


def test_databases_are_urls() -> None:
    assert isinstance(open_store("postgresql+psycopg://app@db/shop"), Postgres)
    assert isinstance(open_store("sqlite:////var/lib/app.db"), Sqlite)
    for url in ("mysql://db/shop", "sqlite://", "shop.db"):
        with pytest.raises(Exception, match="the database is a URL"):
            open_store(url)
