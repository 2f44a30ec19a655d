"""Each planted anomaly is found, under the rule that it breaks, and nothing else is."""

import json

import msgspec
import pytest

from denoagents.testing import checker
from denoagents.testing.checker import Bars, check
from denoagents.testing.history import (
    Begin,
    End,
    Fault,
    Handle,
    History,
    Invoke,
    Over,
    Plan,
    Read,
    Result,
    add_to_runs,
    numbers_of,
)

S = 1_000_000_000
WRITERS = {"client": 1, "a": 2, "b": 3}


class Planted:
    """Files of a client and two workers, with times in seconds."""

    def __init__(self, folder):
        self.folder = folder
        self.lines = {name: [Begin(0, name, pid)] for name, pid in WRITERS.items()}
        self.now = 1.0

    def at(self):
        self.now += 0.01
        return round(self.now * S)

    def send(self, number, promise="plain", ending="ok", why="", is_ask=True, actor="X/1"):
        self.lines["client"].append(Invoke(self.at(), "c", actor, number, promise, is_ask))
        if ending:
            self.lines["client"].append(Result(self.at(), "c", actor, number, ending, why))

    def run(self, number, worker="a", fence=0, actor="X/1"):
        self.lines[worker].append(Handle(self.at(), "c", actor, number, fence))

    def note(self, record):
        self.lines["client"].append(record)

    def verdict(self, bars=None, ended=("client", "a", "b")):
        for name, lines in self.lines.items():
            text = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
            if name in ended:
                text += msgspec.json.encode(End(self.at())) + b"\n"
            (self.folder / f"{name}.jsonl").write_bytes(text)
        return check(self.folder, bars)


@pytest.fixture
def run(tmp_path):
    return Planted(tmp_path)


def broken(verdict):
    return dict(verdict.violations)


def test_a_run_without_faults_holds(run):
    for number in range(1, 11):
        run.run(number, fence=7)
        run.send(number)
    verdict = run.verdict()
    assert verdict.is_good, str(verdict)
    assert (verdict.operations, verdict.turns) == (10, 10)
    assert verdict.outcomes == {"plain ask": {"ok": 10}}
    assert str(verdict).startswith("holds: 10 operations")


@pytest.mark.parametrize(
    ("promise", "is_ask"), [("plain", True), ("reliable", True), ("reliable", False)]
)
def test_what_was_acknowledged_and_never_ran_is_a_loss(run, promise, is_ask):
    run.send(1, promise, is_ask=is_ask)
    assert broken(run.verdict()) == {"what was acknowledged is there": 1}


def test_a_plain_tell_may_die_with_a_process_and_only_then(run):
    run.send(1, is_ask=False)
    run.note(Over(run.at(), 2))
    verdict = run.verdict()
    assert verdict.is_good
    assert verdict.lost_tells == 1
    run.now += 10
    run.send(2, is_ask=False)
    assert broken(run.verdict()) == {"what was acknowledged is there": 1}


def test_a_plain_tell_that_a_later_one_overtook_before_the_death_is_a_loss(run):
    run.send(1, is_ask=False)
    run.send(2, is_ask=False)
    run.run(2)
    run.note(Over(run.at(), 2))
    assert broken(run.verdict()) == {"what was acknowledged is there": 1}


def test_a_durable_effect_that_is_not_in_the_state_is_a_loss(run):
    for number in (1, 2, 3):
        run.run(number)
        run.send(number, "durable")
    run.note(Read(run.at(), "c", "X/1", [(1, 1), (3, 3)]))
    assert broken(run.verdict()) == {"what was acknowledged is there": 1}


def test_a_durable_effect_that_is_there_twice_is_a_duplicate(run):
    for number in (1, 2):
        run.run(number)
        run.run(number)  # an attempt whose commit failed is no effect
        run.send(number, "durable")
    run.note(Read(run.at(), "c", "X/1", [(1, 2), (2, 2)]))
    verdict = run.verdict()
    assert broken(verdict) == {"nothing runs twice": 1}
    assert verdict.attempts == 2


