"""How far a long run is: a bar on a terminal, and elsewhere a line now and then for whoever reads the log."""

import logging
import threading
import time
from datetime import timedelta

from morph import signals

#: Seconds between the lines of a run without a terminal.
EVERY = 60.0


class Progress:
    """Tiles, galaxies, galaxies a second and the time left, on standard error, as long as the context lasts.

    What the package's loggers have to say meanwhile is printed above the bar.
    """

    def __init__(self, tiles: int):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bar

        self._console = Console(stderr=True)
        self._bar = Bar(
            TextColumn("Scoring tiles"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=tiles, rate="")
        self._tiles, self._done, self._galaxies, self._before = tiles, 0, 0, 0
        self._started = self._told = time.monotonic()
        self._lock = threading.Lock()
        self._handler = _Printing(self._console)

    def __enter__(self) -> "Progress":
        logger = logging.getLogger("serving")
        self._level = logger.level
        logger.addHandler(self._handler)
        logger.setLevel(logging.INFO)
        self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        self._bar.stop()
        logger = logging.getLogger("serving")
        logger.removeHandler(self._handler)
        logger.setLevel(self._level)

    def advance(self, tiles: int, galaxies: int) -> None:
        """Note that so many more are finished; none at all, that the model is ready: loading it is no scoring."""
        signals.check()
        with self._lock:
            now = time.monotonic()
            if not tiles and not galaxies:
                self._started = self._told = now
            self._done += tiles
            self._galaxies += galaxies
            # Tiles of before this run are told of at once, without galaxies; they say nothing of how fast it is.
            if not self._galaxies:
                self._before = self._done
            self._bar.update(self._task, advance=tiles, rate=self._rate())
            if self._bar.disable and now - self._told >= EVERY:
                self._told = now
                self._console.print(f"{self._done:,} of {self._tiles:,} tiles, {self._rate()}", highlight=False)

    def _rate(self) -> str:
        new = self._done - self._before
        rate = self._galaxies / self.seconds
        said = f"{self._galaxies:,} galaxies, {rate:,.{0 if rate >= 10 else 1}f} a second"
        if new:
            left = timedelta(seconds=round(self.seconds / new * (self._tiles - self._done)))
            said += f", {left} left"
        return said

    @property
    def seconds(self) -> float:
        """Since the model was ready."""
        return max(time.monotonic() - self._started, 1e-3)


class _Printing(logging.Handler):
    def __init__(self, console):
        super().__init__(logging.INFO)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(f"morph: {record.getMessage()}", highlight=False, markup=False, soft_wrap=True)
