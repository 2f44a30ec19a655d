"""Errors of actors reach callers in other processes: typed, with the remote traceback as text."""

import pytest
from real_fleet import RealFleet, key_of, load, refs_on, settled

from denoagents.errors import CallCycleError, DenoagentsError, RemoteError

app = load()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    with RealFleet(tmp_path_factory.mktemp("errors")) as fleet:
        fleet.start("a", "b")
        yield fleet


@pytest.mark.asyncio
async def test_an_exception_comes_with_its_type_words_and_remote_traceback(fleet):
    async with fleet.client() as client:
        await settled(client, "a", "b")
        ref = client.actor(app.Faulty, "f")
        with pytest.raises(RemoteError, match="no such thing") as caught:
            await ref.fail_inside("no such thing")
        assert caught.value.type_name == "KeyError"
        text = caught.value.remote_traceback
        for part in ("proving.py", "in fail_inside", "in deeper", "raise KeyError(text)"):
            assert part in text
        assert "site-packages" not in text
        assert await ref.where(), "the actor lives on, with its state"


@pytest.mark.asyncio
async def test_an_error_passes_through_two_processes_unharmed(fleet):
    """The asker of the asker learns the first one's words, and where they come from."""
    async with fleet.client() as client:
        (first,) = await refs_on(client, app.Faulty, fleet.workers["a"], 1, "first")
        (other,) = await refs_on(client, app.Faulty, fleet.workers["b"], 1, "other")
        with pytest.raises(RemoteError, match="from the other one") as caught:
            await first.ask_faulty(key_of(other))
        assert caught.value.type_name == "ValueError"
        assert "raise ValueError(text)" in caught.value.remote_traceback


@pytest.mark.asyncio
async def test_an_error_of_ours_raised_by_an_actor_is_the_same_class_at_the_caller(fleet):
    async with fleet.client() as client:
        (relay,) = await refs_on(client, app.Relay, fleet.workers["a"], 1, "cycle")
        (other,) = await refs_on(client, app.Relay, fleet.workers["b"], 1, "cycle")
        keys = [key_of(one) for one in (other, relay)]
        with pytest.raises(CallCycleError) as caught:
            await relay.pass_on(keys, 0.0, "cycle")
        path = f"Relay/{keys[1]} -> Relay/{keys[0]} -> Relay/{keys[1]}"
        assert path in str(caught.value), "a deadlock between two processes names its path"


@pytest.mark.asyncio
async def test_an_exception_that_cannot_even_be_printed_still_arrives(fleet):
    async with fleet.client() as client:
        ref = client.actor(app.Faulty, "odd")
        with pytest.raises(DenoagentsError):
            await ref.fail_oddly()
        with pytest.raises(RemoteError) as caught:
            await ref.fail("x" * 5_000_000)
        assert len(caught.value.remote_traceback) < 20_000, "a bound on what travels"
        assert await ref.where()
