"""Foveated Gaussian blur: sharp where the eye is fixed, more and more blurred away from it.

All levels of a ladder share one cosine transform of the image: each level scales the coefficients and transforms back
(`ubp.images.gaussian`). A narrow kernel is applied as a banded matrix.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ubp.images.gaussian import analysis, banded, check_sigma, check_width, cosine_ranks, synthesis

CHUNK_BYTES = {"cpu": 2 << 20, "cuda": 256 << 20}  # of images at a time, per thread; the CPU keeps them in its cache


@dataclass(frozen=True)
class Blur:
    """One level of blur, ``x~ = a x + (1 - a) (x * G)``: ``a`` is `fovea_weight`, ``G`` is `gaussian_kernel`.

    Parameters
    ----------
    width : int
        Kernel width in pixels, odd. Width 1 is the crisp image, whatever the other fields are.
    curve : str
        How the weight of the crisp image falls with the distance from the fixation point: a key of `CURVES`.
    decay : float
        Speed of the fall, lambda; used by the exponential and the logarithmic curve only.
    strength : float
        Factor on the weight, in 0..1. The released program uses 0.5, so even its fixation point is half blurred.
    sigma : float, optional
        Standard deviation of the kernel in pixels; by default the one OpenCV takes for the width.
    fixation : (float, float), optional
        Row and column of the fixation point in pixels; by default the image centre.

    Raises
    ------
    ValueError
        When a field is out of its range; the message is one sentence.
    """

    width: int = 51
    curve: str = "exponential"
    decay: float = 3.0
    strength: float = 1.0
    sigma: float | None = None
    fixation: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_width(self.width)
        _check_curve(self.curve, self.decay, self.strength)
        check_sigma(self.sigma)
        if self.fixation is not None:
            if len(self.fixation) != 2 or not all(math.isfinite(x) for x in self.fixation):
                raise ValueError(f"The fixation point is {self.fixation}, but must be a row and a column in pixels.")
            object.__setattr__(self, "fixation", tuple(float(x) for x in self.fixation))

    @property
    def name(self) -> str:
        """Short name, safe in a file name; levels with one name give the same images."""
        if self.width == 1:
            return "crisp"
        name = f"w{self.width}-{self.curve}"
        if self.curve in ("exponential", "logarithmic"):
            name += digits(self.decay)
        if self.strength != 1 and self.curve != "uniform":
            name += f"-strength{digits(self.strength)}"
        if self.sigma is not None:
            name += f"-sigma{digits(self.sigma)}"
        if self.fixation is not None and self.curve != "uniform":
            name += "-at" + "x".join(digits(x) for x in self.fixation)
        return name

    def apply(self, images: Tensor, keys: Sequence[str] = ()) -> Tensor:
        """Blur images; nothing is random, so the keys have no part."""
        return blur(images, self)


def fovea_weight(
    height: int,
    width: int,
    curve: str = "exponential",
    decay: float = 3.0,
    strength: float = 1.0,
    fixation: tuple[float, float] | None = None,
) -> Tensor:
    """Weight of the crisp image, ``a(i, j) = strength * curve(d(i, j) / L)``.

    ``d`` is the distance of pixel (i, j) from the fixation point and ``L`` the largest such distance in the image. With
    ``t = d / L`` the curves are ``exp(-decay t)`` (exponential), ``1 - t`` (linear), ``1 - t^2`` (quadratic),
    ``1 - log(1 + decay t) / log(1 + decay)`` (logarithmic) and 0 (uniform). All but the last begin at 1.

    Parameters
    ----------
    height, width : int
        Image size in pixels.
    fixation : (float, float), optional
        Row and column of the fixation point, inside the image; by default ``((height - 1) / 2, (width - 1) / 2)``.

    Returns
    -------
    Tensor of shape (height, width), float32, in 0..1

    Raises
    ------
    ValueError
        When the size, curve, decay, strength or fixation point is out of its range.
    """
    if height < 1 or width < 1:
        raise ValueError(f"The image is {height} x {width} pixels, but must have at least one row and one column.")
    _check_curve(curve, decay, strength)
    row, column = ((height - 1) / 2, (width - 1) / 2) if fixation is None else fixation
    if not (0 <= row <= height - 1 and 0 <= column <= width - 1):
        raise ValueError(f"The fixation point ({row}, {column}) lies outside the image of {height} x {width} pixels.")
    rows = torch.arange(height, dtype=torch.float64)[:, None] - row
    distance = torch.hypot(rows, torch.arange(width, dtype=torch.float64)[None] - column)
    distance /= distance.max().clamp_min(1e-12)
    return (strength * CURVES[curve](distance, decay)).float()


def blur(images: Tensor, level: Blur) -> Tensor:
    """Blur images by one level; see `blur_ladder`. Returns a float32 tensor of the shape of `images`."""
    return blur_ladder(images, (level,))[0]


@torch.no_grad()
def blur_ladder(images: Tensor, ladder: Sequence[Blur]) -> Tensor:
    """Blur images by every level of a ladder, ``x~ = a x + (1 - a) (x * G)``, mirrored at the edges as in OpenCV.

    Differs from the exact sum by less than 0.5 grey levels of 255 on any image (0.15 is the most seen), and pixels can
    leave 0..1 by as much. It equals OpenCV on float images that closely. On uint8 images OpenCV rounds kernels wider
    than 9 to 1/256, which moves its own result by up to 2.3 grey levels in photographs and by more in noise.
    No gradient is kept.

    Parameters
    ----------
    images : Tensor of shape (n_images, n_channels, height, width)
        float32 in 0..1, or uint8 in 0..255 (which is divided by 255 in passing).
    ladder : sequence of Blur
        The levels.

    Returns
    -------
    Tensor of shape (n_levels, n_images, n_channels, height, width), float32, on the device of `images`

    Raises
    ------
    ValueError
        When the images have another shape or type, or the ladder is empty.

    References
    ----------
    Wu et al., "Bridging the Vision-Brain Gap with an Uncertainty-Aware Blur Prior", CVPR 2025, equations 2 to 5.

    Examples
    --------
    >>> blur_ladder(torch.rand(8, 3, 96, 96), [Blur(1), Blur(13), Blur(25)]).shape
    torch.Size([3, 8, 3, 96, 96])
    """
    ladder = tuple(ladder)
    if not ladder:
        raise ValueError("The ladder has no level, but needs at least one Blur.")
    if images.ndim != 4 or images.dtype not in (torch.float32, torch.uint8) or 0 in images.shape[1:]:
        raise ValueError(
            f"The images are {images.dtype} of shape {tuple(images.shape)}, but must be float32 in 0..1 or uint8, "
            "of shape (n_images, n_channels, height, width)."
        )
    n, channels, height, width = images.shape
    device = images.device
    out = torch.empty((len(ladder), n, channels, height, width), dtype=torch.float32, device=device)
    ranks = [cosine_ranks(height, width, level.width, level.sigma) for level in ladder]
    shared = tuple(max((r[axis] for r in ranks if r), default=0) for axis in (0, 1))
    weights = [_weight(height, width, level, device) for level in ladder]
    room = CHUNK_BYTES.get(device.type, CHUNK_BYTES["cuda"]) * (torch.get_num_threads() if device.type == "cpu" else 1)
    chunk = max(1, room // (4 * channels * height * width))
    for start in range(0, n, chunk):
        crisp = images[start : start + chunk]
        if crisp.dtype == torch.uint8:
            crisp = crisp.float().div_(255)
        crisp = crisp.contiguous()
        planes = crisp.view(-1, height, width)
        if shared[0]:
            rows, columns = analysis(height, shared[0], device), analysis(width, shared[1], device)
            coefficients = torch.matmul(torch.matmul(rows.T, planes), columns)
        for level, rank, weight, target in zip(ladder, ranks, weights, out[:, start : start + chunk], strict=True):
            if level.width == 1:
                target.copy_(crisp)
                continue
            blurred = target.view(-1, height, width)
            if rank:
                left = synthesis(height, rank[0], level.width, level.sigma, device)
                right = synthesis(width, rank[1], level.width, level.sigma, device)
                half = torch.matmul(coefficients[:, : rank[0], : rank[1]], right)
                torch.matmul(left.T, half, out=blurred)
            else:
                _apply_bands(planes, level, blurred)
            if weight is not None:
                target.lerp_(crisp, weight)
    return out


def _apply_bands(planes: Tensor, level: Blur, out: Tensor) -> None:
    """Write ``B_h planes B_w^T`` to `out`, block by block of the banded matrices."""
    _, height, width = planes.shape
    half = torch.empty_like(planes)
    for start, stop, low, high, block in banded(width, level.width, level.sigma, planes.device):
        torch.mm(planes.view(-1, width)[:, low:high], block.T, out=half.view(-1, width)[:, start:stop])
    bands = banded(height, level.width, level.sigma, planes.device)
    if len(bands) == 1:
        torch.matmul(bands[0][-1], half, out=out)
        return
    for source, target in zip(half, out, strict=True):
        for start, stop, low, high, block in bands:
            torch.mm(block, source[low:high], out=target[start:stop])


@lru_cache(maxsize=64)
def _weight(height: int, width: int, level: Blur, device: torch.device) -> Tensor | None:
    if level.width == 1 or level.curve == "uniform" or level.strength == 0:
        return None
    return fovea_weight(height, width, level.curve, level.decay, level.strength, level.fixation).to(device)


def _check_curve(curve: str, decay: float, strength: float) -> None:
    if curve not in CURVES:
        raise ValueError(f"The blur curve {curve!r} is unknown; use one of {', '.join(CURVES)}.")
    if not (math.isfinite(decay) and decay > 0):
        raise ValueError(f"The blur decay is {decay}, but must be above 0.")
    if not 0 <= strength <= 1:
        raise ValueError(f"The blur strength is {strength}, but must lie in 0..1.")


def digits(number: float) -> str:
    """Shortest text that gives the number back, without a trailing ".0"."""
    return re.sub(r"\.0$", "", repr(float(number)))


CURVES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "exponential": lambda t, decay: torch.exp(-decay * t),
    "linear": lambda t, decay: 1 - t,
    "quadratic": lambda t, decay: 1 - t**2,
    "logarithmic": lambda t, decay: 1 - torch.log1p(decay * t) / math.log1p(decay),
    "uniform": lambda t, decay: torch.zeros_like(t),
}
