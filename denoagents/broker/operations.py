"""What operators may ask of a broker: status, get, describe, types, set, drain, quarantine.

Rules: answers are plain values. What does not exist is `not_found`; what cannot be, is a
`UsageError` that names the nearest word. Nothing here changes the fleet but through `Fleet`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from denoagents.address import Address
from denoagents.broker.description import (
    describe_group,
    describe_member,
    describe_slot,
    describe_type,
)
from denoagents.broker.health import Prober
from denoagents.broker.quarantine import Quarantine
from denoagents.broker.requests import Requests
from denoagents.cluster import messages
from denoagents.cluster.fleet import Fleet
from denoagents.cluster.group import Group
from denoagents.cluster.member import Member
from denoagents.cluster.orders import Order
from denoagents.errors import NotFoundError, StoreError, UsageError, nearest

MAX_WEIGHT = 1000

Body = dict[str, Any]


class Process(Protocol):
    """What the operations need of the broker's process."""

    prober: Prober
    requests: Requests
    quarantine: Quarantine

    @property
    def fleet(self) -> Fleet:
        """The fleet."""

    def now_ns(self) -> int:
        """The broker's clock."""

    def carry_out(self, todo: list[Order]) -> None:
        """Do what the fleet says."""

    def facts(self) -> Body:
        """The broker itself, for `status`."""

    def events(self) -> list[Body]:
        """What happened last."""


