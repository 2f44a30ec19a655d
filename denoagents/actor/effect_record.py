"""Keeps the intent of each effect before it runs, and its result, among its actor's rows."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from denoagents._native.runtime import Cell
from denoagents.actor.durable_life import Life
from denoagents.actor.effect import Effect, EffectToken
from denoagents.durability import Commit
from denoagents.durability import Effect as Row
from denoagents.errors import StoreError, UsageError


class Keeper(Protocol):
    """The durable actors of a node."""

    lives: dict[str, Life]

    async def write(self, cell: Cell, life: Life, commit: Commit) -> None:
        """Hand `commit` to the store, and wait as the actor's mode says."""

    def hold(self, cell: Cell, error: StoreError) -> None:
        """The store failed: the actor is claimed again, a little later."""


class EffectRecord:
    """What durable turns of one node did outside."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    async def run(
        self, cell: Cell, effect: Effect[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run an effect of the running turn once, and return its recorded result from then on."""
        life = self._keeper.lives[cell.address]
        draft = life.draft
        if draft is None or not draft.stream:
            return await effect.function(*args, **kwargs)
        index = draft.next_effect()
        key = (draft.stream, draft.number, index)
        token = EffectToken(f"{draft.stream:016x}-{draft.number}-{index}", life.fence)
        arguments = effect.encode_arguments(args, kwargs)
        row = life.effects.get(key)
        if row is None:
            row = Row(*key, effect.name, arguments, life.fence)
            await self._keep(cell, life, row)
            result = await effect.run(token, args, kwargs)
        elif (row.name, row.arguments) != (effect.name, arguments):
            raise UsageError(
                f"{cell.address} called {effect.name} where the interrupted turn had called "
                f"{row.name} (or with other arguments); a turn with effects must be repeatable"
            )
        elif row.result is not None:
            return effect.decode_result(row.result)
        else:
            result = await effect.reconcile(token, args, kwargs)
        payload = effect.encode_result(result)
        await self._keep(cell, life, msgspec.structs.replace(row, result=payload))
        return result

    async def _keep(self, cell: Cell, life: Life, row: Row) -> None:
        try:
            await self._keeper.write(cell, life, life.add_effect(row))
        except StoreError as error:
            self._keeper.hold(cell, error)
            raise
