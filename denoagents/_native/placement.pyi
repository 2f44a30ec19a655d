from array import array

SLOTS: int
NO_OWNER: int
MAX_WEIGHT: int
MAX_MEMBERS: int

def mix(value: int) -> int:
    """Scatter a 64-bit number over all 64 bits, reversibly."""

def minus_log2(draw: int) -> int:
    """-log2((draw + 1) / 2**64) with 40 bits after the point, at least 1."""

def assign(names: list[bytes], weights: list[int]) -> array[int]:
    """The owner of each slot as an index into `names` (NO_OWNER if nobody has a weight above 0)."""
