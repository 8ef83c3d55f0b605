"""Bugs that could be made, and the tests that find each: see mutants.py."""

from __future__ import annotations

from typing import Final, NamedTuple


class Mutant(NamedTuple):
    """`tests`: files, or `file::test`, and after a blank what of them (-k)."""

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTANTS: Final = [
    Mutant(
        "does not wait until the subscription is confirmed", "delivery/catch_up.py",
        "        self._bus.request_clock()\n        try:\n            yield came",
        "        catching.clock = self._log.clock()\n        came.set()\n        try:\n            yield came",
        "unit/delivery/test_catch_up.py",
    ),
    Mutant(
        "delivers a repeated key again", "storage/redis/lua/append.lua",
        "  if type(first) == 'string' and first ~= '?' then", "  if false then",
        "behaviour/publishing/test_publish.py::test_a_repeated_key_answers_the_first_id_and_delivers_nothing",
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
        "does not know of what it acknowledged itself", "storage/losses.py",
        "((epoch, through), *known.items())", "((epoch, through),)",
        "faults/losses/test_lives.py::test_what_was_acknowledged_here_counts_as_heard",
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
        "says nothing of what was trimmed", "storage/gaps.py",
        "        if mark is not None and entry.prev > mark:", "        if False:",
        "faults/losses/test_losses.py",
    ),
    Mutant(
        "believes a master that was replaced", "storage/log.py",
        '        if EpochHistory.latest(epoch or b"") != clock.epochs.current:', "        if False:",
        "faults/losses/test_losses.py::test_a_master_that_was_replaced_answers_no_reader",
    ),
    Mutant(
        "follows a master that was replaced", "storage/redis/fencing.py",
        "        if epochs.is_superseded_by(self.epochs):", "        if False:",
        "faults/losses/test_succession.py::test_who_is_in_a_life_that_is_over_is_not_followed",
    ),
    Mutant(
        "takes what a replaced master said for what the new one has", "storage/losses.py",
        "if boundary is not None and newest > boundary[1]:", "if False:",
        "faults/losses/test_succession.py::test_two_masters_for_a_while",
    ),
    Mutant(
        "acknowledges a repetition that no replica has", "storage/redis/lua/append.lua",
        "and left > 0 then redis.pcall('PEXPIRE', key, left) end", "then end",
        "faults/losses/test_succession.py::test_a_repetition_is_not_acknowledged_either_while_no_replica_has_it",
    ),
    Mutant(
        "lets a ticket be used twice", "storage/redis/lua/spend.lua",
        "redis.call('DEL', KEYS[1])", "",
        "behaviour/access/test_auth.py::test_twenty_races_for_one_ticket_leave_one_stream",
    ),
    Mutant(
        "takes any ticket's proof for this one's", "storage/tickets.py",
        "proven == digest.encode()", "proven is not None",
        "behaviour/access/test_tickets.py::test_only_the_proof_itself_is_one",
    ),
    Mutant(
        "takes a proof that stood in a URL", "storage/tickets.py",
        "self._keys.proof(hashed(proof)) for proof in proofs", '"" for proof in proofs',
        "behaviour/access/test_tickets.py::test_a_proof_that_stood_in_a_url_is_dead",
    ),
    Mutant(
        "begins a repeated request after what the first one had", "storage/tickets.py",
        "EventId.from_redis(cursor) if cursor and not evidence.last_event_id else None", "None",
        "behaviour/access/test_takeover.py::test_a_repeat_takes_the_stream_over",
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
        "moves a position back", "storage/redis/lua/advance.lua",
        "if type(had) ~= 'string' or after(ARGV[1 + i], had) then", "if true then",
        "behaviour/streams/test_events.py::test_manual_acknowledgement",
    ),
    Mutant(
        "takes ids from the wall clock", "storage/redis/lua/append.lua",
        "local done, id = pcall(draw, KEYS[1], KEYS[2])",
        "local done, t = pcall(draw, KEYS[1], KEYS[2]), redis.call('TIME') "
        "local id = string.format('%d%03d-0', t[1], t[2] / 1000)",
        "behaviour/publishing/test_publish.py::test_ids_rise_over_all_channels",
    ),
    Mutant(
        "forgets the cap on a user's connections", "storage/redis/lua/enter.lua",
        "local over = total > tonumber(ARGV[3])", "local over = false",
        "behaviour/streams/test_cap.py::test_the_oldest_gives_way_to_the_newest",
    ),
    Mutant(
        "has the default's names for every service", "storage/redis/keys.py",
        'f"{prefix}{{{self.tag}}}:"', 'f"pushsvc{{{self.tag}}}:"',
        "behaviour/redis/test_prefix.py::test_events",
    ),
    Mutant(
        "lets who has given way do so once more", "storage/presence.py",
        "                self._store.send(command)\n", "                pass\n",
        "behaviour/streams/test_cap.py::test_who_has_given_way_does_not_once_more",
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
        "makes a name in a script", "storage/redis/lua/enter.lua",
        "keys[worker] and redis.call('EXISTS', keys[worker]) == 0",
        "redis.call('EXISTS', 'pushsvc{0}:worker:' .. worker) == 0",
        "behaviour/redis/test_declared_names.py::test_streams_of_a_worker_that_is_gone",
    ),
    Mutant(
        "sends large values with everybody's", "storage/redis/pipeline.py",
        "if large and self._apart is not None:", "if False:",
        "behaviour/redis/test_large_values.py::test_nobody_else_notices",
    ),
    Mutant(
        "says of an answer that Redis lost that it was cancelled", "llm/generations.py",
        "generation.end(CANCELLED if state else DATA_LOST)", "generation.end(CANCELLED)",
        "faults/losses/test_lost_answers.py::test_redis_lost_its_data",
    ),
    Mutant(
        "delivers what is past its ttl", "storage/entries.py",
        "return self.deadline is None or self.deadline > now", "return True",
        "behaviour/publishing/test_publish.py::test_an_event_past_its_ttl_is_not_delivered_and_no_gap",
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
        "gives a request the answers to another", "storage/redis/pipeline.py",
        "            at += request.commands", "            at += 0",
        "faults/losses/test_data_safety.py::test_cancelled_requests_leave_no_answer_to_others",
    ),
    Mutant(
        "writes what an answer says a second time", "storage/redis/lua/say.lua",
        "and tonumber(record[2]) < number then", "then",
        "behaviour/answers/test_generation_endings.py::test_a_frozen_redis",
    ),
    Mutant(
        "shows an answer to whoever knows its id", "calls/listening.py",
        "    if record.user != identity.user and not identity.admin:\n        raise unknown(generation_id)\n", "",
        "behaviour/answers/test_generation_access.py::test_only_its_user_or_an_admin",
    ),
    Mutant(
        "does not end the answers of a worker that died", "llm/generations.py",
        "for worker in silent & self._suspects:", "for worker in ():",
        "behaviour/answers/test_generation_endings.py::test_a_worker_that_is_killed",
    ),
    Mutant(
        "takes a password's ? for the query", "addresses/redis_address.py",
        "        or holds_at_sign(query)\n", "",
        "unit/addresses/test_bad_addresses.py::test_of_a_password_that_is_not_encoded_nothing_is_repeated",
    ),
    Mutant(
        "hands on what a server repeats of AUTH", "storage/redis/topology/connecting.py",
        "        if text.startswith(_OWN_WORDS):", "        if text:",
        "faults/failover/test_sentinel_refusals.py::test_a_server_that_repeats_what_it_was_sent",
    ),
    Mutant(
        "reads the file with the password once", "storage/redis/topology/connecting.py",
        "        if self._file is not None:", "        if self._file is not None and not self._password:",
        "faults/redis/test_password_file.py::test_a_rotation_under_publishes",
    ),
    Mutant(
        "follows the links of the password's file when it starts", "config.py",
        "file and file.absolute()", "file and file.resolve()",
        "faults/redis/test_password_file.py::test_a_rotation_under_publishes",
    ),
    Mutant(
        "stays with the old master after a planned failover", "storage/redis/topology/sentinels.py",
        "            connection.abandon()", "            pass",
        "faults/failover/test_failover.py::test_what_was_acknowledged_is_there_and_nothing_comes_twice",
    ),
    Mutant(
        "publishes to the old master while another is made", "storage/redis/topology/sentinels.py",
        "        self._settled.clear()", "        pass",
        "faults/failover/test_failover.py::test_what_was_acknowledged_is_there_and_nothing_comes_twice",
    ),
    Mutant(
        "believes a sentinel that was asleep", "storage/redis/topology/sentinels.py",
        "            or said.epoch > known.epoch", "            or said.epoch != known.epoch",
        "faults/failover/test_failover.py::test_whose_word_counts",
    ),
    Mutant(
        "hears only the sentinels of the URL", "storage/redis/topology/sentinels.py",
        "            return found - {_address(each) for each in self.clients}", "            return set()",
        "faults/failover/test_failover.py::test_what_was_acknowledged_is_there_and_nothing_comes_twice -k one_sentinel",
    ),
    Mutant(
        "takes a receipt for one of the life that is known here", "storage/log.py",
        "answer[2] if len(answer) > 2 and answer[2] else self._store.fence.epochs.current",
        "self._store.fence.epochs.current",
        "faults/redis/test_introduction.py::test_a_receipt_is_of_the_life_in_which_the_data_has_the_event",
    ),
]  # fmt: skip
