"""The simulated store keeps what it acknowledged, and loses of the rest what a machine may lose."""

from random import Random

import pytest

from denoagents.durability import Commit
from denoagents.errors import FencedError, StoreFullError
from denoagents.testing.network import Network
from denoagents.testing.process import SimulatedProcess
from denoagents.testing.scheduler import Scheduler
from denoagents.testing.simulated_store import SimulatedDisk, SimulatedStore


class Machine:
    """A disk and processes that use it, one after the other."""

    def __init__(self, seed=1):
        self.scheduler = Scheduler(seed)
        self.disk = SimulatedDisk(Random(seed))
        self.begin()

    def begin(self):
        self.process = process = SimulatedProcess(self.scheduler, Network(1), "host")
        self.store = SimulatedStore(self.disk, self.scheduler.at, lambda: process.is_alive)
        self.run(self.store.open())

    def run(self, coroutine):
        return self.scheduler.run(coroutine, self.process.loop)

    def states(self, count):
        async def read():
            kept = [await self.store.claim(f"Account/{number}", 9) for number in range(count)]
            return [one is not None and one.state == b"new" for one in kept]

        return self.run(read())

    def write(self, count, mode, *, stop_after):
        """Commits, of which the process awaits some; then it is killed. How many were told."""

        async def work():
            for number in range(count):
                done = self.store.commit(Commit(f"Account/{number}", 1, state=b"new"), mode)
                if number < stop_after:
                    await done
                    self.told = number + 1

        self.told = 0
        with self.process.loop.entered():
            task = self.process.loop.create_task(work())
        self.scheduler.run_for(10.0, lambda: self.told == stop_after)
        self.scheduler.run_for(0.005)
        self.process.kill()
        self.scheduler.run_for(1.0)
        del task
        return self.told


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("mode", ["os", "disk"])
def test_a_killed_process_loses_no_acknowledged_commit(seed, mode):
    machine = Machine(seed)
    told = machine.write(20, mode, stop_after=8)
    machine.begin()
    states = machine.states(20)
    assert all(states[:told])
    assert states == sorted(states, reverse=True), "a prefix of what was asked for"


@pytest.mark.parametrize("seed", range(20))
def test_a_lost_machine_loses_no_commit_that_was_acknowledged_by_its_disk(seed):
    machine = Machine(seed)
    told = machine.write(20, "disk", stop_after=8)
    machine.disk.lose_power()
    machine.begin()
    assert all(machine.states(20)[:told])


def test_a_lost_machine_may_lose_what_only_the_system_had():
    lost = 0
    for seed in range(20):
        machine = Machine(seed)
        told = machine.write(20, "os", stop_after=8)
        machine.disk.lose_power()
        machine.begin()
        lost += not all(machine.states(20)[:told])
    assert lost > 5


def test_lower_fences_and_full_disks_are_refused():
    machine = Machine()

    async def story():
        await machine.store.claim("Account/0", 5)
        with pytest.raises(FencedError):
            await machine.store.commit(Commit("Account/0", 4, state=b"old"), "disk")
        machine.disk.is_full = True
        with pytest.raises(StoreFullError):
            await machine.store.commit(Commit("Account/0", 5, state=b"new"), "disk")
        machine.disk.is_full = False
        await machine.store.commit(Commit("Account/0", 5, state=b"new"), "disk")

    machine.run(story())
    assert machine.disk.fenced == 1
    assert machine.states(1) == [True]
