"""Scenes: repeatable, natural in spectrum, alike within a concept."""

import numpy as np
import pytest
import torch

from ubp.images.gabor import GaborEncoder
from ubp.images.scenes import OUTLINES, TEXTURES, scene


def test_same_seeds_same_bytes():
    first = scene(3, 4)
    np.random.seed(5)  # noqa: NPY002  (the global state must not matter)
    assert first.shape == (96, 96, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, scene(3, 4))
    assert not np.array_equal(first, scene(3, 5))
    assert not np.array_equal(first, scene(4, 4))
    assert scene(2**40, 0, size=48).shape == (48, 48, 3)


def test_background_of_an_image_number_differs_between_concepts():
    corners = [scene(concept, 0)[:12, :12].astype(float) for concept in range(5)]
    assert min(np.abs(a - b).mean() for i, a in enumerate(corners) for b in corners[:i]) > 10


def test_power_falls_about_as_the_square_of_frequency():
    grey = np.stack([scene(i, 0) for i in range(120)]).mean(3)
    window = np.hanning(96)[:, None] * np.hanning(96)
    power = (np.abs(np.fft.fft2((grey - grey.mean((1, 2), keepdims=True)) * window)) ** 2).mean(0)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(96, 1 / 96), np.fft.fftfreq(96, 1 / 96)))
    rings = np.arange(2, 40)
    mean = [power[np.abs(radius - r) < 0.5].mean() for r in rings]
    slope = np.polyfit(np.log(rings), np.log(mean), 1)[0]
    assert -2.6 < slope < -1.5


def test_images_of_one_concept_are_more_alike():
    stack = np.stack([scene(concept, image) for concept in range(40) for image in range(3)])
    vectors = GaborEncoder()(torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 255).numpy()
    vectors -= vectors.mean(0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = vectors @ vectors.T
    concept = np.arange(120) // 3
    same = (concept[:, None] == concept) & ~np.eye(120, dtype=bool)
    other = concept[:, None] != concept
    # For each image, how often a picture of its concept is nearer than one of another: 0.5 is chance.
    order = (likeness[:, :, None] > likeness[:, None, :]) & same[:, :, None] & other[:, None, :]
    assert order.sum() / (same[:, :, None] & other[:, None, :]).sum() > 0.65


def test_every_outline_is_a_positive_radius():
    angle = np.arange(96) * (2 * np.pi / 96)
    for outline in OUTLINES.values():
        radius = np.stack([outline(np.random.default_rng(seed), angle) for seed in range(50)])
        assert np.isfinite(radius).all()
        assert (radius > 0).all()


def test_every_texture_mixes_two_colours():
    y, x = np.mgrid[-5:5:40j, -5:5:40j]
    for texture in TEXTURES.values():
        mix = texture(x, y, np.random.default_rng(0))
        assert mix.shape == (40, 40)
        assert mix.min() >= 0
        assert mix.max() <= 1


@pytest.mark.parametrize(
    ("seeds", "size", "words"), [((1, 1), 8, "8 pixels"), ((-1, 1), 96, "-1 and 1"), ((1, -2), 96, "1 and -2")]
)
def test_bad_arguments(seeds, size, words):
    with pytest.raises(ValueError, match=words):
        scene(*seeds, size)
