"""The beating thread in real processes: the lease through death and freeze, turns that block."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from denoagents._native.clock import Clock
from denoagents._native.pulse import (
    ANSWERED,
    EVICTED,
    REFUSED,
    REPORT_SIZE,
    SILENT,
    UNKNOWN,
    Pulse,
    Watch,
)

HERE = Path(__file__).parent
MS = 1_000_000
TIMES = {"beat_ns": 100 * MS, "stop_after_ns": 800 * MS, "replace_after_ns": 1200 * MS}


def now_ns():
    return Clock().now_ns()


class Child:
    """A process of pulse_parts, spoken to by lines."""

    def __init__(self, stack, part, **arguments):
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "pulse_parts.py"), part, json.dumps(arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        )  # fmt: skip
        self.buffer = b""
        stack.callback(self.end)

    def send(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def read(self, key, timeout_s=20.0, where=None):
        """The next object with `key`; `where` says which."""
        until = time.monotonic() + timeout_s
        while True:
            while b"\n" in self.buffer:
                line, _, self.buffer = self.buffer.partition(b"\n")
                fields = json.loads(line)
                if key in fields and (where is None or where(fields)):
                    return fields
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise AssertionError(f"no {key} within {timeout_s} s")
            got = os.read(self.process.stdout.fileno(), 65536)
            if not got:
                raise AssertionError(f"ended: {self.process.stderr.read().decode()}")
            self.buffer += got

    def ask(self, line, key):
        self.send(line)
        return self.read(key)

    def leased(self, value, timeout_s=5.0):
        return self.read("leased", timeout_s, lambda fields: fields["leased"] is value)

    def stays(self, value, seconds):
        """The lease does not change for so long."""
        with pytest.raises(AssertionError, match="no leased"):
            self.leased(not value, seconds)

    def signal(self, number):
        self.process.send_signal(number)

    def finish(self):
        """Close its input, and return what it wrote to standard error."""
        self.process.stdin.close()
        self.process.wait(10)
        return self.process.stderr.read().decode()

    def end(self):
        self.process.kill()
        self.process.wait(10)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def broker(stack):
    child = Child(stack, "broker", port=0, replace_after_ns=TIMES["replace_after_ns"])
    child.endpoint = child.read("endpoint")["endpoint"]
    return child


def member_of(stack, endpoint, incarnation=4711, **settings):
    child = Child(
        stack, "member", endpoint=endpoint, incarnation=incarnation, **{**TIMES, **settings}
    )
    child.read("ready")
    return child


# --- the lease ------------------------------------------------------------------------------------


def test_answered_beats_keep_the_lease(stack, broker):
    member = member_of(stack, broker.endpoint)
    member.leased(True)
    member.stays(True, 1.2)
    told = member.ask("statistics", "statistics")
    assert told["broker"] == [77, 5]
    assert told["statistics"]["is_answered"]
    beat = broker.ask("beat", "beat")
    assert beat["beat"]["incarnation"] == 4711
    assert beat["beat"]["number"] == pytest.approx(beat["count"], abs=2)
    assert 8 <= beat["count"] <= 30
    assert beat["beat"]["tick_age_us"] < 500_000


def test_a_dead_broker_stops_nobody(stack, broker):
    member = member_of(stack, broker.endpoint)
    member.leased(True)
    broker.signal(signal.SIGKILL)
    member.stays(True, 1.6)
    assert member.ask("statistics", "statistics")["statistics"]["refused_probes"] >= 5


def test_a_frozen_broker_ends_the_lease_in_time_and_its_wake_renews_it(stack, broker):
    member = member_of(stack, broker.endpoint)
    member.leased(True)
    broker.signal(signal.SIGSTOP)
    frozen = time.monotonic()
    member.leased(False)
    assert 0.5 < time.monotonic() - frozen < 1.3
    broker.signal(signal.SIGCONT)
    member.read("flags", where=lambda fields: fields["flags"] & (ANSWERED | EVICTED))


def test_a_port_that_never_answers_gives_no_lease(stack):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        member = member_of(stack, f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        member.read("flags", where=lambda fields: fields["flags"] == SILENT)
        member.stays(False, 0.6)


def test_a_broker_that_hears_but_does_not_answer_ends_the_lease(stack, broker):
    member = member_of(stack, broker.endpoint)
    member.leased(True)
    broker.send("quiet")
    member.leased(False, 2.0)
    broker.send("ok")
    member.leased(True)


def test_a_frozen_member_wakes_without_a_lease_and_stays_without_when_evicted(stack, broker):
    member = member_of(stack, broker.endpoint)
    member.leased(True)
    member.signal(signal.SIGSTOP)
    time.sleep(1.5)
    member.signal(signal.SIGCONT)
    member.leased(False)
    member.send("statistics")
    while not member.read("statistics")["statistics"]["is_evicted"]:
        member.send("statistics")
    broker.signal(signal.SIGKILL)
    member.stays(False, 0.8)


def test_an_evicted_member_loses_its_lease_at_once_and_for_good(stack, broker):
    member = member_of(stack, broker.endpoint, stop_after_ns=10**10, replace_after_ns=2 * 10**10)
    member.leased(True)
    broker.send("evicted")
    member.leased(False, 2.0)
    broker.send("ok")
    member.stays(False, 0.5)


def test_a_shorter_freeze_shows_an_expired_lease_before_it_is_renewed(stack, broker):
    member = member_of(stack, broker.endpoint)
    member.leased(True)
    broker.send("quiet")  # so that nothing can renew it at once
    member.signal(signal.SIGSTOP)
    time.sleep(0.95)
    member.signal(signal.SIGCONT)
    member.leased(False)
    broker.send("ok")
    member.leased(True)


def test_a_member_frozen_while_its_broker_died_does_not_trust_the_silence(stack, broker):
    member = member_of(stack, broker.endpoint)
    member.leased(True)
    member.signal(signal.SIGSTOP)
    time.sleep(1.5)  # long enough for the broker to give its place away
    broker.signal(signal.SIGKILL)
    broker.process.wait(10)
    member.signal(signal.SIGCONT)
    member.read("leased", where=lambda fields: fields["flags"] & REFUSED and not fields["leased"])
    member.stays(False, 0.8)


def test_a_broker_that_comes_back_on_its_port_answers_again(stack, broker):
    member = member_of(stack, broker.endpoint)
    member.leased(True)
    broker.signal(signal.SIGKILL)
    broker.process.wait(10)
    member.read("flags", where=lambda fields: fields["flags"] & REFUSED)
    port = int(broker.endpoint.rpartition(":")[2])
    again = Child(stack, "broker", port=port, replace_after_ns=10**10)
    again.read("endpoint")
    member.read("flags", where=lambda fields: fields["flags"] == ANSWERED)
    member.stays(True, 0.9)


def test_a_broker_that_does_not_know_the_member_says_so_and_renews_nothing(stack, broker):
    broker.send("unknown")
    member = member_of(stack, broker.endpoint)
    member.read("flags", where=lambda fields: fields["flags"] & UNKNOWN)
    member.stays(False, 0.5)
    broker.send("ok")
    member.leased(True)


@pytest.mark.parametrize("mode", ["junk", "foreign", "future", "late"])
def test_answers_that_are_not_ours_or_later_than_stop_after_renew_nothing(stack, broker, mode):
    broker.send(mode)
    member = member_of(stack, broker.endpoint)
    member.stays(False, 1.2 if mode == "late" else 0.4)
    broker.send("ok")
    member.leased(True)


def test_a_loop_that_stopped_ticking_is_not_kept_alive(stack, broker):
    member = member_of(stack, broker.endpoint, block_limit_ns=500 * MS)
    member.leased(True)
    member.send("deaf")
    member.leased(False)
    beat = broker.ask("beat", "beat")["beat"]
    assert beat["tick_age_us"] > 500_000
    assert beat["flags"] & 1


# --- turns that hold the loop ---------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "has_stack"), [("spin", 1), ("sleep", 1), ("gil", 0)])
def test_a_turn_that_holds_the_loop_is_logged_once_while_it_does(stack, kind, has_stack):
    member = member_of(stack, None)
    member.send(f"hold {kind} 0.9")
    assert select.select([member.process.stderr], [], [], 1.0)[0], "not within a second"
    line = member.process.stderr.readline()
    member.read("held")  # it still held the loop when the line came
    fields = json.loads(line)
    assert (fields["actor"], fields["method"]) == ('Librarian/hea"pq', f"ask_{kind}")
    assert 100 <= fields["held_ms"] < 800
    assert ("pulse_parts.py" in fields["stack"]) is bool(has_stack)
    assert member.finish() == ""


def test_a_turn_that_ends_in_time_is_not_logged(stack):
    watched = member_of(stack, None)
    watched.send("hold sleep 0.05")
    watched.read("held")
    assert watched.finish() == ""


def test_a_loop_blocked_beyond_the_limit_ends_the_process_and_names_the_turn(stack):
    member = member_of(stack, None, block_limit_ns=700 * MS, ends_process=True)
    started = time.monotonic()
    member.send("hold gil 5")
    assert member.process.wait(4) == 70
    assert 0.6 < time.monotonic() - started < 3
    last = json.loads(member.process.stderr.read().splitlines()[-1])
    assert last["event"] == "loop_blocked_process_ends"
    assert (last["actor"], last["method"]) == ('Librarian/hea"pq', "ask_gil")


def test_a_frozen_process_is_not_taken_for_a_blocked_one(stack):
    member = member_of(stack, None, block_limit_ns=600 * MS, ends_process=True)
    member.signal(signal.SIGSTOP)
    time.sleep(0.9)
    member.signal(signal.SIGCONT)
    member.ask("statistics", "statistics")
    assert member.finish() == ""
    assert member.process.returncode == 0


def test_an_idle_pulse_costs_far_below_a_hundredth_of_a_core(stack, broker):
    pulse = Pulse(**TIMES)
    pulse.start(broker.endpoint, 5)
    try:
        before, started = time.process_time(), time.monotonic()
        time.sleep(1.0)
        share = (time.process_time() - before) / (time.monotonic() - started)
    finally:
        began = time.monotonic()
        pulse.stop()
    assert time.monotonic() - began < 0.5
    assert share < 0.006


def test_nested_turns_are_told_apart_and_each_tells_once():
    pulse = Pulse(turn_limit_ns=50 * MS)
    pulse.start(None)
    os.set_blocking(pulse.report_fd, False)
    try:
        for actor in ("Outer/1", "Inner/ü" + "x" * 200):
            pulse.watch.enter(actor, "wait", now_ns())
        assert [turn[1] for turn in pulse.watch.running()] == ["Outer/1", "Inner/ü" + "x" * 87]
        time.sleep(0.2)
        record = os.read(pulse.report_fd, 10 * REPORT_SIZE)
        assert len(record) == REPORT_SIZE
        step, held_ns, actor, method = pulse.read_report(record)
        assert (step, actor, method) == (2, "Inner/ü" + "x" * 87, "wait")
        assert 50 * MS < held_ns < 150 * MS
        assert pulse.close_report(step)
        assert not pulse.close_report(step)
        pulse.watch.leave()
        time.sleep(0.1)
        with pytest.raises(BlockingIOError):
            os.read(pulse.report_fd, REPORT_SIZE)
        pulse.watch.leave()
        pulse.watch.leave()
        assert pulse.watch.running() == []
    finally:
        pulse.stop()
    assert os.read(pulse.report_fd, 1) == b""


def test_more_nested_turns_than_are_kept_are_counted():
    watch = Watch()
    for depth in range(1, 13):
        watch.enter(f"Actor/{depth}", "wait", depth)
    assert [turn[1] for turn in watch.running()] == [f"Actor/{depth}" for depth in range(1, 9)]
    for _ in range(11):
        watch.leave()
    assert [turn[1:] for turn in watch.running()] == [("Actor/1", "wait", 1)]


def test_a_pulse_without_a_broker_has_a_lease_that_never_ends():
    pulse = Pulse()
    assert pulse.lease_until_ns == 0
    pulse.start(None)
    pulse.stop()
    assert pulse.lease_until_ns == 2**63 - 1


def test_a_pulse_starts_again_after_its_end(broker):
    pulse = Pulse(**TIMES)
    for incarnation in (8, 9):
        pulse.start(broker.endpoint, incarnation)
        until = time.monotonic() + 5
        while not pulse.tick() & ANSWERED and time.monotonic() < until:
            time.sleep(0.01)
        assert pulse.flags & ANSWERED
        with pytest.raises(RuntimeError, match="beats already"):
            pulse.start(broker.endpoint, incarnation)
        pulse.stop()


@pytest.mark.parametrize(
    "endpoint", ["ipc:///tmp/x", "tcp://:80", "tcp://h:0", "tcp://h:x", "h:1", ""]
)
def test_an_endpoint_that_is_none_is_refused(endpoint):
    with pytest.raises(ValueError, match="tcp://HOST:PORT"):
        Pulse().start(endpoint)
