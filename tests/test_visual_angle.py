import math

import pytest
import torch

from ubp.images.blur import Blur, fovea_weight, gaussian_sigma
from ubp.images.blur_options import BlurOptions, default_widths
from ubp.images.visual_angle import blur_in_degrees, image_degrees


@pytest.mark.parametrize(("extent", "distance", "degrees"), [(2, 1, 90), (2 * math.sqrt(3), 1, 120), (1, 57.29, 1.0)])
def test_an_extent_at_a_distance_is_an_angle(extent, distance, degrees):
    assert image_degrees(extent, distance) == pytest.approx(degrees, rel=1e-4)
    assert image_degrees(10 * extent, 10 * distance) == pytest.approx(degrees, rel=1e-4)


def test_the_defaults_are_the_papers_blur_for_images_of_7_degrees():
    level = blur_in_degrees(224)
    assert (level.width, level.curve, level.strength, level.fixation) == (51, "exponential", 1.0, None)
    assert level.sigma == pytest.approx(8.0)
    assert level.sigma == pytest.approx(gaussian_sigma(51))
    assert level.decay == pytest.approx(3.0, abs=0.01)


@pytest.mark.parametrize("fixation", [(0.0, 0.0), (-2.0, 1.5), (3.0, 3.0)])
@pytest.mark.parametrize(("size", "degrees", "decay"), [(224, 7.0, 0.609), (96, 7.0, 0.3), (181, 20.0, 0.1)])
def test_the_weight_falls_exponentially_with_eccentricity(size, degrees, decay, fixation):
    level = blur_in_degrees(size, 0.25, decay, degrees, fixation)
    weight = fovea_weight(size, size, level.curve, level.decay, level.strength, level.fixation)
    middle = (size - 1) / 2
    for row, column in ((0, 0), (0, size - 1), (size // 2, size // 3), (size - 1, 5)):
        down, right = ((place - middle) * degrees / size for place in (row, column))
        eccentricity = math.hypot(down - fixation[0], right - fixation[1])
        assert float(weight[row, column]) == pytest.approx(math.exp(-decay * eccentricity), abs=2e-4)


def test_pixels_scale_with_the_image_and_the_kernel_reaches_over_its_sigma():
    for sigma in (0.05, 0.1, 0.25, 0.5, 1.0):
        small, large = blur_in_degrees(112, sigma), blur_in_degrees(448, sigma)
        assert large.sigma == pytest.approx(4 * small.sigma)
        assert small.sigma == pytest.approx(16 * sigma)
        for level in (small, large):
            assert level.width >= 3
            assert level.width == 3 or abs(gaussian_sigma(level.width) - level.sigma) <= 0.15 + 1e-9


def test_half_of_the_weight_is_left_at_ln_2_over_the_decay():
    level = blur_in_degrees(701, decay=math.log(2) / 1.5)
    weight = fovea_weight(701, 701, decay=level.decay)
    assert float(weight[350, 350 + 150]) == pytest.approx(0.5, abs=1e-3)
    assert torch.equal(weight, weight.T)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: image_degrees(0, 60), "side of the image is 0"),
        (lambda: image_degrees(10, -1), "screen distance is -1"),
        (lambda: blur_in_degrees(224, sigma=0), "sigma is 0"),
        (lambda: blur_in_degrees(224, sigma=1e-9), "must be at least 0.0001"),
        (lambda: blur_in_degrees(224, decay=math.inf), "decay per degree is inf"),
        (lambda: blur_in_degrees(224, degrees=math.nan), "visual angle is nan"),
        (lambda: blur_in_degrees(1), "image size is 1"),
        (lambda: blur_in_degrees(224, fixation=(4, 0)), "4 and 0 degrees down and right from the centre, lies outside"),
    ],
)
def test_what_is_out_of_range_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_default_widths_keep_the_published_proportion():
    assert default_widths(224) == (51, 6)
    assert default_widths(448) == (101, 12)
    assert default_widths(96) == (21, 2)
    for size in range(1, 400):
        width, step = default_widths(size)
        assert width % 2 == 1
        assert step % 2 == 0
        assert Blur(width - step).width >= 1


def test_options_make_a_ladder_in_pixels_or_in_degrees():
    assert BlurOptions().levels(224) == (Blur(45), Blur(51), Blur(57))
    assert BlurOptions(width=13, step=4, curve="linear").levels(96) == tuple(Blur(w, "linear") for w in (9, 13, 17))
    assert BlurOptions(widths=(9, 1, 5, 9), fixation=(3, 4)).levels(96) == tuple(
        Blur(w, fixation=(3, 4)) for w in (1, 5, 9)
    )
    assert BlurOptions(width=3, step=4).levels(96) == (Blur(3), Blur(7))
    in_degrees = BlurOptions(sigma_degrees=(0.5, 0.25), screen=(7, 60), decay_per_degree=1, fixation_degrees=(1, 0))
    degrees = image_degrees(7, 60)
    assert in_degrees.levels(224) == tuple(blur_in_degrees(224, s, 1, degrees, (1, 0)) for s in (0.25, 0.5))
    assert [level.width for level in BlurOptions(image_degrees=7).levels(224)] == [45, 51, 57]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (BlurOptions(widths=(5,), width=7), "both widths and a width"),
        (BlurOptions(step=3), "step is 3"),
        (BlurOptions(width=8), "blur width is 8"),
        (BlurOptions(curve="cubic"), "blur curve 'cubic' is unknown"),
        (BlurOptions(width=7, sigma_degrees=(0.5,)), "options in degrees and width"),
        (BlurOptions(curve="linear", image_degrees=7), "options in degrees and curve"),
        (BlurOptions(image_degrees=7, screen=(7, 60)), "both screen and image_degrees"),
        (BlurOptions(image_degrees=-7), "visual angle is -7"),
    ],
)
def test_options_that_make_no_ladder_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        options.levels(96)
