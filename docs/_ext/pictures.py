"""Draws the pictures of the pages while they are built, from the package itself, so that none is out of date."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from ubp.images.blur import Blur, blur_ladder
from ubp.images.scenes import scene
from ubp.plots import accuracy_figure
from ubp.plots.style import GREY, INK, LEVEL_COLOURS, LIGHT, RIGHT_COLOUR, WIDTH, new_figure, write

FOLDER = Path("generated", "pictures")
SIZE = 192
SEEN, OTHERS = (53, 1), ((24, 0), (11, 0), (8, 2))


def drawn(seeds: tuple[int, int]) -> torch.Tensor:
    """A scene as a tensor (1, 3, SIZE, SIZE)."""
    return torch.from_numpy(scene(*seeds, SIZE)).permute(2, 0, 1)[None]


def picture(
    axes: Axes, pixels: torch.Tensor, left: float, bottom: float, side: float, colour: str | None = None
) -> None:
    """Put an image (3, h, w) in a square of axes whose unit is an inch; with a frame, if it has a colour."""
    shown = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
    axes.imshow(
        shown.clamp(0, 1).permute(1, 2, 0).numpy(),
        extent=(left, left + side, bottom, bottom + side),
        interpolation="lanczos",
    )
    if colour:
        box = FancyBboxPatch(
            (left, bottom), side, side, boxstyle="square,pad=0", fill=False, edgecolor=colour, linewidth=3
        )
        axes.add_patch(box)


def box(axes: Axes, x: float, y: float, text: str, width: float = 1.35, height: float = 0.62) -> None:
    """A box with text about a point."""
    corner = (x - width / 2, y - height / 2)
    shape = FancyBboxPatch(
        corner, width, height, boxstyle="round,pad=0,rounding_size=0.08", facecolor=LIGHT, edgecolor=GREY
    )
    axes.add_patch(shape)
    write(axes, x, y, text, ha="center", va="center", fontsize=9.5)


def arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], bend: float = 0.0, colour: str = GREY
) -> None:
    """An arrow between two points."""
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=12,
            color=colour,
            linewidth=1.4,
            connectionstyle=f"arc3,rad={bend}",
        )
    )


def canvas(figure: Figure, height: float) -> Axes:
    """Axes over the whole figure, in inches."""
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, WIDTH), ylim=(0, height), aspect="equal")
    return axes


def traces(axes: Axes, left: float, bottom: float, width: float, height: float) -> None:
    """What a trial may look like."""
    random = np.random.default_rng(4)
    times = np.linspace(0, 1, 160)
    for i in range(5):
        bump = np.exp(-((times - 0.3 - 0.06 * i) ** 2) / 0.006) * (1.2 - 0.15 * i)
        noise = np.convolve(random.standard_normal(200), np.hanning(14), "valid")[:160] * 0.07
        y = bottom + height * (0.88 - 0.2 * i) + 0.13 * height * (bump * np.cos(14 * times) + noise)
        axes.plot(left + width * times, y, color=LEVEL_COLOURS["more"], linewidth=1)


def overview() -> Figure:
    """The method at a glance: training above, use below."""
    height = 4.6
    seen = drawn(SEEN)
    ladder = blur_ladder(seen, [Blur(23), Blur(43), Blur(63)])[:, 0]
    with new_figure(height, layout=None) as figure:
        axes = canvas(figure, height)
        write(axes, 0.1, 4.38, "training: pairs of a trial and the image that was shown", color=GREY, fontsize=9.5)
        traces(axes, 0.15, 3.15, 1.15, 0.95)
        arrow(axes, (1.4, 3.62), (1.95, 3.62))
        box(axes, 2.7, 3.62, "brain encoder\n(learns)")
        picture(axes, seen[0], 0.15, 1.75, 1.0)
        write(axes, 0.65, 1.6, "shown", ha="center", va="top", fontsize=8.5, color=GREY)
        for i, (name, level) in enumerate(zip(LEVEL_COLOURS, ladder, strict=True)):
            picture(axes, level, 1.75 + 0.78 * i, 1.95, 0.68, LEVEL_COLOURS[name])
            write(axes, 2.09 + 0.78 * i, 2.72, name, ha="center", fontsize=8.5, color=GREY)
        arrow(axes, (1.22, 2.28), (1.68, 2.28))
        write(axes, 2.48, 1.78, "foveal blur", ha="center", va="top", fontsize=8.5, color=GREY)
        arrow(axes, (4.05, 2.28), (4.5, 2.28))
        box(axes, 5.3, 2.28, "image encoder\n(frozen)", 1.5)
        arrow(axes, (3.42, 3.62), (6.45, 3.3), -0.06)
        arrow(axes, (6.1, 2.28), (6.6, 2.75), 0.15)
        axes.add_patch(
            FancyBboxPatch((6.55, 2.55), 2.2, 1.35, "round,pad=0,rounding_size=0.1", facecolor="white", edgecolor=GREY)
        )
        write(axes, 7.65, 3.72, "similarity of each pair", ha="center", va="center", fontsize=9)
        x = np.linspace(-3, 3, 200)
        curve, bottom = np.exp(-(x**2) / 2), 2.72
        for name, inside in (("more", x < -1.5), ("less", x > 1.5), ("base", (x >= -1.53) & (x <= 1.53))):
            axes.fill_between(7.65 + 0.3 * x[inside], bottom, bottom + 0.82 * curve[inside], color=LEVEL_COLOURS[name])
        write(axes, 6.63, 2.61, "bad fit", fontsize=8, color=GREY)
        write(axes, 8.67, 2.61, "good fit", ha="right", fontsize=8, color=GREY)
        arrow(axes, (7.0, 2.52), (3.7, 1.88), -0.2, LEVEL_COLOURS["more"])
        write(
            axes,
            6.9,
            1.72,
            "bad fits are blurred more,\ngood fits less, next time",
            ha="center",
            fontsize=8.5,
            color=INK,
        )
        axes.plot([0.1, WIDTH - 0.1], [1.3, 1.3], color=LIGHT, linewidth=1.2)
        write(axes, 0.1, 1.08, "use: a new trial among images of concepts never trained on", color=GREY, fontsize=9.5)
        traces(axes, 0.15, 0.12, 1.15, 0.75)
        arrow(axes, (1.4, 0.5), (1.95, 0.5))
        box(axes, 2.7, 0.5, "model")
        arrow(axes, (3.45, 0.5), (3.95, 0.5))
        for i, (seeds, place) in enumerate(zip((SEEN, *OTHERS), ("best", "2.", "3.", "4."), strict=True)):
            picture(axes, drawn(seeds)[0], 4.1 + 1.1 * i, 0.2, 0.72, RIGHT_COLOUR if i == 0 else None)
            write(axes, 4.46 + 1.1 * i, 0.13, place, ha="center", va="top", fontsize=8.5, color=GREY)
    return figure


def gaps() -> Figure:
    """The System GAP and the Random GAP on one image."""
    height = 4.3
    seen, other = drawn(SEEN), drawn(OTHERS[0])
    eye = {width: blur_ladder(seen, [Blur(width)])[0, 0] for width in (23, 43, 63)}
    elsewhere = blur_ladder(other, [Blur(43)])[0, 0]
    pale = 0.72 + 0.28 * eye[43]
    with new_figure(height, layout=None) as figure:
        axes = canvas(figure, height)
        write(axes, 0.1, 4.08, "System GAP: the same for every trial", fontsize=10.5, fontweight="bold")
        picture(axes, seen[0], 0.3, 2.45, 1.35)
        write(
            axes,
            0.98,
            2.4,
            "what is shown, and what a\ncrisp embedding codes",
            ha="center",
            va="top",
            fontsize=8.5,
            color=GREY,
        )
        arrow(axes, (1.8, 3.12), (2.65, 3.12))
        write(axes, 2.22, 3.2, "eye", ha="center", fontsize=9)
        picture(axes, eye[43], 2.75, 2.45, 1.35)
        write(
            axes,
            3.42,
            2.4,
            "what reaches the brain:\nsharp only where one looks",
            ha="center",
            va="top",
            fontsize=8.5,
            color=GREY,
        )
        write(
            axes,
            4.7,
            3.62,
            "An encoder that is aligned with the crisp image\nlearns detail that the signal does not carry: it fits\n"
            "the training pairs by their noise.\n\nTreated by a blur of all images.",
            va="top",
            fontsize=9.5,
        )
        axes.plot([0.1, WIDTH - 0.1], [1.9, 1.9], color=LIGHT, linewidth=1.2)
        write(
            axes, 0.1, 1.66, "Random GAP: another one in each trial of the same image", fontsize=10.5, fontweight="bold"
        )
        trials = (
            (eye[43], "a good trial"),
            (eye[23], "finer than usual"),
            (eye[63], "coarser than usual"),
            (pale, "a weak response"),
            (elsewhere, "mind elsewhere"),
        )
        for i, (pixels, name) in enumerate(trials):
            picture(axes, pixels, 0.1 + 1.25 * i, 0.36, 1.08)
            write(axes, 0.64 + 1.25 * i, 0.3, name, ha="center", va="top", fontsize=8.5, color=GREY)
        write(
            axes,
            6.5,
            1.36,
            "Treated by the prior, pair by\npair: more blur for what fits\nbadly, less for what fits well.",
            va="top",
            fontsize=9.5,
        )
    return figure


def recordings(source: str) -> Figure:
    """Accuracy on the real recordings, from the table of results in that page."""
    rows = re.findall(r"^\| ([^|]+) \| ([\d.]+) \| ([\d.]+) to ([\d.]+) \| [\d.]+ \| \.\d+ \|$", source, re.M)
    table = pd.DataFrame(rows, columns=["method", "top1", "top1_low", "top1_high"])
    numbers = table[["top1", "top1_low", "top1_high"]].astype(float) / 100
    method = table["method"].str.replace("ridge regression, crisp", "ridge")
    return accuracy_figure(numbers.assign(method=method, top1_chance=0.007))


def draw(app: Any) -> None:
    """Draw those that are not there yet."""
    folder, source = Path(app.srcdir) / FOLDER, Path(app.srcdir) / "real-recording.md"
    folder.mkdir(parents=True, exist_ok=True)
    pictures: dict[str, Callable[[], Figure]] = {
        "overview": overview,
        "gaps": gaps,
        "recordings": lambda: recordings(source.read_text(encoding="utf-8")),
    }
    for name, make in pictures.items():
        make().savefig(folder / f"{name}.png", dpi=200)


def setup(app: Any) -> dict[str, Any]:
    """Draw before Sphinx looks for sources."""
    app.connect("builder-inited", draw, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
