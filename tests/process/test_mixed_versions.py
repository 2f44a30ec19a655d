"""Two versions of one app in one fleet: what was added works where it is; what differs is named."""

import asyncio

import pytest
from real_fleet import RealFleet, load, members, refs_on, settled

from denoagents.errors import UnknownMethodError

OLD = """
import os
from dataclasses import dataclass
from denoagents import Actor

@dataclass
class Step:
    size: int

class Counter(Actor):
    total: int = 0

    async def where(self) -> int:
        return os.getpid()

    async def add(self, n: int) -> int:
        self.total += n
        return self.total

    async def take(self, step: Step) -> Step:
        self.total += step.size
        return step
"""
NEW = (
    OLD.replace("total: int = 0", "total: int = 0\n    times: int = 0")
    .replace("n: int)", "n: int, by: int = 1)")
    .replace("+= n", "+= n * by")
    .replace("size: int", "size: int\n    why: str = 'new'")
    + "\n    async def double(self) -> int:\n        return 2 * self.total\n"
)


def written(folder, name, text):
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


@pytest.mark.asyncio
async def test_a_new_version_takes_over_from_the_old_one_worker_by_worker(tmp_path):
    old, new = written(tmp_path, "old_one", OLD), written(tmp_path, "new_one", NEW)
    other = written(tmp_path, "other", OLD.replace("n: int", "n: str"))
    third = written(tmp_path, "third", OLD.replace("size: int", "size: float"))
    app = load(new)
    with RealFleet(tmp_path, app=old, flags=()) as fleet:
        a = fleet.begin("a", "--group", "g")
        a.wait_for("joined")
        b = fleet.begin("b", "--group", "g", app=new)
        b.wait_for("joined")
        async with fleet.client() as client:
            await settled(client, "a", "b")
            (here,) = await refs_on(client, app.Counter, a, 1, "k")
            (there,) = await refs_on(client, app.Counter, b, 1, "k")
            assert [await here.add(3), await there.add(3)] == [3, 3]
            assert await there.double() == 6
            with pytest.raises(UnknownMethodError, match="double"):
                await here.double()

            refused = fleet.begin("c", "--group", "g", app=other)
            assert await refused.ended(20) == 5
            assert "Counter.methods.add.parameters[0].type is 'int' in the group" in refused.log
            refused = fleet.begin("d", "--group", "g", app=third)
            assert await refused.ended(20) == 5
            assert "Counter.types.Step.size.type is 'int' in the group" in refused.log
            for ref in (here, there):  # a field that one version does not know is no obstacle
                assert (await ref.take(app.Step(0, "now"))).size == 0

            asking = [asyncio.create_task(here.add(1)) for _ in range(20)]
            await client.control("drain", {"name": "a"})
            await asyncio.gather(*asking)
            assert await a.ended() == 0
            assert await here.double() == 46, "it moved to the new version with its state"
            assert await here.add(1, by=10) == 33
            assert set(await members(client)) >= {"b"}
