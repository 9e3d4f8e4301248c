"""Image tiles in a grid, each with a caption above it."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ubp.plots.style import INK, WIDTH

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


def check_images(images: Sequence[Tensor]) -> None:
    """Refuse what is not uint8 RGB of one size.

    Raises
    ------
    ValueError
        Which says what was found.
    """
    for image in images:
        if image.ndim != 3 or image.shape[0] != 3 or str(image.dtype) != "torch.uint8":
            raise ValueError(
                f"The image is {image.dtype} of shape {tuple(image.shape)}, but must be uint8 RGB (3, H, W)."
            )
    if len({tuple(image.shape) for image in images}) != 1:
        raise ValueError(f"There are {len(images)} images, but at least one is needed, and all of one size.")
