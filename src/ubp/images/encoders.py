"""Frozen image encoders behind one small interface, and the table that names them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from torch import Tensor

from ubp.errors import InputError
from ubp.images.clip import TOWERS, ClipEncoder
from ubp.images.spec import Reading, near_names, read_options, split_spec


class ImageEncoder(Protocol):
    """What turns pixels into vectors; anything with these attributes serves.

    Attributes
    ----------
    name : str
        For people: tables, logs, manifests.
    fingerprint : str
        Hex digest that changes whenever the vectors would: it covers the weights and the preprocessing.
    size : int
        Height and width of the images in pixels.
    interpolation : str
        How images are brought to that size, a key of `ubp.images.load.INTERPOLATIONS`.
    dim : int
        Length of a vector.
    """

    name: str
    fingerprint: str
    size: int
    interpolation: str
    dim: int

    def __call__(self, pixels: Tensor) -> Tensor:
        """Encode images.

        Parameters
        ----------
        pixels : Tensor of shape (n, 3, size, size), float32 in 0..1
            RGB, on any device. The encoder subtracts its own mean and divides by its own standard deviation.

        Returns
        -------
        Tensor of shape (n, dim), float32, on the cpu, not normalised
            The same call on the same machine gives the same bits. An image's vector does not depend on the other
            images of the batch, except for rounding where a library picks another algorithm for another batch size.
        """
        ...


def image_encoder(spec: str, device: str = "cpu") -> ImageEncoder:
    """Make the encoder that `spec` names.

    Parameters
    ----------
    spec : str
        One of `USAGE`, or one of the paper's eight towers by its name alone (``"RN50"``, ``"ViT-B-32"``; all are in
        `ubp.images.clip.TOWERS`), with the paper's checkpoint. PRETRAINED is a published checkpoint's tag, a local
        file, or ``none`` for random weights. Options follow after commas:

        - ``layer=`` an intermediate block by path or number, instead of the tower's output; several joined by ``+``,
          each brought to length 1 before they are put side by side (see `ubp.images.layers.find_layer`),
        - ``pool=`` ``cls``, ``mean``, ``gem``, ``grid2``, ``grid3`` or ``attention``; by default the class token where
          there is one, else the mean (see `ubp.images.pools`),
        - ``precision=`` ``fp32`` (default), ``bf16``, or ``fp16`` on a GPU,
        - ``size=`` of the images in pixels, for timm's models and gabor (96, or another multiple of 48).
    device : str
        ``"cpu"``, ``"cuda"``, ``"mps"``; an encoder that cannot use it runs on the cpu.

    Raises
    ------
    InputError
        When no encoder has that name, or it cannot be made.
    UbpError
        When its library is not installed.

    Examples
    --------
    >>> encoder = image_encoder("gabor")
    >>> encoder.size, encoder.dim
    (96, 972)
    >>> image_encoder("RN50/none,layer=layer3+layer4,pool=gem").dim
    3072
    """
    address, options = split_spec(spec)
    prefix, colon, argument = address.partition(":")
    if re.split("[/:]", address)[0] in TOWERS:
        prefix, colon, argument = "open_clip", ":", address
    if prefix not in ENCODERS:
        near = near_names(prefix, [*ENCODERS, *TOWERS], 2)
        expected = " or ".join(USAGE.get(name, name) for name in near)
        expected = expected or f"one of {', '.join([*USAGE.values(), *TOWERS])}"
        raise InputError(f"The image encoder {spec!r} is unknown; expected {expected} (`ubp encoders` lists them).")
    if bool(argument) != (":" in USAGE[prefix]) or bool(colon) != bool(argument):
        raise InputError(f"The image encoder {spec!r} is incomplete or has too much; expected {USAGE[prefix]}.")
    return ENCODERS[prefix](argument, read_options(spec, options, OPTIONS.get(prefix, ())), device)


# Each factory imports its own library, so that nobody pays for one that is not asked for.
def _gabor(argument: str, reading: Reading, device: str) -> ImageEncoder:
    from ubp.images.gabor import DEFAULT_SIZE, GaborEncoder

    try:
        return GaborEncoder(reading.size or DEFAULT_SIZE)
    except ValueError as error:
        raise InputError(str(error)) from error


def _pixels(argument: str, reading: Reading, device: str) -> ImageEncoder:
    from ubp.images.pixels import PixelEncoder

    return PixelEncoder()


def _onnx(argument: str, reading: Reading, device: str) -> ImageEncoder:
    from ubp.images.onnx import OnnxEncoder

    return OnnxEncoder(Path(argument), device, reading)


def _open_clip(argument: str, reading: Reading, device: str) -> ImageEncoder:
    model, _, pretrained = argument.partition("/")
    return ClipEncoder(model, pretrained or None, device, reading)


def _timm(argument: str, reading: Reading, device: str) -> ImageEncoder:
    from ubp.images.timm import TimmEncoder

    model, _, pretrained = argument.partition("/")
    return TimmEncoder(model, pretrained or None, device, reading)


ENCODERS: dict[str, Callable[[str, Reading, str], ImageEncoder]] = {
    "gabor": _gabor,
    "pixels": _pixels,
    "onnx": _onnx,
    "open_clip": _open_clip,
    "timm": _timm,
}
USAGE = {
    "gabor": "gabor",
    "pixels": "pixels",
    "onnx": "onnx:FILE",
    "open_clip": "open_clip:MODEL[/PRETRAINED]",
    "timm": "timm:MODEL[/PRETRAINED]",
}
OPTIONS = {
    "gabor": ("size",),
    "onnx": ("layer", "pool"),
    "open_clip": ("layer", "pool", "precision"),
    "timm": ("layer", "pool", "precision", "size"),
}
