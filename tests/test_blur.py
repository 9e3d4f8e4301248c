import math

import cv2
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from ubp.images.blur import (
    CURVES,
    Blur,
    blur,
    blur_ladder,
    fovea_weight,
)
from ubp.images.gaussian import gaussian_kernel, gaussian_sigma
from ubp.presets import preset

SIZES = [(224, 224), (96, 96), (112, 112), (96, 160), (225, 101), (20, 33), (7, 5), (2, 2), (1, 9), (1, 1)]
WIDTHS = range(1, 112, 2)


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for each other make these small products several times slower on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def noise(height: int, width: int, n: int = 1, seed: int = 0) -> np.ndarray:
    """uint8 images (n, height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def hard_images(height: int, width: int) -> dict[str, np.ndarray]:
    stripes, edge = np.zeros((2, height, width, 3), np.uint8)
    stripes[::2] = 255
    edge[:, width // 2 :] = 255
    return {
        "noise": noise(height, width)[0],
        "coins": noise(height, width)[0] // 128 * 255,
        "stripes": stripes,
        "edge": edge,
    }


def photograph(size: int, seed: int) -> np.ndarray:
    """Overlapping discs of a photograph's contrast, softened as by a lens; uint8 (size, size, 3)."""
    rng = np.random.default_rng(seed)
    image = np.full((size, size, 3), 128, np.uint8)
    for radius in size / rng.uniform(3, 50, 400):
        centre = tuple(int(x) for x in rng.integers(0, size, 2))
        colour = tuple(int(x) for x in rng.integers(40, 216, 3))
        cv2.circle(image, centre, max(1, int(radius)), colour, -1)
    return cv2.GaussianBlur(image, (3, 3), 0)


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """(n, height, width, 3) to float32 (n, 3, height, width) in 0..1."""
    return torch.from_numpy(images.astype(np.float32) / 255).permute(0, 3, 1, 2)


def to_grey(images: torch.Tensor) -> np.ndarray:
    """(..., 3, height, width) in 0..1 to (..., height, width, 3) in 0..255."""
    return images.movedim(-3, -1).double().numpy() * 255


