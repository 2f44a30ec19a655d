"""Damaged input at every decoder; tools/fuzz does the same, longer, under AddressSanitizer."""

import asyncio
import random

import fuzzing
import pytest

from denoagents.errors import ProtocolError
from denoagents.link import handshake


def test_every_decoder_takes_damaged_input_with_its_promised_errors_only():
    rows = asyncio.run(fuzzing.run(3000, seed=random.SystemRandom().randrange(1 << 30), names=()))
    assert len(rows) >= 13
    for row in rows:
        assert 0 < row["refused"] <= row["executions"], row


def test_a_decoder_that_lets_another_error_out_is_found():
    """As the handshake once did: bad UTF-8 is no `MsgspecError`."""
    good = handshake.encode(handshake.Hello(1, "c", "n", "worker", 5, 6, 7, 1 << 20))

    def read(data):
        try:
            return handshake.decode(handshake.Hello, data)
        except ProtocolError as error:
            raise (error.__context__ or error) from None

    planted = fuzzing.Decoder([good], read, (ProtocolError, fuzzing.msgspec.MsgspecError))
    with pytest.raises(fuzzing.FoundError, match="UnicodeDecodeError"):
        asyncio.run(fuzzing.fuzz("hello", planted, 5000, 1))
