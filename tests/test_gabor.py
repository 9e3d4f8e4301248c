"""The gabor encoder against explicit convolution, gratings, and the invariances it is made for."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate

from ubp.images import gabor
from ubp.images.blur import Blur, blur_ladder
from ubp.images.gabor import GaborEncoder
from ubp.images.scenes import scene


def pictures(n: int, size: int = 96) -> torch.Tensor:
    stack = np.stack([scene(seed, 0, size) for seed in range(n)])
    return torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 255


def grating(wavelength: float, direction: float, size: int = 96, phase: float = 0.3) -> torch.Tensor:
    y, x = np.mgrid[:size, :size]
    wave = np.cos(2 * np.pi * (x * math.cos(direction) + y * math.sin(direction)) / wavelength + phase)
    return torch.from_numpy(wave).float()[None]


def slow_energy(image: np.ndarray, wavelength: float, stride: int, direction: float) -> np.ndarray:
    """Two-dimensional complex correlation at every pixel, sampled, squared and averaged cell by cell."""
    size = len(image)
    image = (image - image.mean()) / (image.std() + 1e-3)
    sigma = gabor.ENVELOPE * wavelength
    reach = math.ceil(3 * sigma)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    envelope = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    kernel = (
        envelope / envelope.sum() * np.exp(2j * np.pi * (x * np.cos(direction) + y * np.sin(direction)) / wavelength)
    )
    even, odd = (correlate(image, part, mode="mirror") for part in (kernel.real, kernel.imag))
    power = even**2 + odd**2
    cell = size // gabor.GRID
    result = np.empty((gabor.GRID, gabor.GRID))
    for i in range(gabor.GRID):
        for j in range(gabor.GRID):
            block = power[i * cell : (i + 1) * cell, j * cell : (j + 1) * cell]
            result[i, j] = block[stride // 2 :: stride, stride // 2 :: stride].mean()
    return result * 4 * gabor.WAVELENGTHS[-1] / wavelength


def test_energy_is_that_of_an_explicit_convolution():
    image = pictures(1, 48)[:, 1]
    fast = GaborEncoder(48).energy(image)[0].numpy()
    for scale, (wavelength, stride) in enumerate(zip(gabor.WAVELENGTHS, gabor.STRIDES, strict=True)):
        for k in range(gabor.N_ORIENTATIONS):
            slow = slow_energy(image[0].double().numpy(), wavelength, stride, math.pi * k / gabor.N_ORIENTATIONS)
            np.testing.assert_allclose(fast[scale, k], slow, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("orientation", range(gabor.N_ORIENTATIONS))
@pytest.mark.parametrize("scale", range(len(gabor.WAVELENGTHS)))
def test_a_grating_excites_its_own_channel(scale, orientation):
    wavelength = gabor.WAVELENGTHS[scale]
    image = grating(wavelength, math.pi * orientation / gabor.N_ORIENTATIONS)
    energy = GaborEncoder().energy(image)[0]
    amplitude = (energy.mean((2, 3)) * torch.tensor(gabor.WAVELENGTHS)[:, None]).sqrt()
    assert divmod(int(amplitude.argmax()), gabor.N_ORIENTATIONS) == (scale, orientation)
    # A grating of unit contrast has amplitude sqrt(2), so energy 2 before the gain.
    inner = energy[scale, orientation, 2:4, 2:4].mean() / (gabor.WAVELENGTHS[-1] / wavelength)
    assert inner == pytest.approx(2, rel=0.03)


def test_energy_hardly_depends_on_phase():
    energies = torch.stack(
        [GaborEncoder().energy(grating(8.5, 0.0, phase=p))[0, 2, 0, 2:4, 2:4] for p in (0.0, 0.8, 2.0)]
    )
    assert (energies.std(0) / energies.mean(0)).max() < 0.02


def test_contrast_and_brightness_hardly_matter():
    images = pictures(6)
    encoder = GaborEncoder()
    energy = encoder.groups["3 px"].start, encoder.groups["colour"].start
    crisp, pale = encoder(images), encoder(0.4 * images + 0.3)
    assert torch.nn.functional.cosine_similarity(crisp, pale).min() > 0.95  # colour maps do shrink
    change = (crisp - pale)[:, energy[0] : energy[1]].norm(dim=1) / crisp[:, energy[0] : energy[1]].norm(dim=1)
    assert change.max() < 0.02


def test_a_transposed_image_has_transposed_features():
    images = pictures(3)
    vectors = [
        GaborEncoder()(x)[:, :-108].reshape(3, len(gabor.WAVELENGTHS), gabor.N_ORIENTATIONS, gabor.GRID, gabor.GRID)
        for x in (images, images.transpose(2, 3))
    ]
    order = [(gabor.N_ORIENTATIONS // 2 - k) % gabor.N_ORIENTATIONS for k in range(gabor.N_ORIENTATIONS)]
    torch.testing.assert_close(vectors[1], vectors[0][:, :, order].transpose(3, 4), rtol=1e-4, atol=1e-4)


def test_blur_removes_fine_detail_before_coarse():
    encoder = GaborEncoder()
    crisp, *blurred = (encoder.energy(x.mean(1)).mean((0, 2, 3, 4)) for x in blur_ladder(pictures(8), WIDTHS))
    for energy in blurred:
        assert (torch.diff(energy / crisp) > 0).all()
    assert blurred[-1][0] / crisp[0] < 0.25


WIDTHS = [Blur(1), Blur(7, curve="uniform"), Blur(13, curve="uniform"), Blur(13)]


def test_colour_of_an_image_of_one_hue_gradient():
    ramp = torch.linspace(0, 1, 96).expand(1, 96, 96)
    pixels = torch.stack([ramp, 1 - ramp, torch.full_like(ramp, 0.5)], 1)
    colour = GaborEncoder()(pixels)[0, -108:].reshape(3, gabor.GRID, gabor.GRID)
    cells = ramp[0].reshape(96, gabor.GRID, 16).mean((0, 2))
    expected = gabor.COLOUR_GAIN * (cells - 0.5)  # 0.5 r - 0.5 g, less its mean
    torch.testing.assert_close(colour[1], expected.expand(gabor.GRID, gabor.GRID), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(colour[2], torch.zeros(gabor.GRID, gabor.GRID), rtol=0, atol=1e-5)


def test_an_image_is_encoded_alike_in_any_batch():
    images = pictures(35, 48)
    encoder = GaborEncoder(48)
    whole = encoder(images)
    alone = torch.cat([encoder(image[None]) for image in images])
    torch.testing.assert_close(whole, alone, rtol=1e-4, atol=1e-5)
    assert torch.equal(whole, GaborEncoder(48)(images))
    assert encoder(images[:0]).shape == (0, encoder.dim)


def test_a_constant_image_is_finite():
    vector = GaborEncoder(48)(torch.full((1, 3, 48, 48), 0.7))
    assert torch.isfinite(vector).all()
    assert vector.abs().max() < 1e-2


def test_groups_cover_the_vector():
    encoder = GaborEncoder()
    parts = list(encoder.groups.values())
    assert [parts[0].start, *(p.stop for p in parts)] == [*(p.start for p in parts), encoder.dim]
    assert encoder(pictures(1)).shape == (1, encoder.dim)


def test_fingerprint_covers_size_and_constants(monkeypatch):
    one = GaborEncoder().fingerprint
    assert one == GaborEncoder().fingerprint != GaborEncoder(48).fingerprint
    monkeypatch.setattr(gabor, "SEMISATURATION", 2.0)
    assert GaborEncoder().fingerprint != one


@pytest.mark.parametrize("size", [0, -48, 50])
def test_odd_sizes_are_refused(size):
    with pytest.raises(ValueError, match=f"{size} pixels; expected a multiple of 48"):
        GaborEncoder(size)


def test_wrong_pixels_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 3, 48, 48\); expected \(n, 3, 96, 96\)"):
        GaborEncoder()(torch.zeros(2, 3, 48, 48))
