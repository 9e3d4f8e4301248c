"""The transformations of Table 3: what the image encoder sees with each."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ubp.images.blur import Blur
from ubp.images.levels import Level, apply_levels
from ubp.plots.style import new_figure
from ubp.plots.tiles import Grid, check_images, level_caption, show

COLUMNS = 6
HEAD = 0.8  # inches, for a caption of four short lines
LINE = 25  # characters of a caption's line


def transforms_figure(
    images: Tensor, levels: Sequence[tuple[str, Level]], keys: Sequence[str], names: Sequence[str] | None = None
) -> Figure:
    """Show images under transformations, a block of rows for each image.

    Parameters
    ----------
    images : Tensor of shape (n, 3, height, width), uint8
        At the size of the encoder's input.
    levels : sequence of (title, Level)
        The first is what the others are compared with, to say so where chance leaves an image as it is.
    keys : sequence of str
        Of the images: with the digests of their files the tiles are what a feature store encodes.
    names : sequence of str, optional
        Of the images.

    Raises
    ------
    ValueError
        When the images are not uint8 RGB, or a level does not fit their size.
    """
    check_images(images)
    shown = apply_levels(images, [level for _, level in levels], keys)
    n_columns = min(COLUMNS, len(levels))
    n_rows = -(-len(levels) // n_columns)
    grid = Grid(n_rows * len(images), n_columns, images.shape[2] / images.shape[3], HEAD)
    with new_figure(grid.height, layout=None) as figure:
        for i in range(len(images)):
            for place, (title, level) in enumerate(levels):
                row, column = divmod(place, n_columns)
                caption = _caption(title, level)
                if names is not None and place == 0:
                    caption = f"{names[i]}\n{caption}"
                if level.name != levels[0][1].name and torch.equal(shown[place, i], shown[0, i]):
                    caption += "\n(unchanged here)"
                show(grid.axes(figure, i * n_rows + row, column), shown[place, i], caption)
    return figure


def _caption(title: str, level: Level) -> str:
    """The title, and the level's parameters in lines that fit a tile."""
    kind, *settings = level_caption(level).split("\n")
    if not any(settings):
        return title
    words = ", ".join([kind, *settings] if isinstance(level, Blur) else settings)
    lines = [title]
    for word in words.split(", "):
        if len(lines) > 1 and len(lines[-1]) + len(word) + 2 <= LINE:
            lines[-1] += f", {word}"
        else:
            lines.append(word)
    return "\n".join(lines)
