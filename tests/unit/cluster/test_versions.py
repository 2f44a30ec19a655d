"""How far a joiner's word can push the numbers of placement versions."""

import pytest
from unit.cluster.fleets import Script

from denoagents.cluster import messages as m
from denoagents.cluster.messages import MAX_VERSION
from denoagents.cluster.versions import MAX_LEAP


@pytest.fixture
def one():
    script = Script()
    script.join("a", 1)
    script.calm()
    return script


def test_a_joiner_that_knows_a_version_far_ahead_is_refused(one):
    version = one.fleet.version
    one.join("b", 2, version=version + MAX_LEAP + 1)
    assert "far beyond" in one.messages(m.Refused, to=2)[0].reason
    one.join("c", 3, version=version + MAX_LEAP)
    assert one.messages(m.Joined, to=3)
    one.calm()
    assert version + MAX_LEAP < one.fleet.version <= version + MAX_LEAP + 3


def test_a_member_that_says_so_later_is_not_believed(one):
    version = one.fleet.version
    one.join("a", 1, version=MAX_VERSION)
    one.calm()
    assert one.fleet.version == version


def test_a_broker_that_knows_nothing_leaves_numbers_above_what_it_is_told():
    script = Script()
    script.join("a", 1, version=MAX_VERSION)
    assert script.messages(m.Refused, to=1)
    script.join("b", 2, version=MAX_VERSION - MAX_LEAP)
    assert script.messages(m.Joined, to=2)
    script.wait(5, beating=(2,))
    assert MAX_VERSION - MAX_LEAP < script.fleet.version < MAX_VERSION
