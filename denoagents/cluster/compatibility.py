"""Do two workers of one group host the same actor types? Names the first difference; pure.

Rules: a signature is plain data (maps, lists, words). A newcomer may add to an actor type: methods,
parameters at the end of a method, fields of the state and of the types in its messages, if these
have defaults, and values of enums; it lacks nothing that the group has, and all else is equal, but
for `doc` texts. Owners of both kinds then live side
by side: one without a method answers so until it is replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from denoagents.errors import nearest

Types = dict[str, dict[str, Any]]
"""Actor types by name, each with its signature."""


def difference(ours: Types, theirs: Types, *, may_lack: bool = False) -> str:
    """The first thing that keeps a newcomer's types out of a group, or "".

    With `may_lack` the newcomer may be the older of the two: it lacks what the group has added.
    """
    for name in sorted(ours.keys() - theirs.keys()):
        return f"it does not host the actor type {name!r}.{nearest(name, theirs)}"
    for name in sorted(theirs.keys() - ours.keys()):
        return f"it hosts the actor type {name!r}, which the group does not.{nearest(name, ours)}"
    for name in sorted(ours):
        for found in _type_differences(ours[name], theirs[name], name, may_lack):
            return found
    return ""


def _type_differences(
    ours: dict[str, Any], theirs: dict[str, Any], name: str, may_lack: bool
) -> Iterator[str]:
    yield from _map_differences(ours, theirs, name, {"methods", "state", "types"})
    our_methods, their_methods = _maps(ours.get("methods")), _maps(theirs.get("methods"))
    for method in sorted(our_methods):
        path = f"{name}.methods.{method}"
        if method in their_methods:
            yield from _method_differences(
                our_methods[method], their_methods[method], path, may_lack
            )
        elif not may_lack:
            yield f"{path} is only in the group"
    yield from _field_differences(
        _items(ours.get("state")), _items(theirs.get("state")), f"{name}.state", may_lack
    )
    our_types, their_types = _maps(ours.get("types")), _maps(theirs.get("types"))
    for one in sorted(our_types.keys() & their_types.keys()):
        path = f"{name}.types.{one}"
        yield from _carried_differences(our_types[one], their_types[one], path, may_lack)


def _method_differences(
    ours: dict[str, Any], theirs: dict[str, Any], path: str, may_lack: bool
) -> Iterator[str]:
    yield from _map_differences(ours, theirs, path, {"parameters"})
    path = f"{path}.parameters"
    left, right = _items(ours.get("parameters")), _items(theirs.get("parameters"))
    for index, (one, other) in enumerate(zip(left, right, strict=False)):
        yield from _map_differences(one, other, f"{path}[{index}]")
    common = min(len(left), len(right))
    added = all(map(_has_default, (left[common:] if may_lack else []) + right[common:]))
    if not added or (len(left) > common and not may_lack):
        yield f"{path} has {len(left)} items in the group and {len(right)} in the newcomer"


def _carried_differences(
    ours: dict[str, Any], theirs: dict[str, Any], path: str, may_lack: bool
) -> Iterator[str]:
    """A type that messages carry; one that only one side has belongs to what it added."""
    yield from _map_differences(ours, theirs, path, {"fields", "values"})
    left, right = _items(ours.get("fields")), _items(theirs.get("fields"))
    if ours.get("is_array") and left[: len(right)] != right[: len(left)]:
        yield f"{path} has its fields in another order, or of another kind, in the newcomer"
    yield from _field_differences(left, right, path, may_lack)
    if not may_lack:
        known = _words(theirs.get("values"))
        for value in _words(ours.get("values")):
            if value not in known:
                yield f"{path} has the value {value!r} only in the group"


def _field_differences(
    ours: list[dict[str, Any]], theirs: list[dict[str, Any]], path: str, may_lack: bool
) -> Iterator[str]:
    """Fields go by name, in any order."""
    left, right = ({str(one.get("name")): one for one in fields} for fields in (ours, theirs))
    for name in sorted(left.keys() | right.keys()):
        if name in left and name in right:
            yield from _map_differences(left[name], right[name], f"{path}.{name}")
        elif name in left and not (may_lack and _has_default(left[name])):
            yield f"{path}.{name} is only in the group"
        elif name in right and not _has_default(right[name]):
            yield f"{path}.{name} is only in the newcomer, and has no default"


def _map_differences(
    ours: dict[str, Any], theirs: dict[str, Any], path: str, but: set[str] | None = None
) -> Iterator[str]:
    for key in sorted((ours.keys() | theirs.keys()) - {"doc"} - (but or set())):
        if key not in theirs or key not in ours:
            here = "only in the group" if key in ours else "only in the newcomer"
            yield f"{path}.{key} is {here}"
        elif ours[key] != theirs[key]:
            yield f"{path}.{key} is {ours[key]!r} in the group and {theirs[key]!r} in the newcomer"


def _has_default(item: dict[str, Any]) -> bool:
    return bool(item.get("has_default") or "default" in item)


def _maps(value: Any) -> dict[str, dict[str, Any]]:
    """What a process says it hosts is checked here only: anything may come."""
    pairs = value.items() if isinstance(value, dict) else ()
    return {str(key): one for key, one in pairs if isinstance(one, dict)}


def _words(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _items(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
