"""Figures as files."""

from pathlib import Path

from matplotlib.figure import Figure

from ubp.errors import InputError
from ubp.files import atomic_file

FIGURES = (".png", ".svg", ".pdf")
DPI = 180


def check_figure(path: Path) -> None:
    """Refuse a name of another kind of file.

    Raises
    ------
    InputError
        Names the endings that there are.
    """
    if path.suffix.lower() not in FIGURES:
        raise InputError(f"The figure is to be {path}; expected a name that ends in {', '.join(FIGURES)}.")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure, atomically."""
    with atomic_file(path) as handle:
        figure.savefig(handle, format=path.suffix[1:].lower(), dpi=DPI)
