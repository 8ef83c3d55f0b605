"""Bugs of what Redis keeps, and of how it is asked."""

from __future__ import annotations

from typing import Final

from tests.proofs.planted.mutant import Mutant

MUTANTS: Final = [
    Mutant(
        "delivers a repeated key again", "storage/redis/lua/log/once.lua",
        "  if type(first) == 'string' and first ~= '?' then", "  if false then",
        "behaviour/publishing/test_publish.py::test_a_repeated_key_answers_the_first_id_and_delivers_nothing",
    ),
    Mutant(
        "does not know of what it acknowledged itself", "storage/losses.py",
        "((epoch, through), *known.items())", "((epoch, through),)",
        "faults/losses/test_lives.py::test_what_was_acknowledged_here_counts_as_heard",
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
        "acknowledges a repetition that no replica has", "storage/redis/lua/log/once.lua",
        "and left > 0 then redis.pcall('PEXPIRE', key, left) end", "then end",
        "faults/losses/test_succession.py::test_a_repetition_is_not_acknowledged_either_while_no_replica_has_it",
    ),
    Mutant(
        "lets a ticket be used twice", "storage/redis/lua/tickets/spend.lua",
        "redis.call('DEL', KEYS[1])", "",
        "behaviour/access/test_auth.py::test_twenty_races_for_one_ticket_leave_one_stream",
    ),
    Mutant(
        "takes any ticket's proof for this one's", "storage/tickets/tickets.py",
        "proven == digest.encode()", "proven is not None",
        "behaviour/access/test_tickets.py::test_only_the_proof_itself_is_one",
    ),
    Mutant(
        "takes a proof that stood in a URL", "storage/tickets/tickets.py",
        "self._keys.proof(hashed(proof)) for proof in proofs", '"" for proof in proofs',
        "behaviour/access/test_tickets.py::test_a_proof_that_stood_in_a_url_is_dead",
    ),
    Mutant(
        "begins a repeated request after what the first one had", "storage/tickets/tickets.py",
        "EventId.from_redis(cursor) if cursor and not evidence.last_event_id else None", "None",
        "behaviour/access/test_takeover.py::test_a_repeat_takes_the_stream_over",
    ),
    Mutant(
        "moves a position back", "storage/redis/lua/log/advance.lua",
        "if type(had) ~= 'string' or after(ARGV[1 + i], had) then", "if true then",
        "behaviour/streams/test_events.py::test_manual_acknowledgement",
    ),
    Mutant(
        "takes ids from the wall clock", "storage/redis/lua/log/once.lua",
        "local done, id = pcall(draw, clock, epoch)",
        "local done, t = pcall(draw, clock, epoch), redis.call('TIME') "
        "local id = string.format('%d%03d-0', t[1], t[2] / 1000)",
        "behaviour/publishing/test_publish.py::test_ids_rise_over_all_channels",
    ),
    Mutant(
        "forgets the cap on a user's connections", "storage/redis/lua/counts/enter.lua",
        "local over = total > tonumber(ARGV[3])", "local over = false",
        "behaviour/streams/test_cap.py::test_the_oldest_gives_way_to_the_newest",
    ),
    Mutant(
        "has the default's names for every service", "storage/redis/keys.py",
        'f"{prefix}{{{self.tag}}}:"', 'f"pushsvc{{{self.tag}}}:"',
        "behaviour/redis/test_prefix.py::test_events",
    ),
    Mutant(
        "lets who has given way do so once more", "storage/counts/presence.py",
        "                self._store.send(command)\n", "                pass\n",
        "behaviour/streams/test_cap.py::test_who_has_given_way_does_not_once_more",
    ),
    Mutant(
        "makes a name in a script", "storage/redis/lua/counts/enter.lua",
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
        "delivers what is past its ttl", "storage/entries.py",
        "return self.deadline is None or self.deadline > now", "return True",
        "behaviour/publishing/test_publish.py::test_an_event_past_its_ttl_is_not_delivered_and_no_gap",
    ),
    Mutant(
        "gives a request the answers to another", "storage/redis/pipeline.py",
        "            at = end", "            at = 0",
        "faults/losses/test_data_safety.py::test_cancelled_requests_leave_no_answer_to_others",
    ),
    Mutant(
        "writes what an answer says a second time", "storage/redis/lua/answers/say.lua",
        "and tonumber(record[2]) < number then", "then",
        "behaviour/answers/test_generation_endings.py::test_a_frozen_redis",
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