def test_a_durable_state_out_of_order_is_told(run):
    for number in (1, 2, 3):
        run.send(number, "durable")
    run.note(Read(run.at(), "c", "X/1", [(1, 1), (3, 3), (2, 2)]))
    assert broken(run.verdict()) == {"each pair keeps its order": 1}


def test_a_durable_actor_whose_state_nobody_read_proves_nothing(run):
    run.send(1, "durable")
    assert broken(run.verdict()) == {"durable states are read": 1}


def test_what_was_refused_must_not_run(run):
    run.run(1)
    run.send(1, ending="fail", why="overloaded")
    verdict = run.verdict()
    assert broken(verdict) == {"what was refused never ran": 1}
    assert verdict.outcomes == {"plain ask": {"fail: overloaded": 1}}


def test_an_unknown_outcome_is_counted_whether_it_ran_or_not(run):
    run.run(1)
    run.send(1, ending="unknown", why="outcome_unknown")
    run.send(2, ending="unknown", why="timeout")
    verdict = run.verdict()
    assert verdict.is_good
    assert (verdict.unknown, verdict.unknown_that_ran) == (2, 1)


def test_a_plain_message_runs_once(run):
    run.run(1)
    run.run(1, "b")
    run.send(1)
    assert broken(run.verdict()) == {"nothing runs twice": 1}


def test_a_reliable_message_may_run_again_after_a_death_and_is_counted(run):
    run.run(1)
    run.run(2)
    run.note(Over(run.at(), 2))
    run.run(1, "b")
    run.run(2, "b")
    for number in (1, 2):
        run.send(number, "reliable")
    verdict = run.verdict()
    assert verdict.is_good, str(verdict)
    assert verdict.repeats == 2


def test_a_reliable_message_does_not_run_again_while_its_worker_lives(run):
    run.run(1)
    run.run(1, "b")
    run.send(1, "reliable")
    assert broken(run.verdict()) == {"nothing runs twice": 1}


def test_a_swapped_pair_of_messages_is_found(run):
    for number in (1, 3, 2):
        run.run(number)
    for number in (1, 2, 3):
        run.send(number)
    assert broken(run.verdict()) == {"each pair keeps its order": 1}


def test_repeats_keep_their_order_too(run):
    run.run(1)
    run.run(2)
    run.note(Over(run.at(), 2))
    run.run(2, "b")
    run.run(1, "b")
    for number in (1, 2):
        run.send(number, "reliable")
    assert broken(run.verdict()) == {"each pair keeps its order": 1}


def test_a_turn_without_a_message_is_found_unless_a_client_was_killed(run):
    run.run(1)
    run.run(2)
    run.send(2)
    assert broken(run.verdict()) == {"what ran was sent": 1}
    assert run.verdict(ended=("a", "b")).is_good, "a killed client may not have written its line"


def test_a_fence_that_goes_back_is_found(run):
    run.run(1, "a", fence=4)
    run.run(2, "b", fence=9)
    run.run(3, "a", fence=4)
    for number in (1, 2, 3):
        run.send(number)
    assert broken(run.verdict()) == {"fences never go back": 1}


def test_one_fence_in_two_lives_is_a_double_activation(run):
    run.run(1, "a", fence=4)
    run.run(2, "b", fence=4)
    for number in (1, 2):
        run.send(number)
    assert broken(run.verdict()) == {"one fence is one life": 1}


def test_a_zombies_turn_is_found(run):
    run.run(1)
    run.note(Over(run.at(), 2))
    run.run(2)
    for number in (1, 2):
        run.send(number)
    assert broken(run.verdict()) == {"a life that is over begins nothing": 1}


