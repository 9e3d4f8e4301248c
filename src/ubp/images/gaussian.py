"""Gaussian kernels, and the blur of one axis, mirrored at its ends, as matrices.

A Gaussian kernel over an axis mirrored at its ends is diagonal in the cosine basis (DCT-I): `analysis` makes
coefficients of pixels, `synthesis` scales them by the kernel's response and makes pixels again. A wide Gaussian needs
few coefficients (about 40 of 224 at width 45), which is what makes it fast; a narrow one is cheaper as a banded matrix.
"""

import math
from functools import lru_cache
from numbers import Integral

import torch
from torch import Tensor

# Largest error of one axis for pixels in -1..1. With two axes and pixels in 0..1: 255 * 1.9e-3 = 0.49 grey levels.
TOLERANCE = 1.9e-3
BLOCK = 48  # pixels of the axis that one block of a banded matrix makes


def gaussian_sigma(width: int) -> float:
    """Standard deviation in pixels for a kernel width, ``0.3 ((width - 1) / 2 - 1) + 0.8``, as in OpenCV."""
    check_width(width)
    return 0.3 * ((width - 1) * 0.5 - 1) + 0.8


def gaussian_kernel(width: int, sigma: float | None = None) -> Tensor:
    """Gaussian of odd width, ``g(j) ~ exp(-j^2 / (2 sigma^2))`` for ``|j| <= (width - 1) / 2``, summing to 1.

    Without a sigma the kernel is OpenCV's for this width: the formula with `gaussian_sigma`, and for widths 3 to 9 the
    table of binary fractions that OpenCV has there instead. With a sigma it is always the formula.

    Returns
    -------
    Tensor of shape (width,), float64
    """
    check_width(width)
    check_sigma(sigma)
    if sigma is None and width in _SMALL_KERNELS:
        half = torch.tensor(_SMALL_KERNELS[width], dtype=torch.float64)
        kernel = torch.cat([half, half[:-1].flip(0)])
    else:
        distance = torch.arange(width, dtype=torch.float64) - width // 2
        kernel = torch.exp(-0.5 * (distance / (gaussian_sigma(width) if sigma is None else sigma)) ** 2)
    return kernel / kernel.sum()


@lru_cache(maxsize=256)
def _response(size: int, width: int, sigma: float | None) -> Tensor:
    """Frequency response of the kernel at ``pi k / (size - 1)``, ``k < size``: the eigenvalues of the mirrored blur."""
    if size == 1:
        return torch.ones(1, dtype=torch.float64)
    period = 2 * (size - 1)
    wrapped = torch.zeros(period, dtype=torch.float64)
    wrapped.index_add_(0, (torch.arange(width) - width // 2) % period, gaussian_kernel(width, sigma))
    return torch.fft.rfft(wrapped).real


@lru_cache(maxsize=256)
def _rank(size: int, width: int, sigma: float | None) -> int:
    """Fewest coefficients within `TOLERANCE`; 0 when a banded matrix is cheaper.

    What is dropped is a convolution too: the sum of its kernel's magnitudes bounds its effect on every image.
    """
    tail = _response(size, width, sigma).clone()
    for rank in range(2, min(size // 2, width + BLOCK) + 1, 2):
        tail[:rank] = 0
        if torch.fft.irfft(tail, n=2 * (size - 1)).abs().sum() <= TOLERANCE:
            return rank
    return 0


def cosine_ranks(height: int, width: int, kernel: int, sigma: float | None) -> tuple[int, int] | None:
    """How many coefficients of columns and rows a blur needs; None where banded matrices are cheaper, or nothing is."""
    if kernel == 1:
        return None
    ranks = _rank(height, kernel, sigma), _rank(width, kernel, sigma)
    return ranks if all(ranks) else None


def _cosines(size: int, rank: int) -> tuple[Tensor, Tensor]:
    """``cos(pi k i / (size - 1))`` of shape (rank, size), float64, and the weight, 1/2 at both ends, of every index."""
    if size == 1:
        return torch.ones((1, 1), dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    index = torch.arange(size, dtype=torch.float64)
    angle = torch.outer(index[:rank], index) % (2 * (size - 1))
    ends = torch.ones(size, dtype=torch.float64)
    ends[[0, -1]] = 0.5
    return torch.cos(angle * (math.pi / (size - 1))), ends


@lru_cache(maxsize=64)
def analysis(size: int, rank: int, device: torch.device) -> Tensor:
    """Pixels to coefficients, shape (size, rank)."""
    cosines, ends = _cosines(size, rank)
    return (cosines * ends).T.contiguous().to(device, torch.float32)


@lru_cache(maxsize=64)
def synthesis(size: int, rank: int, width: int, sigma: float | None, device: torch.device) -> Tensor:
    """Coefficients to blurred pixels, shape (rank, size); the kernel's response is folded in."""
    return _blurred_cosines(size, rank, width, sigma).to(device, torch.float32)


def _blurred_cosines(size: int, rank: int, width: int, sigma: float | None) -> Tensor:
    cosines, ends = _cosines(size, rank)
    scale = 2 / (size - 1) if size > 1 else 1
    return cosines * (scale * ends * _response(size, width, sigma))[:rank, None]


@lru_cache(maxsize=64)
def banded(
    size: int, width: int, sigma: float | None, device: torch.device
) -> tuple[tuple[int, int, int, int, Tensor], ...]:
    """Blocks (start, stop, low, high, matrix) of the blur's matrix: pixels low..high make pixels start..stop."""
    cosines, ends = _cosines(size, size)
    matrix = (_blurred_cosines(size, size, width, sigma).T @ (cosines * ends)).to(device, torch.float32)
    reach = width // 2
    step = BLOCK if device.type == "cpu" and BLOCK + 2 * reach < 0.6 * size else size
    bands = []
    for start in range(0, size, step):
        stop = min(size, start + step)
        low, high = max(0, start - reach), min(size, stop + reach)
        bands.append((start, stop, low, high, matrix[start:stop, low:high].contiguous()))
    return tuple(bands)


def check_width(width: int) -> None:
    """Raise ValueError unless a kernel can have this width."""
    if isinstance(width, bool) or not isinstance(width, Integral) or width < 1 or width % 2 == 0:
        raise ValueError(f"The blur width is {width!r}, but must be an odd whole number of pixels, 1 or more.")


def check_sigma(sigma: float | None) -> None:
    """Raise ValueError unless it is above 0, or left out."""
    if sigma is not None and not (math.isfinite(sigma) and sigma > 0):
        raise ValueError(f"The blur sigma is {sigma}, but must be above 0 pixels.")


_SMALL_KERNELS = {
    3: (0.25, 0.5),
    5: (0.0625, 0.25, 0.375),
    7: (0.03125, 0.109375, 0.21875, 0.28125),
    9: (0.015625, 0.05078125, 0.1171875, 0.19921875, 0.234375),
}
