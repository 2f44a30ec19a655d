"""Do two workers of one group host the same actor types? Names the first difference; pure.

Rules: a signature is plain data (maps, lists, words). Two are compatible when they are equal, but
for `doc` texts, and except that one may have more parameters at the end of a method, if these have
defaults. A sender's worker and an owner may then be of either kind.
"""

from __future__ import annotations

from typing import Any

from denoagents.errors import nearest


def difference(ours: dict[str, dict[str, Any]], theirs: dict[str, dict[str, Any]]) -> str:
    """The first difference between the types of a group and those of a newcomer, or ""."""
    for name in sorted(ours.keys() - theirs.keys()):
        return f"it does not host the actor type {name!r}.{nearest(name, theirs)}"
    for name in sorted(theirs.keys() - ours.keys()):
        return f"it hosts the actor type {name!r}, which the group does not.{nearest(name, ours)}"
    for name in sorted(ours):
        found = _compare(ours[name], theirs[name], name)
        if found:
            return found
    return ""


def _compare(ours: Any, theirs: Any, path: str) -> str:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            if key not in theirs or key not in ours:
                here = "only in the group" if key in ours else "only in the newcomer"
                return f"{path}.{key} is {here}"
            found = _compare(ours[key], theirs[key], f"{path}.{key}")
            if found:
                return found
        return ""
    if isinstance(ours, list) and isinstance(theirs, list):
        return _compare_lists(ours, theirs, path)
    if ours == theirs or path.endswith(".doc"):
        return ""
    return f"{path} is {ours!r} in the group and {theirs!r} in the newcomer"


def _compare_lists(ours: list[Any], theirs: list[Any], path: str) -> str:
    for index, (left, right) in enumerate(zip(ours, theirs, strict=False)):
        found = _compare(left, right, f"{path}[{index}]")
        if found:
            return found
    longer = ours if len(ours) > len(theirs) else theirs
    extra = longer[min(len(ours), len(theirs)) :]
    if all(_has_default(item) for item in extra):
        return ""
    return f"{path} has {len(ours)} items in the group and {len(theirs)} in the newcomer"


def _has_default(item: Any) -> bool:
    return isinstance(item, dict) and bool(item.get("has_default") or "default" in item)
