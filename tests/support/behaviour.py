"""The behaviour that is the same whatever Redis there is. A module that has a `stack` of its own imports all of this,
and runs it there: `from tests.support.behaviour import *`.
"""

# ruff: noqa: F401
from __future__ import annotations

import pytest

from tests.behaviour.test_auth import (
    test_a_ticket_gives_no_more_than_its_maker_has,
    test_a_ticket_works_once_and_its_cookie_goes_on,
    test_twenty_races_for_one_ticket_leave_one_stream,
    test_two_users_in_one_browser_are_not_mixed,
)
from tests.behaviour.test_cap import test_the_oldest_gives_way_to_the_newest
from tests.behaviour.test_completions import test_any_server_in_any_pieces, test_connections_are_counted_out
from tests.behaviour.test_events import (
    test_from_the_beginning_is_no_reset,
    test_head_of_a_stream,
    test_heartbeats_to_the_silent,
    test_live_events_come_in_order,
    test_manual_acknowledgement,
    test_resume_by_header_and_by_parameter,
    test_since,
    test_the_header_wins_over_the_parameter_of_an_old_url,
    test_topics_are_followed_and_others_are_not,
    test_unread_is_what_was_not_delivered,
)
from tests.behaviour.test_generations import (
    test_a_double_click_starts_one,
    test_a_history_in_pages,
    test_a_ticket_of_a_backend_s_works_too,
    test_a_url_opens_one_answer_and_nothing_else,
    test_cancel,
    test_every_tab_hears_it_as_it_comes,
    test_many_answers_through_random_reconnects,
    test_news_of_what_begins_and_ends,
    test_only_its_user_or_an_admin,
)
from tests.behaviour.test_history import (
    test_a_long_poll_passes_over_the_dead,
    test_bad_acks_name_the_field,
    test_health,
    test_long_poll_without_an_event_ends_empty,
    test_paging_forward_and_back,
    test_unread_counts_and_ack_moves,
)
from tests.behaviour.test_publish import (
    test_a_bad_item_in_a_batch_harms_no_other,
    test_a_repeated_key_answers_the_first_id_and_delivers_nothing,
    test_an_event_past_its_ttl_is_not_delivered_and_no_gap,
    test_each_target_reaches_its_listeners,
    test_many_users_get_one_event_each,
    test_twenty_racing_publishes_of_one_key_make_one_event,
)
from tests.behaviour.test_takeover import test_a_repeat_takes_the_stream_over, test_nor_later
from tests.behaviour.test_tickets import (
    test_a_proof_that_stood_in_a_url_is_dead,
    test_an_acknowledgement_needs_nothing_else,
    test_it_comes_back_before_it_heard_anything,
    test_only_the_proof_itself_is_one,
    test_where_cookies_come_back_ids_are_clean,
)
from tests.faults.test_sockets import (
    test_a_client_that_leaves_is_noticed_though_nothing_is_sent,
    test_one_who_reads_a_byte_now_and_then_gets_everything,
)
from tests.support.model import Model
from tests.support.stack import Stack


def settings(model: Model) -> dict[str, object]:
    """Those that the tests here need."""
    return {
        "heartbeat_seconds": 0.5, "max_connections_per_user": 5,
        "llm_base_url": model.url, "llm_api_key": "a-test-key", "llm_model": "the-default",
    }  # fmt: skip


@pytest.fixture
def answering(stack: Stack) -> Stack:
    return stack


@pytest.fixture
def capped(stack: Stack) -> Stack:
    return stack


@pytest.fixture
def base(stack: Stack) -> str:
    return stack.url


@pytest.fixture
def server(stack: Stack) -> str:
    return stack.app_url


@pytest.fixture
def door(stack: Stack) -> str:
    return stack.url
