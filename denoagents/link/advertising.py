"""Where a node says that others find it, when that is not where it listens."""

from __future__ import annotations

from urllib.parse import urlsplit

from denoagents.errors import ConfigurationError

_WILDCARDS = {"0.0.0.0", "*", "::", ""}


def check_advertised(bind: str, advertise: str) -> None:
    """Raise when nobody could dial what would be told."""
    if advertise:
        parts = urlsplit(advertise)
        if parts.scheme != "tcp" or _host(advertise) in _WILDCARDS:
            raise ConfigurationError(
                f"{advertise!r} cannot be advertised; write tcp://HOST or tcp://HOST:PORT, "
                "as others reach it"
            )
    elif bind.startswith("tcp://") and _host(bind) in _WILDCARDS:
        raise ConfigurationError(
            f"{bind} listens everywhere, so others cannot be told where; "
            "say it: --advertise tcp://HOST:PORT"
        )


def advertised(real: str, advertise: str) -> str:
    """What others are told: `advertise`, with the real port if it names none."""
    if not advertise:
        return real
    host, _, port = advertise.removeprefix("tcp://").rpartition(":")
    if host and port.isdigit() and not host.endswith(":"):
        if int(port):
            return advertise
        advertise = f"tcp://{host}"
    return f"{advertise}:{real.rpartition(':')[2]}"


def _host(endpoint: str) -> str:
    rest = endpoint.removeprefix("tcp://")
    if rest.startswith("["):
        return rest[1:].partition("]")[0]
    host, colon, port = rest.rpartition(":")
    return host if colon and (port.isdigit() or port == "*") else rest
