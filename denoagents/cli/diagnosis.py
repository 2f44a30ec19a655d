"""What a doctor finds in a fleet's status: the books of each node, both ends of each link; pure.

Rules: a check is `ok`, `failed` with what helps, or `skipped` with the reason. A link is compared
with its peer's end only when it is quiet at both and nothing has passed between two looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from denoagents.cli.fleet_report import findings

Verdict = Literal["ok", "failed", "skipped"]
Fields = Mapping[str, Any]
Session = tuple[int, int, int]
"""The dialer's incarnation, the session's number there, the acceptor's incarnation."""

MOST_LISTED: Final = 5


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was examined."""

    name: str
    verdict: Verdict
    detail: str
    remedy: str = ""


def examine(status: Fields, before: Fields) -> list[Check]:
    """The checks of a fleet, from its status and one a moment before."""
    return [_members(status), _books(status), _links(status, before), _findings(status)]


def _members(status: Fields) -> Check:
    silent = [node["name"] for node in status["nodes"] if node.get("statistics") is None]
    if silent:
        detail = f"no answer from {_listed(silent)}"
        return Check("members", "failed", detail, f"denoagents describe node {silent[0]}")
    return Check("members", "ok", f"{len(status['nodes'])} nodes answer")


def _books(status: Fields) -> Check:
    off = {
        node["name"]: node["statistics"]["accounting"]["off"]
        for node in status["nodes"]
        if node.get("statistics") is not None
    }
    wrong = [f"{name} by {amount}" for name, amount in off.items() if amount]
    if wrong:
        detail = f"off: {_listed(wrong)}; messages are not accounted for"
        return Check("accounting", "failed", detail, "denoagents status -o json")
    return Check("accounting", "ok", f"exact on {len(off)} nodes")


def _links(status: Fields, before: Fields) -> Check:
    now, then = dict(_ends(status)), dict(_ends(before))
    quiet, busy, wrong = 0, 0, []
    for key, (name, link) in now.items():
        session, is_dialer = key
        other = now.get((session, not is_dialer))
        if not is_dialer or other is None:
            continue
        both = ((key, link), ((session, False), other[1]))
        if any(one["retained_count"] or one != then.get(which, ("", {}))[1] for which, one in both):
            busy += 1
            continue
        quiet += 1
        peer_name, peer = other
        for who, mine, whom, its in ((name, link, peer_name, peer), (peer_name, peer, name, link)):
            if mine["batches_sent"] != its["batches_accepted"]:
                wrong.append(
                    f"{who} sent {mine['batches_sent']} batches, "
                    f"{whom} accepted {its['batches_accepted']}"
                )
    if wrong:
        return Check("links", "failed", _listed(wrong), "denoagents get links")
    if not quiet and busy:
        return Check("links", "skipped", f"all {busy} links between members are busy; try again")
    return Check("links", "ok", f"both ends agree on {quiet} links, {busy} are busy")


def _ends(status: Fields) -> Iterator[tuple[tuple[Session, bool], tuple[str, Fields]]]:
    """Each end of a link between members: (session, whether it dialed) to (node, statistics)."""
    for node in status["nodes"]:
        for link in (node.get("statistics") or {}).get("links", ()):
            here, there = node["incarnation"], link["incarnation"]
            dialer, acceptor = (here, there) if link["dialed"] else (there, here)
            session = dialer, link["session"], acceptor
            yield (session, link["dialed"]), (node["name"], link)


def _findings(status: Fields) -> Check:
    bad = [one for one in findings(status) if one.severity == "bad"]
    if bad:
        return Check("fleet", "failed", _listed([one.text for one in bad]), bad[0].command)
    return Check("fleet", "ok", "nothing is wrong; `denoagents status` shows the rest")


def _listed(texts: Iterable[str]) -> str:
    found = list(texts)
    more = f"; and {len(found) - MOST_LISTED} more" if len(found) > MOST_LISTED else ""
    return "; ".join(found[:MOST_LISTED]) + more