def slow_blur(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The sum as it is written, one axis after the other; float64 (height, width, channels)."""
    half = len(kernel) // 2
    for axis in (0, 1):
        pad = [(half, half) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(image, pad, mode="reflect")
        result = np.zeros(image.shape)
        for j, factor in enumerate(kernel):
            result += factor * np.take(padded, np.arange(j, j + image.shape[axis]), axis=axis)
        image = result
    return image


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_equals_opencv_on_float_images(height: int, width: int) -> None:
    images = hard_images(height, width)
    ladder = [Blur(w, "uniform") for w in WIDTHS]
    ours = to_grey(blur_ladder(to_tensor(np.stack(list(images.values()))), ladder))
    for level, batch in zip(ladder, ours, strict=True):
        for name, image, result in zip(images, images.values(), batch, strict=True):
            expected = cv2.GaussianBlur(image.astype(np.float32), (level.width, level.width), 0)
            worst = np.abs(result - expected.reshape(result.shape)).max()
            assert worst < (0.1 if min(height, width) >= 96 else 0.16), (level.width, name, worst)


@pytest.mark.parametrize("kind", ["noise", "photograph"])
@pytest.mark.parametrize("width", [3, 5, 7, 9])
def test_equals_opencv_on_uint8_images_where_its_kernel_is_exact(width: int, kind: str) -> None:
    image = noise(96, 96)[0] if kind == "noise" else photograph(96, 0)
    ours = to_grey(blur(to_tensor(image[None]), Blur(width, "uniform")))[0]
    assert np.abs(ours - cv2.GaussianBlur(image, (width, width), 0)).max() < 0.51


@pytest.mark.parametrize("kind", ["noise", "photograph"])
@pytest.mark.parametrize("size", [96, 224])
def test_wide_blur_of_uint8_images_differs_by_the_rounding_of_opencv_s_kernel(size: int, kind: str) -> None:
    image = noise(size, size)[0] if kind == "noise" else photograph(size, 0)
    ladder = [Blur(w, "uniform") for w in (13, 25, 45, 51, 57, 85, 111)]
    for level, result in zip(ladder, to_grey(blur_ladder(to_tensor(image[None]), ladder))[:, 0], strict=True):
        rounded = cv2.GaussianBlur(image, (level.width, level.width), 0).astype(float)
        exact = cv2.GaussianBlur(image.astype(np.float32), (level.width, level.width), 0)
        assert np.abs(result - rounded).max() < np.abs(exact - rounded).max() + 0.1
        assert np.mean(np.abs(result - rounded) < 1) > 0.95


@pytest.mark.parametrize("width", [3, 7, 11, 25, 63])
@pytest.mark.parametrize("shape", [(64, 64), (40, 75)])
def test_equals_the_sum_as_it_is_written(width: int, shape: tuple[int, int]) -> None:
    image = noise(*shape)[0]
    sigma = gaussian_sigma(width)
    j = np.arange(width) - width // 2
    kernel = np.exp(-(j**2) / (2 * sigma**2))
    expected = slow_blur(image.astype(float), kernel / kernel.sum())
    ours = to_grey(blur(to_tensor(image[None]), Blur(width, "uniform", sigma=sigma)))[0]
    assert_allclose(ours, expected, atol=1e-3 if width < 20 else 0.1, rtol=0)


def test_foveated_blend_equals_opencv_and_numpy() -> None:
    image = photograph(224, 0).astype(np.float32)
    for level in (Blur(51), Blur(51, strength=0.5), Blur(45, "linear"), Blur(57, "logarithmic", 8.0)):
        weight = fovea_weight(224, 224, level.curve, level.decay, level.strength).numpy()[..., None]
        expected = weight * image + (1 - weight) * cv2.GaussianBlur(image, (level.width, level.width), 0)
        ours = to_grey(blur(to_tensor(image[None]), level))[0]
        assert_allclose(ours, expected, atol=0.1, rtol=0)


@pytest.mark.parametrize("width", [1, 3, 5, 7, 9, 11, 51, 111])
def test_kernel_and_sigma_are_opencv_s(width: int) -> None:
    assert_allclose(gaussian_kernel(width).numpy(), cv2.getGaussianKernel(width, 0).ravel(), atol=1e-12)
    sigma = gaussian_sigma(width)
    assert_allclose(gaussian_kernel(width, sigma).numpy(), cv2.getGaussianKernel(width, sigma).ravel(), atol=1e-12)


def test_sigma_of_the_published_width() -> None:
    assert gaussian_sigma(51) == pytest.approx(8.0)


@pytest.mark.parametrize("curve", list(CURVES))
@pytest.mark.parametrize("fixation", [None, (2.0, 9.5)])
def test_weight_follows_the_formula(curve: str, fixation: tuple[float, float] | None) -> None:
    height, width, decay, strength = 9, 14, 2.5, 0.7
    row, column = fixation or (4.0, 6.5)
    far = max(math.dist((i, j), (row, column)) for i in range(height) for j in range(width))
    formulas = {
        "exponential": lambda t: math.exp(-decay * t),
        "linear": lambda t: 1 - t,
        "quadratic": lambda t: 1 - t * t,
        "logarithmic": lambda t: 1 - math.log(1 + decay * t) / math.log(1 + decay),
        "uniform": lambda t: 0.0,
    }
    weight = fovea_weight(height, width, curve, decay, strength, fixation)
    for i in range(height):
        for j in range(width):
            expected = strength * formulas[curve](math.dist((i, j), (row, column)) / far)
            assert weight[i, j].item() == pytest.approx(expected, abs=1e-6)
    assert weight.min() >= 0
    assert weight.max() <= strength


@pytest.mark.parametrize("curve", [c for c in CURVES if c != "uniform"])
def test_weight_is_the_strength_at_the_fixation_point_and_falls_from_there(curve: str) -> None:
    assert fovea_weight(21, 21, curve)[10, 10] == 1
    weight = fovea_weight(21, 21, curve, strength=0.5)
    assert weight[10, 10] == 0.5
    assert (weight[10, 10:].diff() < 0).all()
    assert_allclose(weight, weight.flip(0), atol=1e-7)
    assert_allclose(weight, weight.T, atol=1e-7)


def test_the_fixation_point_stays_crisp_unless_official() -> None:
    images = to_tensor(noise(63, 63))
    assert torch.equal(blur(images, Blur(51))[..., 31, 31], images[..., 31, 31])
    assert torch.equal(blur(images, Blur(51, fixation=(5, 7)))[..., 5, 7], images[..., 5, 7])
    half, uniform = blur_ladder(images, (Blur(51, strength=0.5), Blur(51, "uniform")))[..., 31, 31]
    assert_allclose(half, (images[..., 31, 31] + uniform) / 2, atol=1e-6)


@pytest.mark.parametrize("width", [3, 25, 51, 111])
def test_constant_image_and_linearity(width: int) -> None:
    level = Blur(width)
    flat = torch.full((1, 3, 96, 70), 0.37)
    assert_allclose(blur(flat, level), flat, atol=1e-6)
    one, two = to_tensor(noise(96, 70, 2)).split(1)
    assert_allclose(blur(0.3 * one + 0.6 * two, level), 0.3 * blur(one, level) + 0.6 * blur(two, level), atol=1e-6)
    assert_allclose(blur(one.flip(-1), level), blur(one, level).flip(-1), atol=1e-6)


def test_detail_falls_with_width() -> None:
    images = to_tensor(noise(96, 96))
    levels = blur_ladder(images, [Blur(w, "uniform") for w in range(1, 112, 10)])
    detail = levels.diff(dim=-1).square().mean(dim=(1, 2, 3, 4))
    assert (detail.diff() < 0).all()


def test_width_one_is_the_image_itself() -> None:
    images = to_tensor(noise(30, 40, 2))
    assert torch.equal(blur(images, Blur(1)), images)
    assert torch.equal(blur(images, Blur(1, "uniform", strength=0)), images)


@pytest.mark.parametrize("size", [96, 224])
def test_ladder_equals_its_levels_one_by_one(size: int) -> None:
    images = to_tensor(noise(size, size, 3))
    ladder = (
        Blur(1),
        Blur(5),
        Blur(25),
        *preset("ubp").ladder,
        *preset("official").ladder,
        Blur(51, "uniform", sigma=4.0),
    )
    together = blur_ladder(images, ladder)
    assert together.shape == (len(ladder), 3, 3, size, size)
    for level, batch in zip(ladder, together, strict=True):
        assert_allclose(batch, blur(images, level), atol=2e-6)


def test_an_image_does_not_depend_on_its_batch() -> None:
    images = to_tensor(noise(96, 80, 40))  # more than one chunk
    ladder = (Blur(13), Blur(51))
    together = blur_ladder(images, ladder)
    for i in (0, 17, 39):
        assert_allclose(together[:, i : i + 1], blur_ladder(images[i : i + 1], ladder), atol=1e-6)
    assert blur_ladder(images[:0], ladder).shape == (2, 0, 3, 96, 80)


def test_uint8_and_strided_images_give_the_same() -> None:
    pixels = torch.from_numpy(noise(50, 60, 3)).permute(0, 3, 1, 2)
    images = pixels.float() / 255
    expected = blur(images.contiguous(), Blur(25))
    for given in (pixels, images, images.repeat(2, 1, 1, 1)[:3]):
        assert_allclose(blur(given, Blur(25)), expected, atol=1e-6)
    cut = images[..., 10:]
    assert_allclose(blur(cut, Blur(5)), blur(cut.contiguous(), Blur(5)), atol=1e-6)


def test_input_is_left_alone_and_no_gradient_is_kept() -> None:
    images = to_tensor(noise(32, 32)).requires_grad_()
    before = images.detach().clone()
    assert not blur(images, Blur(25)).requires_grad
    assert torch.equal(images, before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu() -> None:
    images = to_tensor(noise(224, 224, 2))
    ladder = (Blur(1), Blur(13), *preset("ubp").ladder)
    assert_allclose(blur_ladder(images.cuda(), ladder).cpu(), blur_ladder(images, ladder), atol=1e-5)


def test_names_are_short_unique_and_file_safe() -> None:
    assert Blur().name == "w51-exponential3"
    assert Blur(1).name == Blur(1, "linear").name == "crisp"
    assert Blur(51, "uniform").name == Blur(51, "uniform", decay=1, strength=0.5).name == "w51-uniform"
    levels = [
        Blur(), Blur(45), Blur(decay=3.0000001), Blur(strength=0.5), Blur(sigma=8.0), Blur(fixation=(3, 4)),
        Blur(curve="linear"), Blur(curve="quadratic"), Blur(curve="logarithmic"), Blur(curve="uniform"),
    ]  # fmt: skip
    names = {level.name for level in levels}
    assert len(names) == len(levels)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-") for name in names)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"width": 50}, "50, but must be an odd"),
        ({"width": 0}, "0, but must be an odd"),
        ({"width": -3}, "-3, but must be an odd"),
        ({"width": 5.0}, "5.0, but must be an odd"),
        ({"curve": "cubic"}, "'cubic' is unknown; use one of exponential, linear"),
        ({"decay": 0}, "decay is 0, but must be above 0"),
        ({"decay": math.nan}, "decay is nan"),
        ({"strength": 1.5}, "strength is 1.5, but must lie in 0..1"),
        ({"sigma": -1.0}, "sigma is -1.0, but must be above 0"),
        ({"fixation": (math.inf, 0)}, "must be a row and a column"),
    ],
)
def test_bad_settings_are_named(fields: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        Blur(**fields)
    assert "\n" not in str(error.value)


def test_bad_images_are_named() -> None:
    images = torch.rand(1, 3, 8, 8)
    for bad in (images[0], images.double(), images[..., :0]):
        with pytest.raises(ValueError, match="but must be float32 in"):
            blur(bad, Blur())
    with pytest.raises(ValueError, match="ladder has no level"):
        blur_ladder(images, ())
    with pytest.raises(ValueError, match="outside the image of 8 x 8"):
        blur(images, Blur(fixation=(8, 0)))
    with pytest.raises(ValueError, match="at least one row"):
        fovea_weight(0, 5)
