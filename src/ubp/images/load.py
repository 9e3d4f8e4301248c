"""Image files of any kind to square RGB pixels, with bounds set before memory is taken."""

import io
import struct
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ubp.errors import InputError

MAX_PIXELS = 100_000_000
MAX_BYTES = 256 * 2**20

# Pillow reads more, but some of its readers start other programs or have no bound of their own.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")

# What Pillow's readers raise on broken files.
_BROKEN = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, struct.error)


def load_image(path: Path, size: int, interpolation: str = "bilinear", max_pixels: int = MAX_PIXELS) -> Tensor:
    """Read an image file and squash it to a square.

    Parameters
    ----------
    path : Path
        JPEG, PNG, BMP, GIF, PPM, TIFF or WebP.
    size : int
        Height and width of the result in pixels. The aspect ratio is not kept.
    interpolation : str
        A key of `INTERPOLATIONS`; both average over the source pixels when the image shrinks.
    max_pixels : int
        A file that declares more is refused before it is decoded.

    Returns
    -------
    Tensor of shape (3, size, size), uint8
        RGB. An EXIF rotation is applied, transparency is laid on white, 16-bit grey is scaled to 8 bits, CMYK is
        converted without a colour profile, and of an animation the first frame is taken.

    Raises
    ------
    InputError
        When the file is missing, not an image, truncated, or gigantic.
    """
    return decode_image(read_image_bytes(path), path, size, interpolation, max_pixels)


def read_image_bytes(path: Path) -> bytes:
    """Read an image file whole, if it holds no more than `MAX_BYTES`.

    Raises
    ------
    InputError
        When the file is missing, unreadable, empty, or too big.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            # One byte past the bound shows that there is more, whatever the file system says of the size.
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; expected an image file there.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); expected an image file.") from error
    if not data:
        raise InputError(f"{path} is empty; expected an image file.")
    if len(data) > MAX_BYTES:
        raise InputError(
            f"{path} has more than {MAX_BYTES >> 20} MB, the bound for an image file; replace it by a smaller one."
        )
    return data


def decode_image(
    data: bytes, path: Path, size: int, interpolation: str = "bilinear", max_pixels: int = MAX_PIXELS
) -> Tensor:
    """Decode the bytes of an image file; `path` serves the messages, the rest is as in `load_image`."""
    if interpolation not in INTERPOLATIONS:
        raise InputError(
            f"The interpolation {interpolation!r} is unknown; expected one of {', '.join(INTERPOLATIONS)}."
        )
    if size < 1:
        raise InputError(f"The image size {size} is not possible; expected at least 1 pixel.")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise InputError(
            f"{path} declares far more than {max_pixels} pixels, the most that are decoded; "
            "replace it by a smaller image."
        ) from error
    except _BROKEN as error:
        raise InputError(f"{path} is not an image that can be read; expected one of {', '.join(FORMATS)}.") from error
    with image:
        if image.width * image.height > max_pixels:
            raise InputError(
                f"{path} declares {image.width} x {image.height} pixels; at most {max_pixels} are decoded, "
                "replace it by a smaller image."
            )
        try:
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            squashed = _to_rgb(image, path).resize((size, size), INTERPOLATIONS[interpolation])
        except InputError:
            raise
        except _BROKEN as error:
            reason = "is truncated" if "truncated" in str(error) else f"cannot be decoded ({error})"
            raise InputError(f"{path} {reason}; expected a whole image file, copy it again from its source.") from error
    return torch.from_numpy(np.array(squashed)).permute(2, 0, 1).contiguous()


def _to_rgb(image: Image.Image, path: Path) -> Image.Image:
    if image.mode == "F":
        raise InputError(f"{path} holds floating-point pixels, whose range is unknown; expected 8 or 16 bits.")
    if image.mode.startswith("I"):
        # Pillow's own conversion would clip everything above 255.
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise InputError(f"{path} holds grey values from {values.min()} to {values.max()}; expected 0 to 65535.")
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


INTERPOLATIONS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
