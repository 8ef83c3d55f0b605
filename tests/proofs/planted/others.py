"""Bugs of all other rooms."""

from __future__ import annotations

from typing import Final

from tests.proofs.planted.mutant import Mutant

MUTANTS: Final = [
    Mutant(
        "does not wait until the subscription is confirmed", "delivery/catch_up.py",
        "        self._bus.request_clock()\n        try:\n            yield came",
        "        catching.clock = self._log.clock()\n        came.set()\n        try:\n            yield came",
        "unit/delivery/test_catch_up.py",
    ),
    Mutant(
        "takes < for <= at the seam", "events/encoded.py",
        "for event in self.events if event.id > cursor]", "for event in self.events if event.id >= cursor]",
        "unit/delivery/test_subscriber.py::test_what_is_announced_during_a_replay_is_sent_once_after_it",
    ),
    Mutant(
        "does not say the cursor of a stream that opens", "calls/streams.py",
        "return sse.cursor(start.after, retry_ms) if", 'return sse.retry(retry_ms) + b"event: cursor\\ndata:\\n\\n" if',
        "behaviour/streams/test_cursors.py::test_who_is_cut_after_the_first_block_hears_what_another_tab_read",
    ),
    Mutant(
        "does not move an idle tab's cursor to where it goes live", "delivery/catch_up.py",
        "if joined and not stood and", "if False and",
        "behaviour/streams/test_cursors.py::test_the_first_block_is_a_cursor",
    ),
    Mutant(
        "forgets the epoch", "calls/listening.py",
        "resume(cursor.id, clock := partition.log.clock()).is_reset", "not (clock := partition.log.clock())",
        "behaviour/answers/test_generations.py::test_a_cursor_that_is_not_of_this_life",
    ),
    Mutant(
        "loses what the kernel had no room for", "delivery/transports/detached.py",
        "            self.keep(wire[sent:])", "            pass",
        "unit/delivery/test_detached.py::test_what_the_kernel_has_no_room_for_follows",
    ),
    Mutant(
        "loses it for one of a crowd", "delivery/lifetimes.py",
        "        subscriber.transport.keep(rest)", "        pass",
        "unit/delivery/test_detached.py::test_what_the_kernel_has_no_room_for_follows",
    ),
    Mutant(
        "trusts a new subscription as if the old one had never ended", "delivery/catch_up.py",
        "            self.fall_behind(subscriber)\n            if number % LOOK", "            if number % LOOK",
        "faults/losses/test_losses.py::test_a_subscription_that_is_cut_in_silence_is_made_again",
    ),
    Mutant(
        "does not look at an event's predecessor", "delivery/fanout.py",
        "        if not channel.note(event_id, prev):", "        if not channel.note(event_id, prev) and False:",
        "faults/losses/test_losses.py::test_a_lost_announcement_is_found_by_the_next",
    ),
    Mutant(
        "drops what is too much to hold", "delivery/subscriber.py",
        "            catching.restart()\n\n    def fall_behind", "            pass\n\n    def fall_behind",
        "unit/delivery/test_subscriber.py::test_more_than_may_be_held_is_read_instead",
    ),
    Mutant(
        "says that it is ready whatever its Redis does", "service.py",
        "        return self.health.unready()", "        return None",
        "faults/processes/test_faults.py::test_a_frozen_redis_turns_readiness_red_and_heals",
    ),
    Mutant(
        "lets a line break into an event", "events/sse.py",
        'join(f"data: {line}\\n" for line in lines)', 'join(f"data: {line}\\n" for line in [data])',
        "unit/events/test_sse.py",
    ),
    Mutant(
        "does not ask whether a token may listen", "calls/events.py",
        "    admission.identity.need_subscribe(channels)\n", "",
        "behaviour/access/test_auth.py::test_listening_needs_the_channel",
    ),
    Mutant(
        "starts without a right that scripts need", "checks/rights.py",
        "yield from _refusal(within.decode() + IN_SCRIPTS, \"\", words.decode())", "pass",
        "faults/redis/test_redis_rights.py::test_each_right_that_is_missing_is_named",
    ),
    Mutant(
        "leaves at the start what it wrote there", "checks/rehearsal.py",
        'exchange(self.connect(), [("DEL", *mine)])', "pass",
        "faults/redis/test_redis_checks.py::test_nothing_is_left_and_nobody_hears_it",
    ),
    Mutant(
        "starts with a Redis that evicts", "checks/start.py",
        "if each.evicts:", "if False:",
        "faults/redis/test_redis_checks.py::test_a_server_that_evicts_is_refused",
    ),
    Mutant(
        "says of an answer that Redis lost that it was cancelled", "llm/generations.py",
        "generation.end(CANCELLED if state else DATA_LOST)", "generation.end(CANCELLED)",
        "faults/losses/test_lost_answers.py::test_redis_lost_its_data",
    ),
    Mutant(
        "sends nothing to WebSockets in a crowd", "delivery/fanout.py",
        "        if channel.framed:\n", "        if False:\n",
        "behaviour/sockets/test_events.py::test_events_come_live_and_in_order",
    ),
    Mutant(
        "answers a WebSocket within a batch", "delivery/lifetimes.py",
        "        self.subscribers.channels.settle()\n", "",
        "unit/delivery/test_detached.py::test_who_is_spoken_to_while_events_are_sent_misses_and_repeats_nothing",
    ),
    Mutant(
        "takes WebSockets from the pages of every site", "calls/sockets/handshake.py",
        "    same_site(call)  #", "    #",
        "behaviour/sockets/test_events.py::test_a_handshake_that_is_refused",
    ),
    Mutant(
        "does not notice a client that leaves", "delivery/transports/detached.py",
        "            self._owner.on_hang_up(found.subscriber)\n", "            pass\n",
        "faults/processes/test_sockets.py::test_a_client_that_leaves_is_noticed_though_nothing_is_sent",
    ),
    Mutant(
        "lets its connections go all at once", "concurrency/pacing.py",
        "        sleep(max(0.0, at - clock()))", "        pass",
        "unit/concurrency/test_spread.py",
    ),
    Mutant(
        "shows an answer to whoever knows its id", "calls/listening.py",
        "    if record.user != identity.user and not identity.admin:\n        raise unknown(generation_id)\n", "",
        "behaviour/answers/test_generation_access.py::test_only_its_user_or_an_admin",
    ),
    Mutant(
        "does not end the answers of a worker that died", "llm/making/losses.py",
        "for worker in silent & self._suspects:", "for worker in ():",
        "behaviour/answers/test_generation_endings.py::test_a_worker_that_is_killed",
    ),
    Mutant(
        "takes a password's ? for the query", "addresses/redis_address.py",
        "        or holds_at_sign(query)\n", "",
        "unit/addresses/test_bad_addresses.py::test_of_a_password_that_is_not_encoded_nothing_is_repeated",
    ),
    Mutant(
        "follows the links of the password's file when it starts", "config.py",
        "file and file.absolute()", "file and file.resolve()",
        "faults/redis/test_password_file.py::test_a_rotation_under_publishes",
    ),
]  # fmt: skip
