"""What all figures share: size, type, and colours that colour-blind readers and grey printers tell apart."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

WIDTH = 9.0  # inches; one width for all, so that type has one size when figures stand below each other

LINE = 13  # points from one name to the next

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.linewidth": 0.8,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "lines.linewidth": 1.8,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "text.usetex": False,
    "text.parse_math": False,  # names from a study may hold a dollar sign
}

# Okabe & Ito's palette, which readers with any of the common colour-vision deficiencies tell apart.
INK, GREY, LIGHT = "#222222", "#777777", "#E4E4E4"
LEVEL_COLOURS = {"less": "#E69F00", "base": "#BFBFBF", "more": "#0072B2"}
RIGHT_COLOUR = "#009E73"
METHOD_COLOURS = {
    "vanilla": "#D55E00",
    "blur": "#E69F00",
    "ubp": "#0072B2",
    "official": "#CC79A7",
    "ridge": "#000000",
}
OTHER_COLOURS = ("#009E73", "#56B4E9", "#8C6BB1", "#7F7F00")
SPLIT_COLOURS = {"train": "#0072B2", "test": "#E69F00"}
SUBJECT_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SUBJECT_LINES = ("-", "--", ":", "-.")
MOST_NAMES = 75  # channel names that fit an axis


@contextmanager
def new_figure(height: float, layout: str | None = "constrained") -> Iterator[Figure]:
    """Give an empty figure of the common width, to be filled inside the block, where `STYLE` holds."""
    with matplotlib.rc_context(STYLE):
        yield Figure(figsize=(WIDTH, height), layout=layout)  # type: ignore[arg-type]


def method_styles(methods: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour and line of each method; a control with shuffled pairs is grey and dashed.

    The first of several methods that differ in what stands in brackets, or after a comma, has the method's own colour.
    """
    others, left = cycle(OTHER_COLOURS), dict(METHOD_COLOURS)
    methods = list(methods)
    for method in methods:
        left.pop(method, None)
    styles: dict[str, dict[str, Any]] = {}
    for method in methods:
        if "shuffled" in method:
            styles[method] = {"color": GREY, "linestyle": "--"}
        else:
            own = METHOD_COLOURS.get(method) or left.pop(re.split(r" \(|, ", method)[0], None)
            styles[method] = {"color": own or next(others), "linestyle": "-"}
    return styles


def subject_styles(subjects: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and line of each subject: colours come again with another kind of line."""
    n = len(SUBJECT_COLOURS)
    return {
        subject: {"color": SUBJECT_COLOURS[i % n], "linestyle": SUBJECT_LINES[i // n % len(SUBJECT_LINES)]}
        for i, subject in enumerate(subjects)
    }


def channel_ticks(axis: Axis, names: Sequence[str], rotation: float = 0) -> None:
    """Name every channel where the names fit, else some at equal steps."""
    step = -(-len(names) // MOST_NAMES)
    shown = range(0, len(names), step)
    axis.set_ticks(list(shown), [shorten(names[i], 12) for i in shown])
    axis.set_tick_params(labelsize=7, length=0, rotation=rotation)


def shorten(name: str, length: int) -> str:
    """A name of at most so many characters, with a mark where its end is left out."""
    return name if len(name) <= length else f"{name[: length - 1]}…"


def write(axes: Axes, x: float, y: float, text: str, **options: Any) -> None:
    """Put text in ink, unless another colour is given."""
    axes.text(x, y, text, **{"color": INK, **options})


def label_ends(axes: Axes, ends: Sequence[float], labels: Sequence[str], colours: Sequence[str]) -> None:
    """Name what ends at the given heights of the axes (0..1) at their right side, apart from each other."""
    heights = spread(ends, LINE / height_in_points(axes))
    heights += max(0.0, -heights.min()) - max(0.0, heights.max() - 1)
    for height, label, colour in zip(heights, labels, colours, strict=True):
        # Right of the axes, so that no line ends under a name; the layout makes room for it.
        write(axes, 1.01, height, label, color=colour, va="center", fontsize=9, transform=axes.transAxes)


def height_in_points(axes: Axes) -> float:
    """Height of axes before the layout moves them, enough to keep lines of type apart."""
    return float(axes.bbox.height * 72 / axes.get_figure(root=True).dpi)  # type: ignore[union-attr]


def spread(positions: Sequence[float], gap: float) -> np.ndarray:
    """Move positions apart until neighbours are at least `gap` from each other, keeping their order and centre.

    Examples
    --------
    >>> spread([0.5, 0.5, 0.9], gap=0.1)
    array([0.45, 0.55, 0.9 ])
    """
    values = np.asarray(positions, float)
    order = np.argsort(values, kind="stable")
    groups: list[list[float]] = []  # [sum of wished centres, members], merged while they overlap
    for value in values[order]:
        groups.append([value, 1])
        while len(groups) > 1:
            (below, n), (above, m) = groups[-2:]
            if above / m - below / n >= gap * (n + m) / 2 - 1e-12:
                break
            groups[-2:] = [[below + above, n + m]]
    result = np.empty_like(values)
    placed = [total / n + gap * (i - (n - 1) / 2) for total, n in groups for i in range(int(n))]
    result[order] = placed
    return result
