"""The broker's care for keys: watches the allow-list, tells members of it, enrols the invited.

Rules: the file is the truth; what changes there is in force within `LOOK_S`. A list that cannot be
read leaves the one before in force, and is reported. Writing happens off the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import structlog

from denoagents.cluster import messages
from denoagents.errors import (
    ConfigurationError,
    JoinRefusedError,
    NotAllowedError,
    ProtocolError,
    UsageError,
)
from denoagents.link.link import Link
from denoagents.security.allow_list import AllowList, Entry
from denoagents.security.folder import KeysFolder, open_keyring
from denoagents.security.key import check_name, is_key
from denoagents.security.roles import ENROL, check_serves, check_verb
from denoagents.security.settings import SecuritySettings

LOOK_S: Final = 0.25
Body = dict[str, Any]
Operate = Callable[[str, Body | None], Awaitable[Body]]
log = structlog.get_logger("denoagents.broker")


class Keykeeper:
    """Keeps the fleet's allow-list."""

    def __init__(self, settings: SecuritySettings, on_change: Callable[[], None]) -> None:
        self._folder, self._on_change = KeysFolder(Path(settings.folder)), on_change
        self._stamp = self._folder.stamp()
        self.keyring = open_keyring(settings, "broker")
        """None without keys: then everybody may do everything."""
        self._looked_s = 0.0
        self._complaint = ""

    # --- who is at the other end --------------------------------------------------------------

    def entry(self, link: Link) -> Entry | None:
        """The key that a link came with, if it is let in now."""
        return None if self.keyring is None else self.keyring.entry(link.user)

    def check_join(self, link: Link, join: messages.Join) -> None:
        """With keys, a member is who it was at the handshake, where its key was checked."""
        told = (link.peer.name, link.peer.role)
        if self.keyring is not None and (join.name, join.role) != told:
            raise ProtocolError("a join names another node than the handshake")

    def check_worker(self, link: Link, what: str) -> None:
        """With keys, raise `ProtocolError` unless a worker's key is at the other end."""
        if self.keyring is not None:
            try:
                check_serves(self.entry(link), what)
            except NotAllowedError as error:
                raise ProtocolError(str(error)) from None

    async def run(self, link: Link, request: messages.Operate, operate: Operate) -> Body:
        """Answer a request, if its key may ask it."""
        if self.keyring is not None:
            check_verb(self.entry(link), request.verb)
        if request.verb == ENROL:
            return await self._enrol(self.entry(link), request.body)
        return await operate(request.verb, request.body)

    def is_told(self, link: Link) -> bool:
        """Whether who is at the other end hears of the allow-list."""
        entry = self.entry(link)
        return entry is not None and entry.role != "invited"

    def published(self) -> messages.Keys:
        """The allow-list, for members."""
        allowed = AllowList() if self.keyring is None else self.keyring.allowed.published()
        return messages.Keys(entries=allowed.entries)

    # --- the list -----------------------------------------------------------------------------

    def look(self, now_s: float) -> None:
        """Take over what has changed in the file; called at every tick."""
        if self.keyring is None or now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        self._load()

    def _load(self) -> None:
        if self.keyring is None:
            return
        stamp = self._folder.stamp()
        if stamp == self._stamp:
            return
        try:
            allowed = self._folder.allowed()
        except ConfigurationError as error:
            if str(error) != self._complaint:
                log.error("keys.unreadable", reason=str(error), now="the list before goes on")  # noqa: TRY400
            self._complaint = str(error)
            return
        self._stamp, self._complaint = stamp, ""
        before = {one.public: one.name for one in self.keyring.allowed.entries}
        after = {one.public: one.name for one in allowed.entries}
        log.info(
            "keys.changed",
            allowed=sorted(after[key] for key in after.keys() - before.keys()),
            revoked=sorted(before[key] for key in before.keys() - after.keys()),
        )
        self.keyring.allowed = allowed
        self._on_change()

    async def _enrol(self, invitation: Entry | None, body: Body) -> Body:
        """`{"name", "public"}` of an invited process: its key takes the invitation's place."""
        name, public = body.get("name"), body.get("public")
        if invitation is None or not isinstance(name, str) or not is_key(public):
            raise UsageError("to enrol takes an invitation, a name and a public key")
        entry = Entry(str(public), check_name(name), invitation.grants)

        def decide(allowed: AllowList) -> AllowList:
            if allowed.get(invitation.public) is None:
                raise JoinRefusedError("the token was used already; ask for another one")
            owner = allowed.owner_of(entry.name)
            if owner is not None and owner.public != entry.public:
                raise JoinRefusedError(
                    f"the name {entry.name!r} belongs to the key {owner.name!r}; "
                    "choose another with --name"
                )
            return allowed.without(invitation.name).with_entry(entry)

        await asyncio.to_thread(self._folder.change, decide)
        asyncio.get_running_loop().call_soon(self._load)  # after the answer has left
        log.info("keys.enrolled", name=entry.name, role=entry.role)
        return {"name": entry.name, "role": entry.role, "public": entry.public}
