"""`denoagents keys`: make, list, allow, revoke keys, and invite processes of other machines."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from denoagents.cli.invocation import Invocation, broker_option, configured, output_option
from denoagents.errors import ConfigurationError, NotFoundError, UsageError, nearest

if TYPE_CHECKING:
    from denoagents.node.settings import NodeSettings
    from denoagents.security.allow_list import AllowList
    from denoagents.security.folder import KeysFolder
    from denoagents.security.settings import SecuritySettings

ROLES: Final = ("worker", "client", "operator", "broker")
role_option = click.option("--role", type=click.Choice(ROLES), default="worker", show_default=True)


@click.group("keys")
def command() -> None:
    """Make and list keys; the allow-list says who may come in, and as what.

    All of it happens in the keys folder (--keys; ./.denoagents/keys if none is set). A running
    broker sees a change of its folder's list at once, and tells the fleet.
    """


@command.command("new")
@click.argument("name")
@role_option
@output_option
@configured
def new(invocation: Invocation, *, name: str, role: str) -> None:
    """Make a key pair. Beside the broker's key it is on the allow-list at once."""
    from denoagents.security.allow_list import Entry
    from denoagents.security.key import Key, check_name

    folder = folder_of(invocation)
    taken = folder.allowed().named(check_name(name))
    if taken is not None and (folder.has_broker or role == "broker"):
        raise ConfigurationError(
            f"the name {name!r} is on the allow-list already; revoke it first, or choose another"
        )
    key = Key.make(name, role)  # type: ignore[arg-type]  # a choice of click's
    path = key.write(folder.path)
    is_allowed = role == "broker" or folder.has_broker
    if is_allowed:
        folder.change(lambda allowed: allowed.with_entry(Entry(key.public, name, key.role)))
    if invocation.as_json:
        _print(
            {
                "name": name,
                "role": role,
                "public": key.public,
                "file": str(path),
                "allowed": is_allowed,
            }
        )
        return
    click.echo(f"{path}\npublic key: {key.public}")
    if not is_allowed:
        click.echo(
            f"where the broker's key is, type: denoagents keys allow {name} {key.public} "
            f"--role {role}"
        )


@command.command("show")
@output_option
@configured
def show(invocation: Invocation) -> None:
    """List keys: those of this machine, those allowed, those revoked. Secrets are not shown."""
    folder = folder_of(invocation)
    listed = folder.listed()
    here = set(folder.names())
    rows = [
        (one.name, one.role, _state(one.expires_s), "yes" if one.name in here else "", one.public)
        for one in listed.keys
    ]
    rows += [(one.name, one.role, "revoked", "", one.public) for one in listed.revoked]
    known = {row[0] for row in rows}
    for name in sorted(here - known):
        key = folder.key(name)
        rows.append((name, key.role, "not allowed here", "yes", key.public))
    if invocation.as_json:
        words = ("name", "role", "state", "here", "public")
        _print([dict(zip(words, row, strict=True)) for row in rows])
        return
    from denoagents.cli.output import print_table

    print_table(("name", "role", "state", "secret here", "public key"), rows)


@command.command("allow")
@click.argument("name")
@click.argument("public")
@role_option
@output_option
@configured
def allow(invocation: Invocation, *, name: str, public: str, role: str) -> None:
    """Let in the key PUBLIC, as NAME. With `--role broker`: the broker that this machine trusts."""
    from denoagents.security.allow_list import Entry
    from denoagents.security.key import check_name, is_key

    if not is_key(public):
        raise UsageError(
            "a public key has 64 hexadecimal digits, as `denoagents keys new` prints it"
        )
    entry = Entry(public, check_name(name), role)  # type: ignore[arg-type]  # a choice of click's

    def decide(allowed: AllowList) -> AllowList:
        other = allowed.get(public)
        if other is not None and other.name != name:
            raise UsageError(f"this key is on the list already, as {other.name!r}")
        named = allowed.named(name)
        if named is not None and named.public != public:
            raise UsageError(
                f"{name!r} is the name of another key; type first: denoagents keys revoke {name}"
            )
        return allowed.with_entry(entry)

    folder_of(invocation).change(decide)
    _say(invocation, {"name": name, "role": role, "public": public}, f"{name} is let in as {role}")


