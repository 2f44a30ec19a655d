"""The pytest fixture `sim`: plays a test's story with one seed or many, and says how to replay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from denoagents.node.settings import NodeSettings
from denoagents.testing.story import Ending, Story, simulate


class Simulator:
    """Call it with a story; every seed that the command line asks for is played."""

    def __init__(self, test: str, *, seed: int | None = None, count: int | None = None) -> None:
        """`seed` and `count` are those of the command line, which come first."""
        self._test, self._seed, self._count = test, seed, count
        self.endings: list[Ending] = []

    def __call__(
        self,
        story: Story,
        *,
        seeds: int | Sequence[int] = 1,
        settings: NodeSettings | None = None,
        **how: Any,
    ) -> Ending:
        """Play the story; `seeds` is how many, or which. Returns the last ending.

        `how` is passed on to `simulate`. What the story raises is raised, with the replay command.
        """
        for seed in self._chosen(seeds):
            replay = f"python -m pytest '{self._test}' --denoagents-seed {seed}"
            ending = simulate(story, seed=seed, settings=settings, replay=replay, **how)
            self.endings.append(ending)
            print(ending)  # noqa: T201 - pytest shows it when the test fails, or with -s
        return self.endings[-1]

    def _chosen(self, seeds: int | Sequence[int]) -> Sequence[int]:
        if self._seed is not None:
            return [self._seed]
        if self._count is not None:
            return range(self._count)
        return range(seeds) if isinstance(seeds, int) else seeds
