import asyncio
import contextlib
from random import Random

from denoagents.store.memory_state_store import MemoryStateStore
from denoagents.store.state_store import SqliteStateStore
from denoagents.testing.simulated_store import SimulatedDisk, SimulatedStore
from denoagents.testing.store_conformance import StoreConformance


class TestSqlite(StoreConformance):
    @contextlib.asynccontextmanager
    async def place(self, tmp_path):
        yield lambda: SqliteStateStore(tmp_path / "actors.db")


class TestMemory(StoreConformance):
    @contextlib.asynccontextmanager
    async def place(self, tmp_path):
        store = MemoryStateStore()
        yield lambda: store


class TestSimulated(StoreConformance):
    @contextlib.asynccontextmanager
    async def place(self, tmp_path):
        disk = SimulatedDisk(Random(1), longest_s=0.001)

        def later(delay_s, action):
            asyncio.get_running_loop().call_later(delay_s, action)

        yield lambda: SimulatedStore(disk, later)
