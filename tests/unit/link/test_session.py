"""A session numbers, keeps and acknowledges; everything else is somebody else's."""

import pytest

from denoagents.errors import ProtocolError
from denoagents.link.session import GapError, Session


def session_with(*counts):
    session = Session()
    for count in counts:
        session.retain(b"x" * count, count)
    return session


def test_batches_are_numbered_from_one():
    session = Session()
    assert [session.retain(b"x", 1).seq for _ in range(3)] == [1, 2, 3]


def test_a_batch_is_retained_until_it_is_acknowledged():
    session = session_with(2, 3, 4)
    assert session.acknowledge(2) == 5
    assert (session.retained_count, session.retained_bytes) == (4, 4)
    assert session.acknowledged_count == 5


def test_an_old_acknowledgement_frees_nothing():
    session = session_with(2, 3)
    session.acknowledge(2)
    assert session.acknowledge(1) == 0


def test_an_acknowledgement_of_what_was_never_sent_is_refused():
    session = session_with(1)
    with pytest.raises(ProtocolError, match="batch 2"):
        session.acknowledge(2)
    assert session.retained_count == 1


def test_the_next_batch_is_new_and_an_accepted_one_a_duplicate():
    session = Session()
    assert session.is_new(1)
    session.accept(1, 10)
    assert not session.is_new(1)
    assert session.duplicates == 1


def test_a_batch_too_early_is_a_gap():
    with pytest.raises(GapError, match="batch 2 came where 1 was due"):
        Session().is_new(2)


def test_what_is_accepted_is_owed_until_an_acknowledgement_leaves():
    session = Session()
    session.accept(1, 10)
    session.accept(2, 5)
    assert (session.owed, session.owed_bytes) == (2, 15)
    session.acknowledgement_left()
    assert (session.owed, session.owed_bytes) == (0, 0)


def test_a_duplicate_is_acknowledged_again():
    session = Session()
    session.accept(1, 10)
    session.acknowledgement_left()
    session.is_new(1)
    assert session.owed == 1


def test_after_a_reconnect_the_rest_is_sent_again_in_order():
    session = session_with(1, 1, 1)
    freed, batches = session.resume(1)
    assert freed == 1
    assert [batch.seq for batch in batches] == [2, 3]


def test_a_peer_that_forgot_what_it_accepted_is_refused():
    session = session_with(1, 1)
    session.acknowledge(2)
    with pytest.raises(ProtocolError):
        session.resume(1)
