"""Refs as users hold them: a class for each actor type, options, and one-way sends.

Rules: to editors and type checkers a ref is an instance of its actor class; at run time it is a
`Ref` whose methods make calls. A misspelt name fails at once.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Literal, ParamSpec, TypeVar, cast

from denoagents._native.call import MethodSlot, Ref
from denoagents._native.call import tell as send_one_way
from denoagents._native.router import Router
from denoagents.actor.actor import Actor
from denoagents.actor.declaration import ActorType
from denoagents.address import Address
from denoagents.envelope import Priority
from denoagents.errors import UsageError

A = TypeVar("A", bound=Actor)
T = TypeVar("T")
P = ParamSpec("P")

_PLAIN_KEY = re.compile(r"[^%/\x00-\x1f\x7f]{1,200}")

PriorityName = Literal["high", "normal", "low"]


def tell(
    method: Callable[P, Awaitable[object]], *args: P.args, **kwargs: P.kwargs
) -> Awaitable[None]:
    """Send one way, at once; the await waits only for credit. `method` is one of a ref."""
    return send_one_way(method, args, kwargs)


def options(
    ref: T,
    *,
    timeout_s: float | None = None,
    priority: PriorityName | None = None,
    reliable: bool | None = None,
    durability: Literal["os", "disk"] | None = None,
) -> T:
    """The same ref with another timeout (seconds) or priority for its requests.

    `reliable` says for them what `@reliable` says for a method. With `durability`, tells from
    outside of turns are kept by this node's store before the await returns (`os`: they survive the
    end of the process, `disk`: that of the machine), and sent again by the next node of its name.
    """
    if not isinstance(ref, Ref):
        raise UsageError(
            f"options takes a ref, as node.actor(...) gives it, not {type(ref).__name__}"
        )
    if timeout_s is not None and not 0 < timeout_s < 1e9:
        raise UsageError(f"timeout_s must be above 0, got {timeout_s}")
    timeout_ns = None if timeout_s is None else int(timeout_s * 1e9)
    kept = None if reliable is None else int(reliable)
    if durability is not None:
        if reliable is False or durability not in JOURNALED:
            raise UsageError(f"durability is os or disk, and reliable; got {durability!r}")
        kept = JOURNALED[durability]
    return cast(
        "T", Ref.with_options(ref, timeout_ns, None if priority is None else level(priority), kept)
    )


JOURNALED = {"os": 2, "disk": 3}
"""`Ref.reliable` of a ref whose tells are kept in the node's journal."""


def level(priority: str) -> int:
    """The number of a priority's name."""
    try:
        return Priority[priority.upper()].value
    except KeyError:
        raise UsageError(f"priority {priority!r} is unknown; use high, normal or low") from None


class Refs:
    """Makes the refs of one node, and carries refs in messages."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._types: dict[type, ActorType] = {}
        self._classes: dict[type, type[Ref]] = {}

    def type_of(self, cls: type) -> ActorType:
        """The declaration of an actor class, wired to this node."""
        declared = self._types.get(cls)
        if declared is None:
            declared = self._types[cls] = _declaration(cls).with_refs(self)
        return declared

    def host(self, cls: type) -> None:
        """Let actors of this class live in this process."""
        declared = self.type_of(cls)
        self._check_name(declared)
        self._router.types[declared.name] = declared

    def _check_name(self, declared: ActorType) -> None:
        other = self._router.types.get(declared.name)
        if other is not None and other.cls is not declared.cls:
            raise UsageError(
                f"two actor classes are called {declared.name}: in {other.cls.__module__} and in "
                f"{declared.cls.__module__}; give one a `type_name: ClassVar[str]`"
            )

    def ref(self, cls: type, address: str, chooser: Callable[..., Ref] | None = None) -> Ref:
        """A ref to the actor at `address`, with the methods of `cls`."""
        made = self._classes.get(cls) or self._ref_class(cls)
        return made(self._router, address, self.type_of(cls), 0, -1, chooser)

    def _ref_class(self, cls: type) -> type[Ref]:
        declared = self.type_of(cls)
        self._check_name(declared)
        # isinstance(ref, Counter) holds, as type checkers believe
        seen_as = property(lambda _: cls)
        slots = {name: MethodSlot(method) for name, method in declared.methods.items()}
        body = {"__slots__": (), "__class__": seen_as, **slots}
        made = self._classes[cls] = type(f"{declared.name}Ref", (Ref,), body)
        return made

    def root(self, cls: type, key: Any) -> Ref:
        """A ref to the root actor (type of `cls`, key)."""
        if not isinstance(key, str) or not key or key.startswith("~"):
            raise UsageError(
                f"an actor's key is a non-empty str that does not begin with ~, got {key!r}"
            )
        name = self.type_of(cls).name
        # most keys have nothing to escape: 0.2 µs instead of 2 (bench: spawn)
        text = f"{name}/{key}" if _PLAIN_KEY.fullmatch(key) else Address(name, key).text
        return self.ref(cls, text)

    def address_of(self, value: object) -> Address | None:
        """For the codec: the address of a ref, None for any other value."""
        return Address.parse(Ref.address.__get__(value)) if isinstance(value, Ref) else None

    def ref_to(self, cls: type, address: Address) -> Any:
        """For the codec: a ref as declared."""
        known = [
            made
            for made in self._types
            if issubclass(made, cls) and self._types[made].name == address.type
        ]
        if self.type_of(cls).name != address.type and not known and not address.path:
            raise ValueError(f"{address} is no {self.type_of(cls).name}")
        return self.ref(known[0] if known else cls, address.text)


def _declaration(cls: object) -> ActorType:
    declared = cls.__dict__.get("__denoagents_type__") if isinstance(cls, type) else None
    if not isinstance(declared, ActorType):
        raise UsageError(f"{cls!r} is no actor class; derive it from denoagents.Actor")
    return declared
