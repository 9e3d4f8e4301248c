"""The transformations of the paper's Table 3, and two more: what a tower may see instead of the crisp image.

What is random is drawn once per image, from its key and the level's name, on the cpu. So a rebuild gives the same
pixels, whatever the batch, its order and the device. Each transformation works on the image at the tower's size.

The released program of the paper holds the two blurs only, and the paper's main text gives no other setting. The
defaults here are those of the program of NeuroBridge (Zhang et al., AAAI 2026), which was built upon it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ubp.images import colors
from ubp.images.blur import Blur, digits
from ubp.images.levels import Bank, Level, Mean
from ubp.randomness import derive_seed

PUBLISHED_WIDTH = 51  # kernel width that belongs to the published sizes in pixels, of 224


def image_generator(name: str, key: str) -> np.random.Generator:
    """Random numbers for one image at one level."""
    return np.random.default_rng(derive_seed("transformation", name, key))


@dataclass(frozen=True)
class Flip:
    """Mirror left and right, each image with a probability.

    Parameters
    ----------
    probability : float
        In 0..1.
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        _check("flip's probability", self.probability, 0 <= self.probability <= 1, "a number in 0..1")

    @property
    def name(self) -> str:
        """See :class:`ubp.images.levels.Level`."""
        return f"flip{digits(self.probability)}"

    def apply(self, images: Tensor, keys: Sequence[str]) -> Tensor:
        """See :class:`ubp.images.levels.Level`."""
        turned = [image_generator(self.name, key).random() < self.probability for key in keys]
        mask = torch.tensor(turned, dtype=torch.bool, device=images.device)[:, None, None, None]
        return torch.where(mask, images.flip(-1), images)


@dataclass(frozen=True)
class Crop:
    """A window at a random place, enlarged to the whole by bilinear interpolation.

    Parameters
    ----------
    share : float
        Side of the window as a part of the image's, above 0 and at most 1; rounded to whole pixels.
    """

    share: float = 0.667

    def __post_init__(self) -> None:
        _check("crop's share", self.share, 0 < self.share <= 1, "a number above 0 and at most 1")

    @property
    def name(self) -> str:
        """See :class:`ubp.images.levels.Level`."""
        return f"crop{digits(self.share)}"

    def apply(self, images: Tensor, keys: Sequence[str]) -> Tensor:
        """See :class:`ubp.images.levels.Level`."""
        size = images.shape[-2:]
        high, wide = (max(1, round(self.share * side)) for side in size)
        windows = images.new_empty(*images.shape[:2], high, wide)
        for image, key, window in zip(images, keys, windows, strict=True):
            random = image_generator(self.name, key)
            top, left = random.integers(size[0] - high + 1), random.integers(size[1] - wide + 1)
            window.copy_(image[:, top : top + high, left : left + wide])
        return functional.interpolate(windows, size, mode="bilinear")


@dataclass(frozen=True)
class Grayscale:
    """Luma in all three channels."""

    @property
    def name(self) -> str:
        """See :class:`ubp.images.levels.Level`."""
        return "grayscale"

    def apply(self, images: Tensor, keys: Sequence[str]) -> Tensor:
        """See :class:`ubp.images.levels.Level`."""
        return colors.luma(images).expand_as(images)