def test_the_next_life_of_the_same_process_is_not_the_zombie(run):
    run.note(Over(run.at(), 2))
    run.lines["again"] = [Begin(run.at(), "a", 2)]
    run.run(1, "again")
    run.send(1)
    assert run.verdict(ended=("client", "again")).is_good


def test_an_operation_without_an_ending_is_found_unless_its_client_was_killed(run):
    run.send(1, ending="")
    assert broken(run.verdict()) == {"every operation has an ending": 1}
    verdict = run.verdict(ended=())
    assert verdict.is_good
    assert verdict.unknown == 1


def test_two_endings_and_endings_of_nothing_are_found(run):
    run.run(1)
    run.send(1)
    run.note(Result(run.at(), "c", "X/1", 1, "unknown"))
    run.note(Result(run.at(), "c", "X/1", 9, "ok"))
    assert broken(run.verdict()) == {"histories are whole": 2}


def test_a_damaged_line_is_found_and_a_torn_last_one_is_counted(run):
    run.send(1, ending="unknown")
    run.verdict()
    path = run.folder / "a.jsonl"
    good = path.read_bytes()
    path.write_bytes(good[:-3])
    assert check(run.folder).torn == 1
    assert check(run.folder).is_good
    path.write_bytes(b"{rubbish}\n" + good)
    assert broken(check(run.folder)) == {"histories are whole": 1}


def test_fewer_faults_than_planned_prove_nothing(run):
    run.note(Plan(run.at(), "kill", 3, seed=5))
    run.note(Fault(run.at(), "kill", "a"))
    verdict = run.verdict()
    assert broken(verdict) == {"planned faults are made": 1}
    assert verdict.seeds == [5]


def test_recovery_counts_from_when_the_worker_stopped_answering(run):
    run.run(1)
    since = run.at()
    run.now += 2
    run.note(Over(run.at(), 2, since))
    run.now += 1
    run.run(2, "b")
    for number in (1, 2):
        run.send(number)
    verdict = run.verdict()
    assert verdict.is_good
    assert verdict.availability.recoveries == 1
    assert verdict.availability.recovery_max_s == pytest.approx(3.02, abs=0.005)
    assert verdict.availability.longest_gap_s == pytest.approx(3.03, abs=0.005)
    assert broken(run.verdict(Bars(recovery_p99_s=3.0))) == {"actors come back in time": 1}
    assert broken(run.verdict(Bars(recovery_max_s=3.0))) == {"actors come back in time": 1}
    assert broken(run.verdict(Bars(operations=3))) == {"there was load": 1}


def test_the_command_prints_its_verdict(run, capsys):
    run.send(1)
    run.verdict()
    assert checker.main([str(run.folder)]) == 1
    assert capsys.readouterr().out.startswith("BROKEN: 1 operations")
    assert checker.main([str(run.folder), "-o", "json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["violations"] == {"what was acknowledged is there": 1}
    assert told["is_good"] is False


def test_a_folder_without_histories_is_told(tmp_path):
    with pytest.raises(SystemExit) as caught:
        checker.main([str(tmp_path)])
    assert caught.value.code == 2


def test_a_history_is_written_and_read(tmp_path):
    with History(tmp_path, "client") as history:
        for _ in range(3):
            number = history.next_number("c", "X/1")
            history.invoke("c", "X/1", number, "plain", is_ask=True)
            history.end("c", "X/1", number, "ok")
        with History(tmp_path, "worker", is_kill_safe=True) as worker:
            for number in (1, 2, 3):
                worker.handle("c", "X/1", number)
            assert worker.path.read_bytes().count(b"\n") == 4, "each line at once"
    verdict = check(tmp_path)
    assert verdict.is_good
    assert verdict.operations == 3


def test_runs_keep_what_is_doubled_and_out_of_order():
    runs = []
    numbers = [1, 2, 3, 3, 5, 4, 5]
    for number in numbers:
        add_to_runs(runs, number)
    assert numbers_of(runs) == numbers
