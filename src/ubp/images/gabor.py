"""A vision encoder without weights: oriented energy at several scales, the first stage of most models of visual cortex.

Quadrature pairs of Gabor filters act as complex cells (Adelson and Bergen, "Spatiotemporal energy models for the
perception of motion", JOSA A 1985); their energy is averaged over a coarse grid and compressed. Luminance and two
opponent colours on the same grid complete the vector.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ubp.files import digest

CODE_VERSION = "1"
WAVELENGTHS = (3.0, 5.0, 8.5, 14.0)  # pixels, finest first
STRIDES = (2, 2, 4, 8)  # pixels between samples; energy varies over about half a wavelength
N_ORIENTATIONS = 6
GRID = 6
DEFAULT_SIZE = 96
ENVELOPE = 0.5  # standard deviation of the Gaussian envelope in wavelengths: a bandwidth of 1.1 octaves
SEMISATURATION = 1.5  # amplitude, in units of the image's contrast, where compression sets in
COLOUR_GAIN = 0.85  # gives a colour map the variance of a scale on average
_UNIT = 48  # so that every cell of the grid holds a whole number of samples
_BATCH = 32
# Rows: luminance, red minus green, blue minus yellow.
_OPPONENT = ((0.299, 0.587, 0.114), (0.5, -0.5, 0.0), (-0.25, -0.25, 0.5))


def gabor_matrix(size: int, wavelength: float, frequency: float, stride: int) -> np.ndarray:
    r"""One axis of a Gabor filter as a matrix, sampled every `stride` pixels, edges mirrored.

    .. math:: g(t) = e^{-t^2 / 2 \sigma^2} e^{2 \pi i f t} / \sum_t e^{-t^2 / 2 \sigma^2}, \quad \sigma = 0.5 \lambda

    An isotropic Gabor filter is the product of one such factor per axis, with frequencies that are the parts of its
    wave vector; so a matrix product from the left and one from the right do the work of a two-dimensional convolution.

    Parameters
    ----------
    size, stride : int
        Pixels; the first sample lies at pixel ``stride // 2``.
    wavelength : float
        Of the whole filter, pixels; it sets the envelope.
    frequency : float
        Cycles per pixel along this axis.

    Returns
    -------
    ndarray of shape (size // stride, size), complex128
    """
    sigma = ENVELOPE * wavelength
    reach = math.ceil(3 * sigma)
    offset = np.arange(-reach, reach + 1)
    envelope = np.exp(-(offset**2) / (2 * sigma**2))
    taps = envelope / envelope.sum() * np.exp(2j * np.pi * frequency * offset)
    mirrored = np.pad(np.arange(size), reach, mode="reflect")
    matrix = np.zeros((size // stride, size), complex)
    for row in range(size // stride):
        centre = row * stride + stride // 2
        np.add.at(matrix[row], mirrored[centre : centre + 2 * reach + 1], taps)
    return matrix


class GaborEncoder:
    """Multi-scale oriented energy and opponent colour; an image encoder that needs no download and no training.

    Per scale and orientation: the root mean square amplitude over each cell of a `GRID` x `GRID` grid, in units of the
    image's own contrast, compressed by ``log(1 + amplitude / SEMISATURATION)``. The mean over each scale and over each
    colour map is taken away, so that the vectors of different images point in different directions.

    Parameters
    ----------
    size : int
        Height and width of the images in pixels, a multiple of 48.

    Attributes
    ----------
    name, fingerprint : str
        The fingerprint covers every constant of this file and its version.
    size, dim : int
        ``dim = GRID**2 * (scales * orientations + 3) = 972``.
    interpolation : str
        How an image is to be brought to `size`.

    Raises
    ------
    ValueError
        When `size` is not a positive multiple of 48.
    """

    name = "gabor"
    interpolation = "bilinear"

    def __init__(self, size: int = DEFAULT_SIZE):
        if size < _UNIT or size % _UNIT:
            raise ValueError(f"The gabor encoder got an image size of {size} pixels; expected a multiple of {_UNIT}.")
        self.size = size
        self.dim = GRID**2 * (len(WAVELENGTHS) * N_ORIENTATIONS + 3)
        constants = (WAVELENGTHS, STRIDES, N_ORIENTATIONS, GRID, ENVELOPE, SEMISATURATION, COLOUR_GAIN, _OPPONENT)
        self.fingerprint = digest(self.name, CODE_VERSION, str(size), repr(constants))
        # Directions theta and pi - theta share one wave vector up to the sign of its x part: half of them are enough.
        self._banks = [
            [self._factors(wavelength, stride, math.pi * k / N_ORIENTATIONS) for k in range(N_ORIENTATIONS // 2 + 1)]
            for wavelength, stride in zip(WAVELENGTHS, STRIDES, strict=True)
        ]

    def _factors(self, wavelength: float, stride: int, direction: float) -> tuple[Tensor, Tensor]:
        across = gabor_matrix(self.size, wavelength, math.cos(direction) / wavelength, stride)
        down = gabor_matrix(self.size, wavelength, math.sin(direction) / wavelength, stride)
        stacked = [np.concatenate([part.real, part.imag]) for part in (across, down)]
        return torch.from_numpy(stacked[0].T.copy()).float(), torch.from_numpy(stacked[1]).float()

    @property
    def groups(self) -> dict[str, slice]:
        """Where in a vector each scale (named by its wavelength in pixels) and the colour maps lie."""
        block = N_ORIENTATIONS * GRID**2
        scales = {f"{wavelength:g} px": slice(i * block, (i + 1) * block) for i, wavelength in enumerate(WAVELENGTHS)}
        return {**scales, "colour": slice(len(WAVELENGTHS) * block, self.dim)}

    def __call__(self, pixels: Tensor) -> Tensor:
        """Encode images.

        Parameters
        ----------
        pixels : Tensor of shape (n, 3, size, size), float32 in 0..1

        Returns
        -------
        Tensor of shape (n, dim), float32, on the cpu, not normalised
            In the order scale (finest first), orientation, row, column; then luminance, red-green, blue-yellow.

        Raises
        ------
        ValueError
            When the images have another shape.
        """
        if pixels.ndim != 4 or tuple(pixels.shape[1:]) != (3, self.size, self.size):
            raise ValueError(
                f"The gabor encoder got pixels of shape {tuple(pixels.shape)}; "
                f"expected (n, 3, {self.size}, {self.size})."
            )
        vectors = torch.empty(len(pixels), self.dim)
        for start in range(0, len(pixels), _BATCH):
            vectors[start : start + _BATCH] = self._encode(pixels[start : start + _BATCH])
        return vectors

    def _encode(self, pixels: Tensor) -> Tensor:
        maps = torch.einsum("oc,nchw->nohw", torch.tensor(_OPPONENT), pixels.to("cpu", torch.float32))
        amplitude = torch.log1p(self.energy(maps[:, 0]).sqrt() / SEMISATURATION)
        amplitude = amplitude - amplitude.mean((2, 3, 4), keepdim=True)
        colour = COLOUR_GAIN * functional.avg_pool2d(maps, self.size // GRID)
        colour = colour - colour.mean((2, 3), keepdim=True)
        return torch.cat([amplitude.flatten(1), colour.flatten(1)], 1)

    def energy(self, luminance: Tensor) -> Tensor:
        """Mean squared amplitude of images brought to unit contrast, per scale, orientation and grid cell.

        A grating of amplitude 1 has energy 1 before the gain: energies are multiplied by the scale's frequency
        relative to the coarsest one, half way to what would make the scales of natural images equal.

        Parameters
        ----------
        luminance : Tensor of shape (n, size, size), float32

        Returns
        -------
        Tensor of shape (n, scales, orientations, GRID, GRID)
        """
        image = luminance - luminance.mean((1, 2), keepdim=True)
        image = image / (image.square().mean((1, 2), keepdim=True).sqrt() + 1e-3)
        scales = []
        for wavelength, stride, bank in zip(WAVELENGTHS, STRIDES, self._banks, strict=True):
            samples = self.size // stride
            found: dict[int, Tensor] = {}
            for k, (across, down) in enumerate(bank):
                parts = torch.matmul(down, torch.matmul(image, across)).unflatten(1, (2, samples))
                (even_even, even_odd), (odd_even, odd_odd) = (
                    (parts[:, i, :, :samples], parts[:, i, :, samples:]) for i in range(2)
                )
                plus = (even_even - odd_odd).square() + (even_odd + odd_even).square()
                found[k] = plus
                if 0 < k < N_ORIENTATIONS / 2:
                    found[N_ORIENTATIONS - k] = (even_even + odd_odd).square() + (even_odd - odd_even).square()
            energy = torch.stack([found[k] for k in range(N_ORIENTATIONS)], 1)
            gain = 4 * WAVELENGTHS[-1] / wavelength
            scales.append(gain * functional.avg_pool2d(energy, samples // GRID))
        return torch.stack(scales, 1)