@command.command("revoke")
@click.argument("name")
@output_option
@configured
def revoke(invocation: Invocation, *, name: str) -> None:
    """Let the key NAME in no more; its connections end within two seconds, everywhere."""
    folder = folder_of(invocation)

    def decide(allowed: AllowList) -> AllowList:
        if allowed.named(name) is None:
            names = [one.name for one in allowed.entries]
            raise NotFoundError(f"the allow-list has no key {name!r}.{nearest(name, names)}")
        return allowed.without(name)

    folder.change(decide)
    _say(invocation, {"name": name, "revoked": True}, f"{name} is revoked")


@command.command("invite")
@role_option
@click.option("--expires", default="1h", show_default=True, metavar="DURATION")
@output_option
@broker_option
@configured
def invite(invocation: Invocation, *, role: str, expires: str) -> None:
    """Print a TOKEN with which one process enrols itself: `denoagents worker APP --join TOKEN`.

    The token is a secret until it is used. It names the broker's address (--broker, or the key
    broker.address), which must be one that the other machine reaches.
    """
    from denoagents.link.advertising import check_advertised
    from denoagents.security.allow_list import Entry
    from denoagents.security.key import Key
    from denoagents.security.token import Token
    from denoagents.units import Duration

    folder = folder_of(invocation)
    broker = folder.allowed().broker
    if broker is None or not folder.has_broker:
        raise ConfigurationError(
            f"{folder.path} has no broker's key; invitations are made where the broker runs"
        )
    check_advertised("", invocation.broker)
    if role == "broker":
        raise UsageError("a broker cannot be invited; make its key: denoagents keys new")
    until_s = time.time() + float(Duration.parse(expires))
    key = Key.make(f"invite.{time.time_ns():x}", "invited")
    entry = Entry(key.public, key.name, "invited", until_s, role)  # type: ignore[arg-type]

    def decide(allowed: AllowList) -> AllowList:
        for one in allowed.entries:
            if 0 < one.expires_s <= time.time():
                allowed = allowed.without(one.name)
        return allowed.with_entry(entry)

    folder.change(decide)
    token = Token(invocation.broker, broker.public, key.name, key.secret, entry.grants, until_s)
    word = token.encode()
    facts = {"token": word, "role": role, "expires_s": until_s, "broker": invocation.broker}
    _say(invocation, facts, word)


@command.command("join")
@click.argument("token")
@click.option("--name", default="", metavar="NAME", help="The new key's name.")
@output_option
@configured
def join(invocation: Invocation, *, token: str, name: str) -> None:
    """Make a key here and enrol it by TOKEN; `worker --join` does this before it starts."""
    from denoagents.config.plan import to_node_settings

    broker, security = join_fleet(invocation, token, name, to_node_settings(invocation.config))
    facts: dict[str, object] = {"name": security.key, "broker": broker, "keys": security.folder}
    _say(invocation, facts, f"enrolled as {security.key}; from now on: --broker {broker}")


def join_fleet(
    invocation: Invocation, word: str, name: str, settings: NodeSettings
) -> tuple[str, SecuritySettings]:
    """Enrol by a token; returns the broker's address, and which key to use."""
    from denoagents.cli.enrolment import enrol
    from denoagents.cli.event_loop import run
    from denoagents.security.settings import SecuritySettings
    from denoagents.security.token import Token

    token, folder = Token.decode(word), folder_of(invocation)
    key = run(enrol(token, folder, name, settings), "asyncio")
    return token.broker, SecuritySettings(folder=str(folder.path), key=key.name)


def folder_of(invocation: Invocation) -> KeysFolder:
    """The keys folder of this invocation, there or not."""
    from denoagents.config.plan import KEYS_FOLDER
    from denoagents.security.folder import KeysFolder

    text = str(invocation.config["security.keys"])
    if text == "off":
        raise UsageError("security.keys is off; name a folder with --keys")
    return KeysFolder(Path(text) if text else KEYS_FOLDER)


def _state(expires_s: float) -> str:
    if not expires_s:
        return "allowed"
    left_s = expires_s - time.time()
    return f"for {left_s / 60:.0f} min" if left_s > 0 else "expired"


def _say(invocation: Invocation, facts: dict[str, object], words: str) -> None:
    if invocation.as_json:
        _print(facts)
    else:
        click.echo(words)


def _print(facts: object) -> None:
    from denoagents.cli.output import print_json

    print_json(facts)
