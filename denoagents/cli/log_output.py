"""Where log lines go: coloured text on a terminal, JSON elsewhere; written by a thread of its own.

Rules: the event loop never waits for a terminal, a pipe or a disk. Lines wait in a bounded queue;
when it is full they are dropped and counted, and the count is logged once there is room again.
"""

from __future__ import annotations

import atexit
import os
import queue
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TextIO

from denoagents.config.load import Config

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

QUEUE_LINES: Final = 4096
"""Lines that may wait for a slow reader; about 1 MB."""

FLUSH_S: Final = 1.0
"""How long the end of the process waits for the last lines."""

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class LineWriter:
    """Writes lines to a stream from its own thread; `write_line` never blocks."""

    def __init__(self, stream: TextIO, bound: int = QUEUE_LINES) -> None:
        self.dropped = 0
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(bound)
        self._thread: threading.Thread | None = None

    def write_line(self, line: str) -> None:
        """Queue one line; drop and count it when the reader is too slow."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="log-output", daemon=True)
            self._thread.start()
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Write what is left, for at most `FLUSH_S`."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            self._lines.put(None, timeout=FLUSH_S)
        except queue.Full:
            return
        thread.join(FLUSH_S)

    def _write(self) -> None:
        reported = 0
        while (line := self._lines.get()) is not None:
            try:
                self._stream.write(line + "\n")
                if self.dropped > reported:
                    self._stream.write(f"{self.dropped - reported} log lines were dropped\n")
                    reported = self.dropped
                if self._lines.empty():
                    self._stream.flush()
            except (OSError, ValueError):  # the reader is gone; logging must not end the process
                self.dropped += 1
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self.dropped += 1


class _Logger:
    """What structlog calls with a finished line, whatever the level."""

    def __init__(self, writer: LineWriter) -> None:
        self.msg = self.debug = self.info = self.warning = self.error = writer.write_line
        self.critical = self.exception = self.fatal = self.warn = self.log = writer.write_line


def configure(
    *,
    level: str = "info",
    form: str = "auto",
    stream: TextIO | None = None,
    context: Mapping[str, object] | None = None,
    shows_payloads: bool = False,
) -> LineWriter:
    """Send every structlog line to `stream` (stderr); `context` stands in each line.

    Secrets are hidden in all of them, and what messages carry unless `shows_payloads`.
    """
    from denoagents.security.redaction import Redaction

    structlog = import_structlog()
    stream = sys.stderr if stream is None else stream
    for_people = form == "console" or (form == "auto" and stream.isatty())
    writer = LineWriter(stream)
    atexit.register(writer.close)
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _Context(context or {}),
        structlog.processors.add_log_level,
        structlog.processors.StackInfoRenderer(),
        _timestamp(structlog, for_people),
        structlog.processors.format_exc_info,
        Redaction(shows_payloads=shows_payloads),
    ]
    if for_people:
        colours = stream.isatty() and "NO_COLOR" not in os.environ
        renderer: Processor = structlog.dev.ConsoleRenderer(
            colors=colours, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
        )
    else:
        renderer = structlog.processors.JSONRenderer(serializer=_encode)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: _Logger(writer),
        cache_logger_on_first_use=False,
    )
    return writer


def configure_for(config: Config, node: str = "") -> LineWriter:
    """As the keys `logs.level` and `logs.form` say."""
    level, form = str(config["logs.level"]), str(config["logs.form"])
    return configure(
        level=level,
        form=form,
        context={"node": node} if node else {},
        shows_payloads=bool(config["logs.payloads"]),
    )


def _timestamp(structlog: Any, for_people: bool) -> Processor:
    stamp: Processor = structlog.processors.TimeStamper(
        fmt="%H:%M:%S" if for_people else "iso", utc=not for_people
    )
    return stamp


def import_structlog() -> Any:
    """Import structlog without rich (4 MB of a worker's 50), which it would take for tracebacks."""
    if "rich" in sys.modules or "structlog" in sys.modules:
        import structlog

        return structlog
    sys.modules["rich"] = None  # type: ignore[assignment]  # makes its import fail, for a moment
    try:
        import structlog
    finally:
        del sys.modules["rich"]
    return structlog


class _Context:
    """Adds the process's own words (node, role) to each line that does not set them itself."""

    def __init__(self, context: Mapping[str, object]) -> None:
        self._context = context

    def __call__(self, _logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
        return {**self._context, **event}


def _encode(event: EventDict, **_: object) -> str:
    import msgspec

    return msgspec.json.encode(event, enc_hook=repr).decode()
