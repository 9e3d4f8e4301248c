"""Images of a study by number, small, and blurred as the image encoder would see them."""

import io
import math
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from ubp.errors import InputError
from ubp.files import inside
from ubp.images.blur import Blur, blur
from ubp.images.load import load_image
from ubp.presets import Preset

THUMBNAIL = 160  # pixels of a side
KEPT = 4096  # pictures, of some kB each


class Pictures:
    """Makes the pictures of a page and keeps the last ones.

    Parameters
    ----------
    folder : Path
        No file outside of it is read, symbolic links followed.
    images : tuple of str
        Names below the folder; the page knows their numbers alone.
    preset : Preset
        Of the model, whose blur the slider starts from.
    size : int
        Height and width in pixels of the images that the vision encoder takes.
    interpolation : str
    """

    def __init__(self, folder: Path, images: tuple[str, ...], preset: Preset, size: int, interpolation: str) -> None:
        self.folder, self.images, self.size, self.interpolation = folder, images, size, interpolation
        self.level = preset.base if isinstance(preset.base, Blur) and preset.base.width > 1 else Blur()
        self.levels = {level.width: level for level in preset.ladder if isinstance(level, Blur)}
        widest = max(2 * max(self.levels, default=1), math.ceil(size / 3))
        self.widest = min(2 * (widest // 2) + 1, 2 * ((size - 1) // 2) + 1)
        self.thumbnail = lru_cache(KEPT)(self._thumbnail)
        self.blurred = lru_cache(256)(self._blurred)
        self._crisp = lru_cache(16)(self._load)

    def level_of(self, width: int) -> Blur:
        """The model's level of that width, or one between; a deviation of its own grows with the width."""
        sigma = None if self.level.sigma is None else self.level.sigma * width / self.level.width
        return self.levels.get(width, replace(self.level, width=width, sigma=sigma))

    def _thumbnail(self, row: int) -> bytes:
        return _encoded(self._load(row, THUMBNAIL), "jpeg", quality=88)

    def _blurred(self, row: int, width: int) -> bytes:
        if width % 2 == 0 or not 1 <= width <= self.widest:
            raise InputError(f"The blur width {width} is not possible; expected an odd number from 1 to {self.widest}.")
        pixels = self._crisp(row, self.size)
        if width > 1:
            shown = blur(pixels[None], self.level_of(width))[0]
            pixels = (shown.clamp(0, 1) * 255).round().byte()
        return _encoded(pixels, "png", compress_level=1)

    def _load(self, row: int, size: int) -> Tensor:
        if not 0 <= row < len(self.images):
            raise InputError(f"There is no image {row}; expected a number from 0 to {len(self.images) - 1}.")
        return load_image(inside(self.folder, self.images[row]), size, self.interpolation)


def _encoded(pixels: Tensor, kind: str, **options: int) -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())).save(data, kind, **options)
    return data.getvalue()
