"""Compression of bodies: algorithms by name and by their number in a packet's flags."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

import lz4.block

from denoagents.errors import ProtocolError
from denoagents.link.settings import Algorithm

NUMBERS: Final[dict[Algorithm, int]] = {"none": 0, "lz4": 1, "gzip": 2}
FLAGS_MASK: Final = 0x03
"""The bits of a packet's flags that name the algorithm."""
_BEST_RATIO: Final = {1: 255, 2: 1032}
"""No body can be more times as long as its compressed form; a claim beyond that is a lie."""
_GZIP: Final = 16 + zlib.MAX_WBITS
_SAMPLE: Final = 2048
"""Bytes of each of three places by which a large body is judged."""


def preference(wanted: Algorithm) -> list[str]:
    """What to offer in a hello, best first; "none" always works."""
    rest: list[Algorithm] = ["lz4", "gzip"]
    return ["none"] if wanted == "none" else [wanted, *(a for a in rest if a != wanted), "none"]


def choose(offered: Sequence[str], wanted: Algorithm) -> Algorithm:
    """The algorithm of a link: the dialer's first choice that is known here, or none."""
    if wanted == "none":
        return "none"
    known = {str(name): name for name in NUMBERS}
    return next((known[name] for name in offered if name in known), "none")


def compress(number: int, body: bytes) -> tuple[int, bytes]:
    """The flags and the form to send: compressed if that is shorter, else as it was."""
    if len(body) > 4 * _SAMPLE and not _seems_to_shrink(body):
        return 0, body
    if number == 1:
        packed: bytes = lz4.block.compress(body, store_size=False)
    elif number == 2:
        packer = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
        packed = packer.compress(body) + packer.flush()
    else:
        return 0, body
    return (number, packed) if len(packed) < len(body) else (0, body)


def _seems_to_shrink(body: bytes) -> bool:
    """Whether the ends and the middle of a large body do, at a fraction of the whole's cost."""
    middle = len(body) // 2
    sample = body[:_SAMPLE] + body[middle : middle + _SAMPLE] + body[-_SAMPLE:]
    return len(lz4.block.compress(sample, store_size=False)) < 0.95 * len(sample)


def decompress(number: int, body: bytes | memoryview, raw_length: int, limit: int) -> bytes:
    """The body as it was; a false or excessive length is a `ProtocolError` and takes no memory."""
    ratio = _BEST_RATIO.get(number)
    if ratio is None:
        raise ProtocolError(f"no compression has the number {number}")
    if raw_length > limit or raw_length > ratio * len(body) + 64:
        raise ProtocolError(f"{len(body)} compressed bytes claim to be {raw_length}")
    try:
        if number == 1:
            raw: bytes = lz4.block.decompress(body, uncompressed_size=raw_length)
        else:
            unpacker = zlib.decompressobj(_GZIP)
            raw = unpacker.decompress(body, max_length=raw_length + 1)
            if not unpacker.eof or unpacker.unused_data:
                raise ProtocolError("a compressed body does not end where it says")
    except (lz4.block.LZ4BlockError, zlib.error) as error:
        raise ProtocolError(f"a compressed body is damaged: {error}") from None
    if len(raw) != raw_length:
        raise ProtocolError(f"a compressed body has {len(raw)} bytes and claims {raw_length}")
    return raw
