from typing import Any

ANSWERED: int
REFUSED: int
SILENT: int
UNKNOWN: int
EVICTED: int
REPORT_SIZE: int

class Watch:
    """Which turn is running, for a thread that must know it without asking Python."""

    def enter(self, actor: str, method: str, now_ns: int) -> None:
        """A step of a turn begins; steps nest."""
    def leave(self) -> None:
        """The innermost step ends."""
    def running(self) -> list[tuple[int, str, str, int]]:
        """(step, actor, method, since_ns) of each running turn, outermost first."""

class Pulse:
    """Beats for one life of a process, keeps its lease, and reports turns that hold the loop."""

    def __init__(
        self,
        watch: Watch | None = None,
        *,
        beat_ns: int = 200_000_000,
        stop_after_ns: int = 1_600_000_000,
        replace_after_ns: int = 2_400_000_000,
        block_limit_ns: int = 10_000_000_000,
        tick_ns: int = 50_000_000,
        turn_limit_ns: int = 100_000_000,
        ends_process: bool = False,
    ) -> None: ...
    @property
    def watch(self) -> Watch: ...
    @property
    def report_fd(self) -> int:
        """Where records of REPORT_SIZE bytes come out, one for each turn that holds the loop."""
    def start(
        self,
        endpoint: str | None,
        incarnation: int = 0,
        *,
        library: str | None = None,
        context: int = 0,
        keys: tuple[bytes, bytes, bytes] | None = None,
    ) -> None:
        """Begin to beat; without an endpoint only watch, with a lease that never ends.

        `keys` (own public, own secret, the broker's public) encrypt the beats.
        """
    def stop(self) -> None:
        """Join the thread; the lease stays as it is."""
    def tick(self) -> int:
        """The loop is alive now; returns `flags`."""
    def read_report(self, record: bytes) -> tuple[int, int, str, str]:
        """(step, held_ns, actor, method) of one record of REPORT_SIZE bytes from `report_fd`."""
    @property
    def open_report(self) -> int:
        """The step whose report nobody has logged yet; the thread itself does after 300 ms."""
    def close_report(self, step: int) -> bool:
        """This report is logged; False if it was closed before."""
    @property
    def lease_until_ns(self) -> int:
        """A node whose clock is past this starts no turn."""
    @property
    def flags(self) -> int:
        """ANSWERED, REFUSED, SILENT, UNKNOWN and EVICTED, or-ed."""
    @property
    def lag_ns(self) -> int:
        """How late the loop's newest tick was."""
    @property
    def broker_incarnation(self) -> int: ...
    @property
    def broker_version(self) -> int:
        """The placement version that the broker named in its newest answer."""
    is_leaving: bool
    """Says LEAVING with each beat."""
    def statistics(self) -> dict[str, Any]:
        """Counters and the lease, plain values."""

def libzmq_path() -> str:
    """The compiled backend of pyzmq: opening it gives the one libzmq of this process."""
