"""Figures of single images: the blur ladder, and the transformations of Table 3."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ubp.commands.figures import save_figure
from ubp.device import pick_device
from ubp.errors import InputError
from ubp.images.blur_options import BlurOptions, default_widths
from ubp.images.encoders import ImageEncoder, image_encoder
from ubp.images.levels import Level, apply_levels
from ubp.images.load import decode_image, read_image_bytes
from ubp.images.transforms import TRANSFORMATIONS
from ubp.plots import ladder_figure, transforms_figure
from ubp.plots.thumbnails import NAME_LENGTH
from ubp.presets import preset
from ubp.progress import say

SIZES = (16, 1024)
MOST_IMAGES = 20
FORMATS = (".png", ".pdf", ".svg")


def blur(
    images: Sequence[Path],
    out: Path = Path("blur.png"),
    encoder: str = "gabor",
    options: BlurOptions = BlurOptions(),
    device: str | None = None,
) -> Figure:
    """Draw images at every level of a ladder, with kernel width, weight map, and what the encoder loses.

    Parameters
    ----------
    images : sequence of Path
    out : Path
        The figure: PNG, PDF or SVG.
    encoder : str
        See :func:`ubp.images.encoders.image_encoder`; images are shown at its input size.
    options : BlurOptions
    device : str, optional

    Raises
    ------
    InputError
        When an image cannot be read, or an option is out of its range.
    """
    _check_request(images, out)
    tower = image_encoder(encoder, str(pick_device(device)))
    try:
        ladder = options.levels(tower.size)
        pixels, keys = _load(images, tower.size, tower.interpolation)
        cosines = cosines_to_crisp(pixels, ladder, keys, tower)
        names = _names(images)
        figure = ladder_figure(pixels, ladder, keys, cosines, names)
    except ValueError as error:
        raise InputError(str(error)) from error
    for level, values in zip(ladder, cosines.T, strict=True):
        say(f"{level.name}: cosine to the crisp vector {', '.join(f'{value:.3f}' for value in values)}")
    _save(figure, out)
    return figure


def transforms(
    images: Sequence[Path], out: Path = Path("transforms.png"), size: int = 224, width: int | None = None
) -> Figure:
    """Draw images under every transformation of Table 3, and mosaic, as a store of these files encodes them.

    Parameters
    ----------
    images : sequence of Path
    out : Path
        The figure: PNG, PDF or SVG.
    size : int
        Side of the encoder's input in pixels, 16 to 1024.
    width : int, optional
        Kernel width of the blurs in its pixels, odd; by default the published 51 of 224 in proportion.

    Raises
    ------
    InputError
        When an image cannot be read, or an option is out of its range.
    """
    _check_request(images, out)
    if not SIZES[0] <= size <= SIZES[1]:
        raise InputError(f"The size is {size} pixels; expected {SIZES[0]} to {SIZES[1]}.")
    published, step = default_widths(size)
    levels = table3_levels(published if width is None else width, step)
    try:
        pixels, keys = _load(images, size, "bilinear")
        figure = transforms_figure(pixels, levels, keys, _names(images))
    except ValueError as error:
        raise InputError(str(error)) from error
    _save(figure, out)
    return figure


def table3_levels(width: int, step: int) -> list[tuple[str, Level]]:
    """Every transformation that has pixels, with its name, and the outer levels of `ubp`."""
    shown = [(name, preset(name, width, step).base) for name in TRANSFORMATIONS if name != "mean"]
    less, _, more = preset("ubp", width, step).ladder
    return [*shown, ("ubp, less blur", less), ("ubp, more blur", more)]


def cosines_to_crisp(images: Tensor, levels: Sequence[Level], keys: Sequence[str], encoder: ImageEncoder) -> np.ndarray:
    """Cosine of each level's vector to the crisp image's, what an encoder keeps of it.

    Parameters
    ----------
    images : Tensor of shape (n, 3, size, size), uint8
        At the encoder's size.
    levels : sequence of Level
    keys : sequence of str
        Of the images; see :func:`ubp.images.levels.apply_levels`.
    encoder : ImageEncoder

    Returns
    -------
    ndarray of shape (n, n_levels), float64

    Raises
    ------
    InputError
        When a vector is zero or not finite.
    """
    pixels = apply_levels(images, levels, keys)
    crisp, *vectors = (_directions(encoder, batch) for batch in (images.float() / 255, *pixels))
    return np.stack([(crisp * other).sum(1).numpy() for other in vectors], axis=1)


def _directions(encoder: ImageEncoder, pixels: Tensor) -> Tensor:
    vectors = encoder(pixels).double()
    lengths = vectors.norm(dim=1, keepdim=True)
    if not bool(((lengths > 0) & torch.isfinite(lengths)).all()):
        raise InputError(f"The encoder {encoder.name} gives no direction for one of the images; leave it out.")
    return vectors / lengths


def _check_request(images: Sequence[Path], out: Path) -> None:
    if not 1 <= len(images) <= MOST_IMAGES:
        raise InputError(f"There are {len(images)} images; expected 1 to {MOST_IMAGES} for one figure.")
    if out.suffix.lower() not in FORMATS:
        raise InputError(f"The figure is to be {out}; expected a name that ends in {', '.join(FORMATS)}.")


def _load(images: Sequence[Path], size: int, interpolation: str) -> tuple[Tensor, list[str]]:
    data = [read_image_bytes(path) for path in images]
    pixels = [decode_image(content, path, size, interpolation) for content, path in zip(data, images, strict=True)]
    return torch.stack(pixels), [hashlib.sha256(content).hexdigest() for content in data]


def _names(images: Sequence[Path]) -> list[str]:
    """File names, cut where they would not fit a tile."""
    return [name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…" for name in (p.name for p in images)]


def _save(figure: Figure, out: Path) -> None:
    save_figure(figure, out)
    say(f"The figure: {out}")
