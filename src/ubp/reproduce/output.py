"""What a reproduction gives: tables and a figure, and the files they are written to."""

from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from ubp.files import atomic_file, write_text
from ubp.reproduce.setup import Group
from ubp.sheets import WRITERS, Sheet

SUFFIXES = {"markdown": ".md", "latex": ".tex"}
DPI = 200


@dataclass(frozen=True)
class Plan:
    """What a reproduction trains.

    Parameters
    ----------
    groups : tuple of Group
    notes : tuple of str
        What was left out, and why.
    """

    groups: tuple[Group, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Output:
    """A table or figure of the paper, made anew.

    Parameters
    ----------
    title : str
    sheets : tuple of Sheet
        Our numbers, published ones beside them.
    table : DataFrame
        Every number in full, one row an observation; shares of 1, not per cent.
    figure : Figure
    caption : str
    published : tuple of Sheet
        Published tables, as far as they do not fit beside ours.
    """

    title: str
    sheets: tuple[Sheet, ...]
    table: pd.DataFrame
    figure: Figure
    caption: str
    published: tuple[Sheet, ...] = field(default=())

    def files(self, name: str) -> list[str]:
        """Names of the files that :meth:`save` writes."""
        return [f"{name}{suffix}" for suffix in (*SUFFIXES.values(), ".csv", ".png", ".svg")]

    def save(self, folder: Path, name: str) -> None:
        """Write Markdown, LaTeX, CSV, PNG and SVG, each atomically."""
        for form, suffix in SUFFIXES.items():
            write_text(folder / f"{name}{suffix}", "\n".join(map(WRITERS[form], (*self.sheets, *self.published))))
        write_text(folder / f"{name}.csv", self.table.to_csv(index=False))
        # the same ids and no date, so that the same figure is the same file
        with matplotlib.rc_context({"svg.hashsalt": name, "text.parse_math": False}):
            for form, metadata in (("png", None), ("svg", {"Date": None})):
                with atomic_file(folder / f"{name}.{form}") as handle:
                    self.figure.savefig(handle, format=form, dpi=DPI, metadata=metadata)