@dataclass(frozen=True)
class ColorJitter:
    """Random brightness, contrast, saturation and hue, in random order, as torchvision's ColorJitter.

    Parameters
    ----------
    brightness, contrast, saturation : float
        A factor is drawn from ``max(0, 1 - value) .. 1 + value``; not negative.
    hue : float
        The turn of the hue is drawn from ``-hue .. hue``, in 0..0.5 of the colour circle.
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1

    def __post_init__(self) -> None:
        for what in ("brightness", "contrast", "saturation"):
            value = getattr(self, what)
            _check(f"color jitter's {what}", value, 0 <= value < math.inf, "a number not below 0")
        _check("color jitter's hue", self.hue, 0 <= self.hue <= 0.5, "a number in 0..0.5")

    @property
    def name(self) -> str:
        """See :class:`ubp.images.levels.Level`."""
        return f"color-{'-'.join(field.name[0] + digits(getattr(self, field.name)) for field in fields(self))}"

    def apply(self, images: Tensor, keys: Sequence[str]) -> Tensor:
        """See :class:`ubp.images.levels.Level`."""
        out = images.clone()
        for target, key in zip(out, keys, strict=True):
            for adjust, value in self.draw(key):
                target.copy_(adjust(target, value))
        return out

    def draw(self, key: str) -> list[tuple[Callable[[Tensor, float], Tensor], float]]:
        """What is done to the image with this key: functions of :mod:`ubp.images.colors` and their values, in order."""
        random = image_generator(self.name, key)
        steps = [
            (getattr(colors, what), random.uniform(max(0.0, 1 - reach), 1 + reach))
            for what, reach in (
                ("brightness", self.brightness),
                ("contrast", self.contrast),
                ("saturation", self.saturation),
            )
        ]
        steps.append((colors.hue, random.uniform(-self.hue, self.hue)))
        return [steps[place] for place in random.permutation(len(steps))]


@dataclass(frozen=True)
class Noise:
    """Gaussian noise, independent in every pixel and channel, cut to 0..1.

    Parameters
    ----------
    deviation : float
        Standard deviation in grey levels of 255, not negative.
    """

    deviation: float = 25.0

    def __post_init__(self) -> None:
        _check(
            "noise's deviation", self.deviation, 0 <= self.deviation < math.inf, "a number of grey levels, 0 or more"
        )

    @property
    def name(self) -> str:
        """See :class:`ubp.images.levels.Level`."""
        return f"noise{digits(self.deviation)}"

    def apply(self, images: Tensor, keys: Sequence[str]) -> Tensor:
        """See :class:`ubp.images.levels.Level`."""
        shape = images.shape[1:]
        drawn = [image_generator(self.name, key).standard_normal(shape, np.float32) for key in keys]
        noise = torch.from_numpy(np.stack(drawn) if drawn else np.empty(images.shape, np.float32)).to(images.device)
        return noise.mul_(self.deviation / 255).add_(images).clamp_(0, 1)


@dataclass(frozen=True)
class LowResolution:
    """Shrink and enlarge again; bilinear both ways, averaging over the source pixels when the image shrinks.

    Parameters
    ----------
    block : float
        Pixels of the image that become one pixel of the small image, 1 or more; the small image's sides are rounded.
    """

    block: float = 10.0

    def __post_init__(self) -> None:
        _check("low resolution's block", self.block, 1 <= self.block < math.inf, "a number of pixels, 1 or more")

    @property
    def name(self) -> str:
        """See :class:`ubp.images.levels.Level`."""
        return f"low{digits(self.block)}"

    def apply(self, images: Tensor, keys: Sequence[str]) -> Tensor:
        """See :class:`ubp.images.levels.Level`."""
        size = images.shape[-2:]
        _check_fits("low resolution's block", self.block, size)
        small = [round(side / self.block) for side in size]
        return functional.interpolate(
            functional.interpolate(images, small, mode="bilinear", antialias=True), size, mode="bilinear"
        )


@dataclass(frozen=True)
class Mosaic:
    """The mean of each square block of pixels; blocks at the lower and right edge may be smaller.

    Parameters
    ----------
    block : int
        Side of a block in pixels, 1 or more.
    """

    block: int = 5

    def __post_init__(self) -> None:
        whole = isinstance(self.block, int) and not isinstance(self.block, bool)
        _check("mosaic's block", self.block, whole and self.block >= 1, "a whole number of pixels, 1 or more")

    @property
    def name(self) -> str:
        """See :class:`ubp.images.levels.Level`."""
        return f"mosaic{self.block}"

    def apply(self, images: Tensor, keys: Sequence[str]) -> Tensor:
        """See :class:`ubp.images.levels.Level`."""
        height, width = images.shape[-2:]
        _check_fits("mosaic's block", self.block, (height, width))
        means = functional.avg_pool2d(images, self.block, ceil_mode=True)
        return means.repeat_interleave(self.block, -2).repeat_interleave(self.block, -1)[..., :height, :width]


def _check(what: str, value: float, good: bool, expected: str) -> None:
    if not good:
        raise ValueError(f"The {what} is {value!r}, but must be {expected}.")


def _check_fits(what: str, block: float, size: Sequence[int]) -> None:
    if block > min(size):
        raise ValueError(f"The {what} is {block:g} pixels, but the image has {size[0]} x {size[1]}.")


def _scaled(block: float, width: int) -> float:
    """A size in pixels of 224 that keeps its ratio to the kernel width."""
    return max(1.0, round(block * width / PUBLISHED_WIDTH, 2))


def _mosaic(blur: Blur) -> Mosaic:
    return Mosaic(max(2, round(_scaled(5, blur.width))))


def _mean(blur: Blur) -> Mean:
    return Mean(tuple(TRANSFORMATIONS[name](blur) for name in ("uniform-blur", "noise", "low-resolution", "mosaic")))


KINDS: dict[str, type] = {
    "blur": Blur,
    "flip": Flip,
    "crop": Crop,
    "grayscale": Grayscale,
    "color-jitter": ColorJitter,
    "noise": Noise,
    "low-resolution": LowResolution,
    "mosaic": Mosaic,
    "mean": Mean,
    "bank": Bank,
}
"""What a level is, as JSON names it."""

TRANSFORMATIONS: dict[str, Callable[[Blur], Level]] = {
    "vanilla": lambda blur: Blur(1),
    "flip": lambda blur: Flip(),
    "crop": lambda blur: Crop(),
    "grayscale": lambda blur: Grayscale(),
    "color-jitter": lambda blur: ColorJitter(),
    "noise": lambda blur: Noise(),
    "low-resolution": lambda blur: LowResolution(_scaled(10, blur.width)),
    "mosaic": _mosaic,
    "uniform-blur": lambda blur: Blur(blur.width, "uniform", sigma=blur.sigma),
    "blur": lambda blur: blur,
    "mean": _mean,
}
"""Levels by name, from the foveated blur of a tower's input. What has a size in pixels follows the width of its kernel,
so that a tower of smaller images, with its smaller width, gets the same picture."""
