"""Groups with durable actors: one store for all workers, and versions above all its fences."""

import pytest
from unit.cluster.fleets import TYPES, Script

from denoagents.cluster import messages as m

KEPT = {"T": {**TYPES["T"], "durable": "disk"}}


@pytest.fixture
def script():
    made = Script()
    made.join("a", 1, types=KEPT, store="file-1", host="red")
    made.calm()
    return made


def test_a_worker_with_another_store_is_refused_with_the_remedy(script):
    for number, store in ((2, "file-2"), (3, "")):
        script.join(f"w{number}", number, types=KEPT, store=store)
        reason = script.messages(m.Refused, to=number)[0].reason
        assert "file-1" in reason
        assert "on red with the same --store PATH" in reason
    script.join("d", 4, types=KEPT, store="file-1")
    assert 4 in script.fleet.members


def test_without_durable_types_stores_do_not_matter():
    script = Script()
    script.join("a", 1, store="file-1")
    script.join("b", 2)
    assert set(script.fleet.members) == {1, 2}


def test_a_restarted_broker_remembers_the_stores(script):
    again = Script(stored=script.blob)
    again.join("b", 2, types=KEPT, store="file-2")
    assert again.messages(m.Refused, to=2)


def test_versions_are_above_the_fences_of_a_store_that_has_seen_more():
    script = Script()
    script.join("a", 1, types=KEPT, store="file-1", fence=5000)
    script.calm()
    placed = [one.record for one in script.messages(m.Published) if any(one.record.groups)]
    assert script.fleet.groups["g"].owners[1]
    assert all(record.version > 5000 for record in placed)
    assert script.fleet.version > 5000
