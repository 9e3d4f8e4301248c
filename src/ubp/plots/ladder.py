"""The blur ladder: what the image encoder sees at each level."""

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ubp.images.blur import Blur, blur_ladder, fovea_weight, gaussian_sigma
from ubp.plots.style import INK, WIDTH, new_figure

COLUMNS = 5
GAP, HEAD, FOOT = 0.12, 0.5, 0.5  # inches between the tiles, above them for the caption, below them for the scale
NAMES = ("less blur", "base", "more blur")


def ladder_figure(image: Tensor, ladder: Sequence[Blur]) -> Figure:
    """Show an image crisp and at every level, and the weight of the crisp image as a map.

    Parameters
    ----------
    image : Tensor of shape (3, height, width), uint8
        At the size of the encoder's input, because blur widths are in its pixels.
    ladder : sequence of Blur
        A ladder of three is captioned less, base, more.

    Returns
    -------
    Figure
        The map belongs to the middle level.

    Raises
    ------
    ValueError
        When the image is not uint8 RGB or the ladder is empty.
    """
    ladder = tuple(ladder)
    if image.ndim != 3 or image.shape[0] != 3 or image.dtype != torch.uint8:
        raise ValueError(f"The image is {image.dtype} of shape {tuple(image.shape)}, but must be uint8 RGB (3, H, W).")
    levels = blur_ladder(image[None], ladder)[:, 0].clamp(0, 1)
    names = NAMES if len(ladder) == len(NAMES) else ("",) * len(ladder)
    tiles = [(_caption(level, name), pixels) for level, name, pixels in zip(ladder, names, levels, strict=True)]
    if ladder[0].width > 1:
        tiles.insert(0, ("crisp", image.float() / 255))
    n_columns = max(3, min(len(tiles) + 1, COLUMNS))
    n_rows = -(-(len(tiles) + 1) // n_columns)
    side = (WIDTH - GAP) / n_columns - GAP
    step = HEAD + side * image.shape[1] / image.shape[2] + FOOT
    with new_figure(n_rows * step, layout=None) as figure:
        places = []
        for i in range(len(tiles) + 1):
            row, column = divmod(i, n_columns)
            left, top = GAP + column * (side + GAP), row * step + HEAD
            height = step - HEAD - FOOT
            places.append((left / WIDTH, 1 - (top + height) / (n_rows * step), side / WIDTH, height / (n_rows * step)))
        for place, (caption, pixels) in zip(places, tiles, strict=False):
            axes = figure.add_axes(place)
            axes.imshow(pixels.permute(1, 2, 0).numpy(), interpolation="lanczos")
            _finish(axes, caption)
        _weight_map(figure, figure.add_axes(places[-1]), image.shape[1:], ladder[len(ladder) // 2])
    return figure


def _caption(level: Blur, name: str) -> str:
    if level.width == 1:
        return f"{name}: crisp" if name else "crisp"
    sigma = gaussian_sigma(level.width) if level.sigma is None else level.sigma
    first = f"{name}: " if name else ""
    return f"{first}width {level.width} px\nσ {sigma:.1f} px, {_curve(level)}"


def _curve(level: Blur) -> str:
    text = level.curve
    if level.curve in ("exponential", "logarithmic"):
        text = f"{level.curve} {level.decay:g}"
    if level.strength != 1 and level.curve != "uniform":
        text += f" × {level.strength:g}"
    return text


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
    _finish(axes, f"weight of the crisp image\n{_curve(level)}" if level.width > 1 else "weight of the crisp image")
    place = axes.inset_axes((0, -0.08, 1, 0.04))
    bar = figure.colorbar(shown, cax=place, orientation="horizontal", ticks=[0, 0.5, 1], format="%g")
    bar.ax.tick_params(labelsize=8, length=2)
    bar.outline.set_visible(False)


def _finish(axes: Axes, caption: str) -> None:
    axes.set_title(caption, fontsize=8.5, color=INK)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
