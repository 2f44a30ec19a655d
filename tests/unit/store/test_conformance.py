import contextlib

from denoagents.store.memory_state_store import MemoryStateStore
from denoagents.store.state_store import SqliteStateStore
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
