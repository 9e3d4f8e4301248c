"""Image tiles in a grid, each with a caption above it."""

from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ubp.images.blur import Blur
from ubp.images.gaussian import gaussian_sigma
from ubp.images.levels import Level
from ubp.plots.style import INK, WIDTH
from ubp.presets import level_to_dict

GAP = 0.12  # inches between the tiles


@dataclass(frozen=True)
class Grid:
    """Places of square or oblong tiles in a figure of the common width, from the top, row by row.

    Parameters
    ----------
    n_rows, n_columns : int
    aspect : float
        Height of a tile divided by its width.
    head, foot : float
        Inches above each tile for its caption, and below it.
    below : float
        Inches left free at the bottom.
    """

    n_rows: int
    n_columns: int
    aspect: float = 1.0
    head: float = 0.5
    foot: float = 0.1
    below: float = 0.0

    @property
    def side(self) -> float:
        """Width of a tile in inches."""
        return (WIDTH - GAP) / self.n_columns - GAP

    @property
    def row_height(self) -> float:
        """Inches from one row to the next."""
        return self.head + self.side * self.aspect + self.foot

    @property
    def height(self) -> float:
        """Height of the figure in inches."""
        return self.n_rows * self.row_height + self.below

    def axes(self, figure: Figure, row: int, column: int) -> Axes:
        """New axes at a place of the grid."""
        left, top = GAP + column * (self.side + GAP), row * self.row_height + self.head
        height = self.side * self.aspect
        place = (left / WIDTH, 1 - (top + height) / self.height, self.side / WIDTH, height / self.height)
        return figure.add_axes(place)


def show(axes: Axes, pixels: Tensor, caption: str) -> None:
    """Show pixels (3, height, width) in 0..1 under a caption."""
    axes.imshow(pixels.clamp(0, 1).permute(1, 2, 0).cpu().numpy(), interpolation="lanczos")
    finish(axes, caption)


def finish(axes: Axes, caption: str) -> None:
    """Write the caption, and take ticks and frame away."""
    axes.set_title(caption, fontsize=8.5, color=INK)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def level_caption(level: Level) -> str:
    """A level in two lines: what it is, and its parameters."""
    if isinstance(level, Blur):
        if level.width == 1:
            return "crisp"
        sigma = gaussian_sigma(level.width) if level.sigma is None else level.sigma
        return f"width {level.width} px\nσ {sigma:.1f} px, {curve_caption(level)}"
    kind, *parameters = level_to_dict(level).items()
    return f"{kind[1]}\n{', '.join(f'{name} {value:g}' for name, value in parameters)}"


def curve_caption(level: Blur) -> str:
    """How the weight of the crisp image falls."""
    text = level.curve
    if level.curve in ("exponential", "logarithmic"):
        text = f"{level.curve} {level.decay:.3g}"
    if level.strength != 1 and level.curve != "uniform":
        text += f" × {level.strength:g}"
    return text


def check_images(images: Tensor) -> None:
    """Refuse what is not a batch of uint8 RGB images.

    Raises
    ------
    ValueError
        Which says what was found.
    """
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8 or not len(images):
        raise ValueError(
            f"The images are {images.dtype} of shape {tuple(images.shape)}, but must be uint8 RGB (n, 3, H, W), "
            "at least one."
        )
