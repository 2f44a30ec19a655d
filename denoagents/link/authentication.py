"""The answers to libzmq's question who may come in (ZAP), for all sockets of a context.

Rules: on the loop. Only CURVE, only listed keys; the answer names the key, so that every packet
does, too. Sockets that listen enforce it: without these answers nobody comes in.
"""

from __future__ import annotations

import asyncio

import structlog

from denoagents._native.gate import Line, has_curve
from denoagents._native.socket import Context
from denoagents.errors import ConfigurationError
from denoagents.link.credentials import Credentials

_BURST = 32
_REQUEST_PARTS = 7
"""Version, number, domain, address, routing id, mechanism, and the caller's public key."""
_log = structlog.get_logger("denoagents.link")


class Authentication:
    """Answers until it is closed."""

    def __init__(self, context: Context, credentials: Credentials) -> None:
        """Raises `ConfigurationError` when it cannot answer: then nobody must listen."""
        self._credentials = credentials
        self.admitted = self.refused = 0
        if not has_curve():
            raise ConfigurationError(
                "this libzmq cannot encrypt (no CURVE); type: pip install --force-reinstall pyzmq"
            )
        try:
            self._line = Line.zap(context.address)
        except OSError as error:
            raise ConfigurationError(
                f"keys of callers cannot be checked ({error.strerror}), so nothing listens"
            ) from None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._line.fd, self.answer)
        self.answer()

    def answer(self) -> None:
        """Answer what waits; also called about once a second."""
        for _ in range(_BURST):
            request = self._line.receive()
            if request is None:
                if not self._line.has_more():
                    return
                continue
            self._line.send(self._decide(request))
        self._loop.call_soon(self.answer)

    def _decide(self, request: list[bytes]) -> list[bytes]:
        number = request[1] if len(request) > 1 else b""
        user = ""
        if len(request) == _REQUEST_PARTS and request[0] == b"1.0" and request[5] == b"CURVE":
            user = request[6].hex()
        if self._credentials.is_allowed(user):
            self.admitted += 1
            return [b"1.0", number, b"200", b"OK", user.encode(), b""]
        self.refused += 1
        if self.refused.bit_count() == 1:
            address = request[3].decode("ascii", "replace") if len(request) > 3 else ""
            _log.warning("key.refused", key=user, address=address, so_far=self.refused)
        return [b"1.0", number, b"400", b"not on the allow-list", b"", b""]

    def close(self) -> None:
        """Nobody is let in any more."""
        self._loop.remove_reader(self._line.fd)
        self._line.close()
