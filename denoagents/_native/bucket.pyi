class TokenBucket:
    """Holds up to `burst` tokens, gains `rate` of them every `per_s` seconds, starts full."""

    def __init__(self, rate: int, burst: int, now_ns: int, *, per_s: int = 1) -> None: ...
    def take(self, now_ns: int, n: int = 1) -> int:
        """Take n tokens and return 0, or none and return the exact ns until n will be there."""
    def available(self, now_ns: int) -> int:
        """Whole tokens in the bucket."""
    def change(self, now_ns: int, rate: int, burst: int) -> None:
        """Go on with other limits; tokens beyond the new burst are lost."""
