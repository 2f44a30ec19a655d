"""One store operation at a time: what is published at its end, and when to try again; pure."""

from __future__ import annotations

from typing import Final

from denoagents.cluster.messages import VersionRecord

AGAIN_S: Final = 1.0
"""A store that failed is tried again this often."""

PATIENCE_S: Final = 2.0
"""A store that does not answer for so long has failed; deaths must not wait for a hanging disk."""


class Storing:
    """The operation under way, and whether another is due."""

    def __init__(self) -> None:
        self.error = ""
        """Why the last operation failed."""
        self.is_dirty = False
        """Something is not stored that nobody waits for."""
        self._number = 0
        self._record: VersionRecord | None = None
        self._is_busy = False
        self._begun_ns = self._again_ns = 0

    @property
    def is_busy(self) -> bool:
        """An operation is under way."""
        return self._is_busy

    @property
    def has_version(self) -> bool:
        """The operation under way will publish a version."""
        return self._is_busy and self._record is not None

    def is_due(self, now_ns: int) -> bool:
        """Something shall be stored, and the store has not failed just now."""
        return self.is_dirty and now_ns >= self._again_ns

    def begin(self, record: VersionRecord | None, now_ns: int) -> int:
        """An operation begins; `record` is published when it has ended. Returns its number."""
        self._number += 1
        self._record, self._is_busy, self._begun_ns = record, True, now_ns
        self.is_dirty = False
        return self._number

    def is_current(self, number: int) -> bool:
        """The operation `number` is the one under way."""
        return self._is_busy and number == self._number

    def end(self) -> VersionRecord | None:
        """The operation has succeeded; returns what to publish."""
        self._is_busy, self.error = False, ""
        return self._record

    def fail(self, reason: str, now_ns: int) -> VersionRecord | None:
        """The operation has failed; returns what to publish all the same."""
        self._is_busy, self.error, self.is_dirty = False, reason, True
        self._again_ns = now_ns + int(AGAIN_S * 1e9)
        return self._record

    def overdue(self, now_ns: int) -> int:
        """The number of the operation that takes too long, 0 for none."""
        is_late = self._is_busy and now_ns - self._begun_ns > PATIENCE_S * 1e9
        return self._number if is_late else 0
