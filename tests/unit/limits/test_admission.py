"""What a node sees of admission: tickets, wakes, refusals."""

import pytest

from denoagents.errors import Overloaded
from denoagents.limits import Admission, AdmissionSettings
from denoagents.units import Rate

MS = 10**6


@pytest.fixture
def admission():
    return Admission(AdmissionSettings(rate=Rate(1000), burst=2, max_waiting=3), 0)


def test_the_burst_goes_at_once_and_the_next_one_waits_for_its_token(admission):
    states = [admission.request(0, 1, 1000 * MS).state for _ in range(3)]
    assert states == ["granted", "granted", "waiting"]
    assert admission.next_wake_ns == MS
    assert admission.advance(MS - 1) == ([], [])
    assert [ticket.number for ticket in admission.advance(MS).granted] == [3]


def test_the_next_wake_is_a_deadline_if_that_comes_first(admission):
    tickets = [admission.request(0, 1, MS // 2) for _ in range(3)]
    assert admission.next_wake_ns == MS // 2
    assert admission.advance(MS // 2).expired == [tickets[2]]
    assert tickets[2].state == "expired"


def test_a_request_that_came_late_never_waits(admission):
    assert admission.request(10, 0, 10).state == "expired"


def test_the_caller_s_item_comes_back_with_its_grant(admission):
    for item in "abc":
        admission.request(0, 1, 1000 * MS, item)
    assert [ticket.item for ticket in admission.advance(MS).granted] == ["c"]


def test_a_cancelled_request_is_passed_over(admission):
    tickets = [admission.request(0, 1, 1000 * MS) for _ in range(4)]
    assert admission.cancel(tickets[2])
    assert admission.advance(MS).granted == [tickets[3]]
    assert not admission.cancel(tickets[3])


def test_a_full_queue_refuses_and_says_when_to_come_back(admission):
    for _ in range(5):
        admission.request(0, 2, 10_000 * MS)
    with pytest.raises(Overloaded, match="3 requests wait for admission already, the limit is 3"):
        admission.request(0, 2, 10_000 * MS)
    assert admission.statistics().refused == (0, 0, 1)


def test_one_that_waits_is_not_overtaken_by_a_newcomer(admission):
    for _ in range(3):
        admission.request(0, 1, 1000 * MS)
    assert admission.request(5 * MS, 1, 1000 * MS).state == "waiting"
    assert [ticket.number for ticket in admission.advance(5 * MS).granted] == [3, 4]


def test_its_repr_tells_its_state(admission):
    assert repr(admission) == "<Admission 1000/s waiting=0>"
    assert repr(admission.request(0, 1, MS)) == "<Ticket 1 priority=1 granted>"
