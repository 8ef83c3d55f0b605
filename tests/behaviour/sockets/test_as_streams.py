"""The guarantees of streams, over WebSockets: the tests of those, each of whose listeners is one."""

from __future__ import annotations

import pytest

from tests.behaviour.streams.test_cursors import (  # noqa: F401
    test_a_cursor_moves_no_unread_position,
    test_a_ticket_says_where_to_begin,
    test_an_idle_tab_hears_what_another_tab_heard_meanwhile,
    test_polyfills_spell_the_parameter_as_they_like,
    test_repeated_topics_add_up,
    test_to_come_back_with_nothing_is_as_at_the_first_time,
    test_who_is_cut_after_the_first_block_hears_what_another_tab_read,
)
from tests.behaviour.streams.test_events import (  # noqa: F401
    test_a_slow_reader_is_cut_and_resumes_from_the_log,
    test_live_events_come_in_order,
    test_manual_acknowledgement,
    test_resume_by_header_and_by_parameter,
    test_since,
    test_the_header_wins_over_the_parameter_of_an_old_url,
    test_the_seam_of_replay_and_live,
    test_topics_are_followed_and_others_are_not,
    test_unread_is_what_was_not_delivered,
)
from tests.behaviour.streams.test_gaps import (  # noqa: F401
    test_a_cursor_of_another_life_of_the_data_is_a_reset,
    test_a_trimmed_cursor_is_said_and_an_untrimmed_one_never,
    test_expired_events_are_said,
    test_from_the_beginning_is_no_reset,
)
from tests.faults.losses.test_lives import (  # noqa: F401
    restored,
    test_a_backup_that_is_put_back_is_said_to_all,
    test_a_flushall_is_said_to_who_listens,
    test_who_was_away_is_told_of_what_was_acknowledged_and_lost,
)
from tests.faults.losses.test_losses import (  # noqa: F401
    test_a_join_does_not_hide_a_loss_from_those_who_listen,
    test_a_late_event_that_was_trimmed_is_said,
    test_a_lost_announcement_is_found_by_the_next,
    test_a_subscription_that_is_cut_in_silence_is_made_again,
    test_an_announcement_lost_behind_a_later_one_of_another_channel,
)
from tests.support.clients import socketsource
from tests.support.stack import Stack


@pytest.fixture(autouse=True)
def _over_websockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stack, "listen", socketsource.listen)


def test_the_listeners_are_websockets(stack: Stack, user: str) -> None:
    with stack.listen(user) as source:
        assert source.headers["upgrade"] == "websocket"
