"""Actors: declaration, refs, supervision, streams."""

from denoagents.actor.actor import Actor
from denoagents.actor.declaration import idempotent, reliable, uninterruptible
from denoagents.actor.reference import options, tell
from denoagents.actor.supervision import Supervision

__all__ = [
    "Actor",
    "Supervision",
    "idempotent",
    "options",
    "reliable",
    "tell",
    "uninterruptible",
]
