"""Makes a key here, and has the broker put it on its allow-list, by an invitation."""

from __future__ import annotations

import secrets

from denoagents.errors import ConfigurationError, KeyRefusedError
from denoagents.node.node import Node
from denoagents.node.settings import NodeSettings
from denoagents.security.allow_list import Entry
from denoagents.security.folder import KeysFolder
from denoagents.security.key import SUFFIX, Key
from denoagents.security.settings import SecuritySettings
from denoagents.security.token import Token


async def enrol(token: Token, folder: KeysFolder, name: str, settings: NodeSettings) -> Key:
    """This machine's key in the token's fleet: the one it has, else a new one that is enrolled.

    Raises: `KeyRefusedError` when the token was used, revoked or has expired.
    """
    known = folder.allowed().broker
    if known is not None and known.public != token.broker_public:
        raise ConfigurationError(
            f"{folder.path} has the keys of another fleet (its broker's key is another one); "
            "name another folder with --keys"
        )
    if known is not None and (found := _enrolled(folder, token, name)) is not None:
        return found
    key = Key.make(name or f"{token.grants}{secrets.token_hex(3)}", token.grants)
    path = key.write(folder.path)
    try:
        await _ask(token, key, settings)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    if known is None:
        broker = Entry(token.broker_public, "broker", "broker")
        folder.change(lambda allowed: allowed.with_entry(broker))
    return key


def _enrolled(folder: KeysFolder, token: Token, name: str) -> Key | None:
    """The key that an earlier run has enrolled."""
    names = [name] if name else folder.names()
    for one in names:
        if (folder.path / (one + SUFFIX)).exists():
            key = folder.key(one)
            if key.role == token.grants:
                return key
    return None


async def _ask(token: Token, key: Key, settings: NodeSettings) -> None:
    node = Node(
        broker=token.broker,
        name=f"{token.name}-{key.name}",
        settings=NodeSettings(
            cluster_name=settings.cluster_name,
            cluster=settings.cluster,
            link=settings.link,
            security=SecuritySettings(token=token.encode()),
        ),
    )
    try:
        await node.start()
        await node.control("enrol", {"name": key.name, "public": key.public})
    except KeyRefusedError:
        raise KeyRefusedError(
            "the broker does not take this token: it was used, revoked, or has expired; "
            "ask for another: denoagents keys invite"
        ) from None
    finally:
        await node.close(drain=False)
