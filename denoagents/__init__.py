"""Fleets of agents as actors, on ZeroMQ. The public names, imported when first used."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from denoagents.actor.actor import Actor as Actor
    from denoagents.actor.declaration import idempotent as idempotent
    from denoagents.actor.declaration import reliable as reliable
    from denoagents.actor.declaration import uninterruptible as uninterruptible
    from denoagents.actor.durable import durable as durable
    from denoagents.actor.effect import RUN_AGAIN as RUN_AGAIN
    from denoagents.actor.effect import effect as effect
    from denoagents.actor.effect import effect_token as effect_token
    from denoagents.actor.reference import options as options
    from denoagents.actor.reference import tell as tell
    from denoagents.actor.supervision import Supervision as Supervision
    from denoagents.errors import DenoagentsError as DenoagentsError
    from denoagents.errors import OutcomeUnknownError as OutcomeUnknownError
    from denoagents.errors import Overloaded as Overloaded
    from denoagents.errors import RejectedError as RejectedError
    from denoagents.errors import RemoteError as RemoteError
    from denoagents.errors import RequestTimeoutError as RequestTimeoutError
    from denoagents.errors import StoreError as StoreError
    from denoagents.errors import UsageError as UsageError
    from denoagents.node.node import Node as Node
    from denoagents.node.settings import NodeSettings as NodeSettings

__version__ = "0.1.0"

_HOMES = {
    "Actor": "denoagents.actor.actor",
    "Node": "denoagents.node.node",
    "NodeSettings": "denoagents.node.settings",
    "Supervision": "denoagents.actor.supervision",
    "RUN_AGAIN": "denoagents.actor.effect",
    "durable": "denoagents.actor.durable",
    "effect": "denoagents.actor.effect",
    "effect_token": "denoagents.actor.effect",
    "idempotent": "denoagents.actor.declaration",
    "options": "denoagents.actor.reference",
    "reliable": "denoagents.actor.declaration",
    "tell": "denoagents.actor.reference",
    "uninterruptible": "denoagents.actor.declaration",
    "DenoagentsError": "denoagents.errors",
    "OutcomeUnknownError": "denoagents.errors",
    "Overloaded": "denoagents.errors",
    "RejectedError": "denoagents.errors",
    "RemoteError": "denoagents.errors",
    "RequestTimeoutError": "denoagents.errors",
    "StoreError": "denoagents.errors",
    "UsageError": "denoagents.errors",
}
"""Public name -> the module that defines it. A test holds it against the imports above."""

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
