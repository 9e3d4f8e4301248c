"""The blur ladder: what the image encoder sees at each level, and what it loses."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ubp.images.blur import Blur, fovea_weight
from ubp.images.levels import Level, apply_levels
from ubp.plots.style import GREY, INK, OTHER_COLOURS, WIDTH, new_figure, spread, write
from ubp.plots.tiles import GAP, Grid, check_images, curve_caption, finish, level_caption, show

COLUMNS = 5
NAMES = ("less blur", "base", "more blur")
HEAD, FOOT, CURVES = 0.5, 0.5, 2.6  # inches: a caption of two lines, the scale of the map, the panel of cosines and map


def ladder_figure(
    images: Tensor,
    ladder: Sequence[Level],
    keys: Sequence[str] | None = None,
    cosines: np.ndarray | None = None,
    names: Sequence[str] | None = None,
) -> Figure:
    """Show images crisp and at every level, and the weight of the crisp image as a map.

    Parameters
    ----------
    images : Tensor of shape (n, 3, height, width), uint8
        At the size of the encoder's input, because blur widths are in its pixels.
    ladder : sequence of Level
        A ladder of three is captioned less, base, more.
    keys : sequence of str, optional
        Of the images, for levels that are random; see :func:`ubp.images.levels.apply_levels`.
    cosines : array of shape (n, n_levels), optional
        Of each level's vector to the crisp image's, with some encoder; written above the tiles and drawn below.
    names : sequence of str, optional
        Of the images.

    Returns
    -------
    Figure
        The map belongs to the middle level, if that is a blur.

    Raises
    ------
    ValueError
        When the images are not uint8 RGB or the ladder is empty.
    """
    ladder = tuple(ladder)
    check_images(images)
    if not ladder:
        raise ValueError("The ladder has no level, but needs at least one.")
    levels = apply_levels(images, ladder, keys or [""] * len(images))
    roles = NAMES if len(ladder) == len(NAMES) else ("",) * len(ladder)
    middle = ladder[len(ladder) // 2]
    with_crisp = _width(ladder[0]) != 1
    below = cosines is not None and len(ladder) > 1
    map_beside = isinstance(middle, Blur) and not below
    n_tiles = len(ladder) + with_crisp + map_beside
    n_columns = max(3, min(n_tiles, COLUMNS))
    n_rows = -(-n_tiles // n_columns)
    grid = Grid(
        n_rows * len(images),
        n_columns,
        images.shape[2] / images.shape[3],
        HEAD + 0.15 * (cosines is not None),
        FOOT if map_beside else 0.1,
        CURVES * below,
    )
    with new_figure(grid.height, layout=None) as figure:
        for i, image in enumerate(images):
            captions = [_caption(level, role) for level, role in zip(ladder, roles, strict=True)]
            if cosines is not None:
                captions = [
                    f"{caption}\ncosine {value:.3f}" for caption, value in zip(captions, cosines[i], strict=True)
                ]
            tiles = list(zip(captions, levels[:, i], strict=True))
            if with_crisp:
                tiles.insert(0, ("crisp", image.float() / 255))
            if names is not None:
                tiles[0] = (f"{names[i]}\n{tiles[0][0]}", tiles[0][1])
            places = [(i * n_rows + row, column) for row in range(n_rows) for column in range(n_columns)]
            for place, (caption, pixels) in zip(places, tiles, strict=False):
                show(grid.axes(figure, *place), pixels, caption)
            if isinstance(middle, Blur) and not below:
                _weight_map(figure, grid.axes(figure, *places[len(tiles)]), image.shape[1:], middle)
        if cosines is not None and below:
            _cosine_panel(figure, grid, ladder, cosines, names)
        if isinstance(middle, Blur) and below:
            side = (CURVES - 1.1) / max(1, grid.aspect)
            corner = (1 - (GAP + side) / WIDTH, 0.55 / grid.height, side / WIDTH, side * grid.aspect / grid.height)
            _weight_map(figure, figure.add_axes(corner), images.shape[2:], middle)
    return figure


def _width(level: Level) -> int | None:
    return level.width if isinstance(level, Blur) else None


def _caption(level: Level, role: str) -> str:
    return f"{role}: {level_caption(level)}" if role else level_caption(level)


def _weight_map(figure: Figure, axes: Axes, size: torch.Size, level: Blur) -> None:
    height, width = size
    if level.width == 1:
        weight = torch.ones(height, width)
    else:
        weight = fovea_weight(height, width, level.curve, level.decay, level.strength, level.fixation)
    shown = axes.imshow(weight.numpy(), cmap="cividis", vmin=0, vmax=1)
    steps = [step for step in (0.1, 0.25, 0.5, 0.75) if weight.min() < step < weight.max()]
    if steps:
        contours = axes.contour(weight.numpy(), steps, colors="white", linewidths=0.8)
        axes.clabel(contours, fontsize=8, fmt="%g")
    curve = f"\n{curve_caption(level)}" if level.width > 1 else ""
    finish(axes, f"weight of the crisp image{curve}")
    place = axes.inset_axes((0, -0.08, 1, 0.04))
    bar = figure.colorbar(shown, cax=place, orientation="horizontal", ticks=[0, 0.5, 1], format="%g")
    bar.ax.tick_params(labelsize=8, length=2)
    bar.outline.set_visible(False)


def _cosine_panel(
    figure: Figure, grid: Grid, ladder: Sequence[Level], cosines: np.ndarray, names: Sequence[str] | None
) -> None:
    widths = [_width(level) for level in ladder]
    by_width = all(width is not None for width in widths) and len(set(widths)) == len(widths)
    places = np.array(widths, float) if by_width else np.arange(1, len(ladder) + 1)
    order = np.argsort(places)
    bottom, height = 0.6 / grid.height, (CURVES - 1.15) / grid.height
    axes = figure.add_axes((0.75 / WIDTH, bottom, (WIDTH - 4.1) / WIDTH, height))
    axes.set_title("what the encoder loses: cosine of each level's vector to the crisp one", fontsize=9, color=INK)
    ends = [float(values[order[-1]]) for values in cosines]
    low = min(0.95, float(cosines.min()))
    labels = spread(ends, (1 - low) * 0.16)
    for i, values in enumerate(cosines):
        colour = OTHER_COLOURS[i % len(OTHER_COLOURS)]
        axes.plot(places[order], values[order], marker="o", markersize=4, color=colour)
        if names is not None:
            write(
                axes, places.max() + 0.02 * np.ptp(places), labels[i], names[i], color=colour, va="center", fontsize=9
            )
    axes.axhline(1, color=GREY, linewidth=0.8, linestyle=":")
    margin = 0.06 * (1 - low)
    axes.set_ylim(low - margin - (1 - low) * 0.06, 1 + margin)
    axes.set_xticks(places, [f"{width}" for width in widths] if by_width else [level.name for level in ladder])
    axes.set_xlabel("kernel width (pixels)" if by_width else "level")
    axes.set_ylabel("cosine")
