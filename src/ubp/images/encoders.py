"""Frozen image encoders behind one small interface, and the table that names them."""

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from torch import Tensor

from ubp.errors import InputError


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
        ``"gabor"``, ``"onnx:FILE"`` or ``"open_clip:MODEL[/PRETRAINED]"``; see `ENCODERS`.
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
    """
    prefix, colon, argument = spec.partition(":")
    if prefix not in ENCODERS:
        near = difflib.get_close_matches(prefix, ENCODERS, n=2, cutoff=0.5)
        expected = " or ".join(USAGE[name] for name in near) or f"one of {', '.join(USAGE.values())}"
        raise InputError(f"The image encoder {spec!r} is unknown; expected {expected}.")
    if bool(argument) != (":" in USAGE[prefix]) or bool(colon) != bool(argument):
        raise InputError(f"The image encoder {spec!r} is incomplete or has too much; expected {USAGE[prefix]}.")
    return ENCODERS[prefix](argument, device)


# Each factory imports its own library, so that nobody pays for one that is not asked for.
def _gabor(argument: str, device: str) -> ImageEncoder:
    from ubp.images.gabor import GaborEncoder

    return GaborEncoder()


def _onnx(argument: str, device: str) -> ImageEncoder:
    from ubp.images.onnx import OnnxEncoder

    return OnnxEncoder(Path(argument), device)


def _open_clip(argument: str, device: str) -> ImageEncoder:
    from ubp.images.clip import ClipEncoder

    model, _, pretrained = argument.partition("/")
    return ClipEncoder(model, pretrained or None, device)


ENCODERS: dict[str, Callable[[str, str], ImageEncoder]] = {"gabor": _gabor, "onnx": _onnx, "open_clip": _open_clip}
USAGE = {"gabor": "gabor", "onnx": "onnx:FILE", "open_clip": "open_clip:MODEL[/PRETRAINED]"}
