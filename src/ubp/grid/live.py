"""A live table of a grid's progress: cells done, running and failed by method, and the time left."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from types import TracebackType

from rich.live import Live
from rich.table import Table

from ubp.grid.cell import Cell
from ubp.grid.work import Outcome, Unit
from ubp.progress import messages

STATES = ("done", "running", "failed")


class Board:
    """Counts cells by method and state, and shows them on a terminal.

    Parameters
    ----------
    cells : iterable of Cell
        All cells of the grid.
    done : collection of str
        Keys of those that are finished already.
    seconds_left : callable
        Gives the estimated seconds that are left, from the keys of the cells that are still to do; None if unknown.
    quiet : bool
        Show nothing; without a terminal nothing is shown anyway.
    """

    def __init__(
        self,
        cells: Iterable[Cell],
        done: Iterable[str],
        seconds_left: Callable[[set[str]], float | None],
        quiet: bool = False,
    ) -> None:
        self.method = {cell.key: cell.job.preset.name for cell in cells}
        self.state = dict.fromkeys(done, "done")
        self.seconds_left = seconds_left
        self.live = None if quiet or not messages.is_terminal else Live(console=messages, refresh_per_second=2)

    def started(self, unit: Unit) -> None:
        """A unit has begun."""
        self._set({cell.key: "running" for cell in unit})

    def ended(self, outcomes: Iterable[Outcome]) -> None:
        """What became of a unit."""
        self._set({outcome.key: "done" if outcome.record else "failed" for outcome in outcomes})

    def counts(self) -> dict[str, dict[str, int]]:
        """Cells by method and state; ``all`` counts those not yet begun as well."""
        counts: dict[str, dict[str, int]] = {}
        for key, method in self.method.items():
            row = counts.setdefault(method, dict.fromkeys((*STATES, "all"), 0))
            row["all"] += 1
            if key in self.state:
                row[self.state[key]] += 1
        return counts

    def table(self) -> Table:
        """The table as it stands."""
        table = Table("method", *(f"{state}" for state in STATES), "all")
        counts = self.counts()
        for method, row in counts.items():
            table.add_row(method, *map(str, row.values()))
        if len(counts) > 1:
            total = [sum(row[name] for row in counts.values()) for name in (*STATES, "all")]
            table.add_section()
            table.add_row("all", *map(str, total))
        left = self.seconds_left({key for key in self.method if self.state.get(key) not in ("done", "failed")})
        table.caption = f"{duration(left)} left" if left is not None else "time left: known after the first cells"
        return table

    def _set(self, states: dict[str, str]) -> None:
        self.state |= states
        if self.live:
            self.live.update(self.table())

    def __enter__(self) -> "Board":
        if self.live:
            self.live.update(self.table())
            self.live.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.live:
            self.live.stop()


def duration(seconds: float) -> str:
    """A time in hours, minutes and seconds."""
    return str(timedelta(seconds=round(seconds)))