class Operations:
    """The verbs, each with a body and an answer of plain values."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._verbs: dict[str, Callable[[Body], Awaitable[Body]]] = {
            "status": self.status,
            "get": self.get,
            "describe": self.describe,
            "types": self.types,
            "set": self.set,
            "drain": self.drain,
            "reaped": self.reaped,
            "quarantined": process.quarantine.listing,
            "quarantined_message": process.quarantine.show,
            "purge": process.quarantine.purge,
        }
        self._rows: dict[str, Callable[[], list[Body]]] = {
            "nodes": lambda: self._member_rows(None),
            "workers": lambda: self._member_rows("worker"),
            "clients": lambda: self._member_rows("client"),
            "groups": self._group_rows,
            "types": self._type_rows,
            "settings": self._setting_rows,
            "events": process.events,
        }

    async def run(self, verb: str, body: Body) -> Body:
        """Answer one request; raises typed errors."""
        known = self._verbs.get(verb)
        if known is None:
            raise UsageError(f"the broker has no verb {verb!r}.{nearest(verb, self._verbs)}")
        return await known(body)

    # --- looking ------------------------------------------------------------------------------

    async def status(self, body: Body) -> Body:
        """Everything: broker, members with their own statistics, groups, settings, last events."""
        process = self._process
        rows = self._member_rows(None)
        if body.get("statistics", True):
            asked = [
                member.incarnation
                for member in process.fleet.members.values()
                if member.detector.liveness(process.now_ns()) in ("alive", "starved")
            ]
            timeout_s = process.fleet.settings.report_timeout_s
            answers = await process.requests.ask_all(
                asked, lambda n: messages.Report(id=n), timeout_s
            )
            rows = self._member_rows(None)
            for row in rows:
                row["statistics"] = answers.get(row["incarnation"])
        return {
            "broker": process.facts(),
            "nodes": rows,
            "groups": self._group_rows(),
            "settings": process.fleet.wishes.values,
            "events": process.events()[-20:],
        }

    async def get(self, body: Body) -> Body:
        """`{"kind": …}` to `{"kind", "rows"}`."""
        kind = _text(body, "kind")
        plural = kind if kind in self._rows else kind + "s"
        if plural not in self._rows:
            raise UsageError(
                f"there are no {kind!r}; there are {', '.join(self._rows)}."
                f"{nearest(kind, self._rows)}"
            )
        return {"kind": plural, "rows": self._rows[plural]()}

    async def describe(self, body: Body) -> Body:
        """`{"kind", "name"}` of a node, group, type, pool or actor."""
        kind, name = _text(body, "kind"), _text(body, "name")
        if kind in ("node", "worker", "client"):
            return await self._describe_node(name)
        if kind == "group":
            return describe_group(self._process.fleet, self._group(name))
        if kind == "type":
            return describe_type(self._group_of_type(name), name)
        if kind == "pool":
            return {
                "name": name,
                "values": self._process.fleet.wishes.values.get(f"pool/{name}", {}),
            }
        if kind == "actor":
            return self._describe_actor(name)
        kinds = ("node", "group", "type", "pool", "actor")
        raise UsageError(
            f"there is no kind {kind!r}; there are {', '.join(kinds)}.{nearest(kind, kinds)}"
        )

    async def types(self, body: Body) -> Body:
        """All actor types with group and signature."""
        del body
        return {"types": {row["name"]: row for row in self._type_rows()}}

    async def _describe_node(self, name: str) -> Body:
        process = self._process
        member = self._member(name)
        incarnation = member.incarnation
        answers = await process.requests.ask_all(
            [incarnation], lambda n: messages.Report(id=n), process.fleet.settings.report_timeout_s
        )
        row = describe_member(process.fleet, member, process.prober, process.now_ns())
        return {**row, "statistics": answers.get(incarnation)}

    def _describe_actor(self, text: str) -> Body:
        address = Address.parse(text)
        group = self._group_of_type(address.type)
        slot = describe_slot(self._process.fleet, group, address.slot)
        return {"address": address.text, "type": address.type, **slot}

    # --- changing -----------------------------------------------------------------------------

    async def set(self, body: Body) -> Body:
        """`{"path": "pool/NAME", "values": {"weight.WORKER": 3}}`, or a worker's own weight."""
        process = self._process
        path, values = _text(body, "path"), body.get("values")
        if not isinstance(values, dict) or not values:
            raise UsageError("set needs values, such as weight.worker-1=3")
        kind, _, name = path.partition("/")
        if process.fleet.store_error:
            raise StoreError(f"the change cannot be kept: {process.fleet.store_error}")
        if kind == "pool" and name:
            checked = {key: _pool_value(key, value) for key, value in values.items()}
            process.carry_out(process.fleet.set_values(path, checked, process.now_ns()))
            warnings = self._unknown_workers(checked)
            found = {"path": path, "values": process.fleet.wishes.values.get(path, {})}
            return {**found, "warnings": warnings} if warnings else found
        if kind == "worker" and name:
            member = self._worker(name)
            weight = _worker_weight(values)
            process.carry_out(process.fleet.set_weight(member, weight, process.now_ns()))
            return {"path": path, "values": {"weight": weight}}
        raise UsageError(f"{path!r} cannot be set; pool/NAME and worker/NAME can")

    async def drain(self, body: Body) -> Body:
        """`{"name": …}`: the node hands over its actors and leaves."""
        process = self._process
        member = self._member(_text(body, "name"))
        process.carry_out(process.fleet.drain(member, "an operator drains it", process.now_ns()))
        return {"name": member.name, "incarnation": member.incarnation}

    async def reaped(self, body: Body) -> Body:
        """`{"incarnation": …}`: a parent saw the end of its child."""
        incarnation = body.get("incarnation")
        if not isinstance(incarnation, int):
            raise UsageError("reaped needs the incarnation of the process that ended")
        was_member = incarnation in self._process.fleet.members
        self._process.carry_out(self._process.fleet.reaped(incarnation, self._process.now_ns()))
        return {"was_member": was_member}

    # --- finding ------------------------------------------------------------------------------

    def _member(self, name: str) -> Member:
        fleet = self._process.fleet
        member = fleet.named(name)
        if member is None:
            names = [one.name for one in fleet.members.values()]
            raise NotFoundError(f"the fleet has no node {name!r}.{nearest(name, names)}")
        return member

    def _worker(self, name: str) -> Member:
        member = self._member(name)
        if member.role != "worker":
            raise UsageError(f"{name!r} is a {member.role}, not a worker")
        return member

    def _unknown_workers(self, weights: Mapping[str, Any]) -> list[str]:
        """A weight may come before its worker; it may also be a slip of the pen."""
        names = [one.name for one in self._process.fleet.workers()]
        meant = [key.partition(".")[2] for key, value in weights.items() if value is not None]
        return [
            f"the fleet has no worker {name!r} now.{nearest(name, names)}"
            for name in meant
            if name not in names
        ]

    def _group(self, name: str) -> Group:
        groups = self._process.fleet.groups
        if name not in groups:
            raise NotFoundError(f"the fleet has no group {name!r}.{nearest(name, groups)}")
        return groups[name]

    def _group_of_type(self, name: str) -> Group:
        groups = self._process.fleet.groups.values()
        for group in groups:
            if name in group.types:
                return group
        known = [one for group in groups for one in group.types]
        raise NotFoundError(f"no worker hosts the actor type {name!r}.{nearest(name, known)}")

    # --- rows ---------------------------------------------------------------------------------

    def _member_rows(self, role: str | None) -> list[Body]:
        process = self._process
        now_ns = process.now_ns()
        return [
            describe_member(process.fleet, member, process.prober, now_ns)
            for member in sorted(process.fleet.members.values(), key=lambda one: one.name)
            if role in (None, member.role)
        ]

    def _group_rows(self) -> list[Body]:
        fleet = self._process.fleet
        return [describe_group(fleet, group) for _, group in sorted(fleet.groups.items())]

    def _type_rows(self) -> list[Body]:
        return [
            describe_type(group, name)
            for _, group in sorted(self._process.fleet.groups.items())
            for name in sorted(group.types)
        ]

    def _setting_rows(self) -> list[Body]:
        values = self._process.fleet.wishes.values
        return [
            {"path": path, "name": name, "value": value}
            for path in sorted(values)
            for name, value in sorted(values[path].items())
        ]


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise UsageError(f"the request needs a text {key!r}")
    return value


def _pool_value(key: str, value: Any) -> Any:
    if value is None:
        return None
    word, _, worker = key.partition(".")
    if word != "weight" or not worker:
        raise UsageError(f"a pool has weight.WORKER, not {key!r}; its strategy is in the code")
    return _weight(key, value, least=0)


def _worker_weight(values: Mapping[str, Any]) -> int:
    if values.keys() != {"weight"}:
        raise UsageError(f"a worker has one setting, weight, not {', '.join(map(str, values))}")
    return _weight("weight", values["weight"], least=1)


def _weight(key: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_WEIGHT:
        raise UsageError(
            f"{key} must be a whole number from {least} to {MAX_WEIGHT}, got {value!r}"
        )
    return value
