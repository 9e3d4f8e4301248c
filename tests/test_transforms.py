"""Each transformation against torchvision, Pillow or a loop; seeds; names; JSON; and the store that holds them."""

import colorsys
import itertools
import json
import re
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as vision
from PIL import Image

from test_features import Projection, write_images
from ubp.errors import InputError
from ubp.images import colors, manifest
from ubp.images.blur import Blur, blur
from ubp.images.features import FeatureStore
from ubp.images.levels import Bank, Mean, apply_levels, stored_levels
from ubp.images.transforms import (
    KINDS,
    TRANSFORMATIONS,
    ColorJitter,
    Crop,
    Flip,
    Grayscale,
    LowResolution,
    Mosaic,
    Noise,
    image_generator,
)
from ubp.presets import PRESETS, Preset, level_from_dict, level_to_dict, preset

LEVELS = [TRANSFORMATIONS[name](Blur(51)) for name in TRANSFORMATIONS if name != "mean"]
KEYS = [f"digest {i}" for i in range(7)]
RANDOM = (Flip(), Crop(), ColorJitter(), Noise())
CHANGES = [
    (Flip(), "probability", 0.25),
    (Crop(), "share", 0.5),
    (ColorJitter(), "brightness", 0.2),
    (ColorJitter(), "contrast", 0.2),
    (ColorJitter(), "saturation", 0.2),
    (ColorJitter(), "hue", 0.05),
    (Noise(), "deviation", 24.5),
    (LowResolution(), "block", 6.0),
    (Mosaic(), "block", 4),
    (Blur(13), "width", 15),
    (Blur(13), "curve", "linear"),
    (Blur(13), "decay", 2.0),
    (Blur(13), "strength", 0.5),
    (Blur(13), "sigma", 2.0),
    (Blur(13), "fixation", (3.0, 4.5)),
    (Mean((Noise(), Mosaic())), "levels", (Noise(), Mosaic(4))),
    (Bank((Noise(), Mosaic())), "levels", (Noise(), Mosaic(4))),
]


def pictures(n=7, height=40, width=48, seed=0):
    """Smooth random images with the whole range of colours, float32 in 0..1."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 6, 7, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    return (1.6 * smooth - 0.3).clamp(0, 1)


def to_uint8(images):
    return (images * 255).round().to(torch.uint8)


def same(ours, theirs, **tolerance):
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), **({"rtol": 0, "atol": 2e-6} | tolerance))


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_an_image_is_the_same_in_any_batch_and_order_and_again(level):
    images = pictures()
    whole = apply_levels(images, [level], KEYS)[0]
    assert torch.equal(whole, apply_levels(images, [level], KEYS)[0])
    order = [4, 0, 6, 2, 5, 1, 3]
    shuffled = apply_levels(images[order], [level], [KEYS[i] for i in order])[0]
    same(shuffled, whole[order], atol=1e-6)
    for size in (1, 3):
        parts = [apply_levels(images[i : i + size], [level], KEYS[i : i + size])[0] for i in range(0, 7, size)]
        same(torch.cat(parts), whole, atol=1e-6)
    assert apply_levels(images[:0], [level], []).shape == (1, 0, 3, 40, 48)
    assert whole.dtype is torch.float32
    assert whole.min() >= -2e-3
    assert whole.max() <= 1 + 2e-3


@pytest.mark.parametrize("level", RANDOM, ids=lambda level: level.name)
def test_chance_depends_on_the_key_and_on_the_level(level):
    image = pictures(1).expand(40, -1, -1, -1)
    drawn = level.apply(image, [str(i) for i in range(40)])
    assert len({one.numpy().tobytes() for one in drawn}) >= 2
    assert torch.equal(level.apply(image[:2], ["a", "a"])[0], level.apply(image[:2], ["a", "a"])[1])
    one, other = (image_generator(name, "a").random(4) for name in (level.name, f"{level.name}0"))
    assert not np.array_equal(one, other)
    before = torch.random.get_rng_state()
    level.apply(image[:1], ["a"])
    assert torch.equal(before, torch.random.get_rng_state())


def test_levels_together_are_what_each_gives_alone_for_uint8_and_float():
    images = to_uint8(pictures())
    together = apply_levels(images, LEVELS, KEYS)
    for level, result in zip(LEVELS, together, strict=True):
        same(result, level.apply(images.float() / 255, KEYS), atol=1e-6)
    same(apply_levels(images.float() / 255, LEVELS, KEYS), together, atol=1e-6)
    same(together[LEVELS.index(Blur(1))], images / 255)


def test_a_flip_mirrors_the_chosen_images_and_no_other():
    images = pictures(400, 8, 8)
    keys = [str(i) for i in range(400)]
    flipped = Flip().apply(images, keys)
    turned = [torch.equal(one, vision.horizontal_flip(image)) for one, image in zip(flipped, images, strict=True)]
    kept = [torch.equal(one, image) for one, image in zip(flipped, images, strict=True)]
    assert all(a != b for a, b in zip(turned, kept, strict=True))
    assert abs(sum(turned) - 200) < 4 * 10  # four standard deviations of a binomial
    assert torch.equal(Flip(0).apply(images, keys), images)
    assert torch.equal(Flip(1).apply(images, keys), vision.horizontal_flip(images))


@pytest.mark.parametrize("share", [0.667, 0.3, 0.01, 1.0])
def test_a_crop_is_torchvisions_resized_crop_at_a_place_inside(share):
    images = pictures(4)
    high, wide = max(1, round(40 * share)), max(1, round(48 * share))
    level = Crop(share)
    for image, key, crop in zip(images, KEYS, level.apply(images, KEYS[:4]), strict=False):
        random = image_generator(level.name, key)
        top, left = int(random.integers(40 - high + 1)), int(random.integers(48 - wide + 1))
        same(crop, vision.resized_crop(image, top, left, high, wide, [40, 48], antialias=False))
    if share == 1:
        assert torch.equal(level.apply(images, KEYS[:4]), images)


def test_crops_reach_every_place():
    ramp = torch.arange(12.0).expand(3, 12, 12)[None] / 12
    crops = Crop(0.5).apply(ramp.expand(300, -1, -1, -1), [str(i) for i in range(300)])
    assert sorted({round(12 * float(crop[0, 0, 0])) for crop in crops}) == list(range(7))


def test_grayscale_is_torchvisions_and_pillows():
    images = pictures()
    gray = Grayscale().apply(images, KEYS)
    same(gray, vision.rgb_to_grayscale(images, 3))
    pixels = to_uint8(images[0]).permute(1, 2, 0).numpy()
    same(255 * gray[0, 0], np.asarray(Image.fromarray(pixels).convert("L")), atol=1.1)


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.4, 3.0])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_factors_are_torchvisions(name, factor):
    image = pictures(1)[0]
    theirs = getattr(vision, f"adjust_{name}")(image, factor)
    same(getattr(colors, name)(image, factor), theirs)


COLOURS = torch.tensor(list(itertools.product((0.0, 0.2, 0.5, 0.9, 1.0), repeat=3))).T[:, None]


@pytest.mark.parametrize("turns", [-0.5, -0.1, 0.0, 0.07, 0.3, 0.5])
def test_the_hue_is_torchvisions_and_colorsys_for_all_kinds_of_colours(turns):
    image = torch.cat([COLOURS, pictures(1)[0, :, :1].repeat(1, 1, 1)], 2)
    turned = colors.hue(image, turns)
    same(turned, vision.adjust_hue(image, turns), atol=1e-5)
    for before, after in zip(image[:, 0].T.tolist(), turned[:, 0].T.tolist(), strict=True):
        h, s, v = colorsys.rgb_to_hsv(*before)
        same(after, colorsys.hsv_to_rgb((h + turns) % 1, s, v), atol=1e-5)


def test_color_jitter_does_torchvisions_steps_in_the_drawn_order():
    images, level = pictures(), ColorJitter(0.4, 1.5, 0.3, 0.2)
    for image, key, result in zip(images, KEYS, level.apply(images, KEYS), strict=True):
        expected = image
        for adjust, value in level.draw(key):
            expected = getattr(vision, f"adjust_{adjust.__name__}")(expected, value)
        same(result, expected, atol=2e-5)


def test_color_jitter_draws_uniformly_in_its_ranges_and_all_orders():
    draws = [ColorJitter(0.4, 1.5, 0.0, 0.1).draw(str(i)) for i in range(600)]
    assert len({tuple(adjust.__name__ for adjust, _ in steps) for steps in draws}) == 24
    values = {}
    for steps in draws:
        for adjust, value in steps:
            values.setdefault(adjust.__name__, []).append(value)
    for name, (low, high) in {"brightness": (0.6, 1.4), "contrast": (0, 2.5), "hue": (-0.1, 0.1)}.items():
        assert low <= min(values[name]) < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < max(values[name]) <= high
        assert np.mean(values[name]) == pytest.approx((low + high) / 2, abs=0.06 * (high - low))
    assert set(values["saturation"]) == {1.0}


def test_noise_has_its_deviation_no_pattern_and_stays_in_the_range():
    gray = torch.full((4, 3, 60, 60), 0.5)
    noise = 255 * (Noise(25).apply(gray, KEYS[:4]) - 0.5)
    assert noise.mean() == pytest.approx(0, abs=0.5)
    assert noise.std() == pytest.approx(25, rel=0.02)
    assert (noise.abs() < 25).float().mean() == pytest.approx(0.6827, abs=0.01)
    flat = noise.flatten(1).numpy()
    assert np.abs(np.corrcoef(flat) - np.eye(4)).max() < 0.05
    shifted = np.corrcoef(noise[..., 1:].flatten(), noise[..., :-1].flatten())[0, 1]
    channels = np.corrcoef(noise[:, 0].flatten(), noise[:, 1].flatten())[0, 1]
    assert max(abs(shifted), abs(channels)) < 0.05
    strong = Noise(200).apply(pictures(), KEYS)
    assert strong.min() == 0
    assert strong.max() == 1
    assert torch.equal(Noise(0).apply(pictures(), KEYS), pictures())


@pytest.mark.parametrize("block", [1, 2.5, 8, 40])
def test_low_resolution_is_pillows_resize_there_and_back(block):
    images = to_uint8(pictures(3))
    ours = 255 * LowResolution(block).apply(images.float() / 255, KEYS[:3])
    for image, result in zip(images, ours, strict=True):
        pillow = Image.fromarray(image.permute(1, 2, 0).numpy())
        small = pillow.resize((round(48 / block), round(40 / block)), Image.Resampling.BILINEAR)
        back = np.asarray(small.resize((48, 40), Image.Resampling.BILINEAR), float)
        same(result.permute(1, 2, 0), back, atol=1.6)  # Pillow rounds to whole grey levels three times


@pytest.mark.parametrize(("height", "width", "block"), [(40, 48, 8), (41, 50, 7), (9, 5, 5), (12, 12, 1)])
def test_a_mosaic_is_the_mean_of_every_block(height, width, block):
    images = pictures(2, height, width)
    expected = torch.empty_like(images)
    for top, left in itertools.product(range(0, height, block), range(0, width, block)):
        part = images[:, :, top : top + block, left : left + block]
        expected[:, :, top : top + block, left : left + block] = part.mean((2, 3), keepdim=True)
    same(Mosaic(block).apply(images, KEYS[:2]), expected)


@pytest.mark.parametrize(("level", "field", "value"), CHANGES, ids=lambda part: str(part)[:24])
def test_one_changed_parameter_is_another_name_and_other_vectors(level, field, value, tmp_path):
    other = replace(level, **{field: value})
    assert other.name != level.name
    names = write_images(tmp_path / "images", n=6)
    store = FeatureStore.build(tmp_path / "images", names, Projection(48), [level, other], tmp_path / "c", quiet=True)
    assert np.abs(store.vectors(level) - store.vectors(other)).max() > 1e-4


def test_every_field_of_every_level_is_tried_above():
    tried = {(type(level), field) for level, field, _ in CHANGES}
    assert tried == {(kind, field.name) for kind in KINDS.values() for field in fields(kind)}


@pytest.mark.parametrize("width", [13, 51])
def test_names_are_distinct_and_safe_in_a_file_name(width):
    names = [build(Blur(width)).name for build in TRANSFORMATIONS.values()]
    assert len(set(names)) == len(names)
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9.+-]{1,150}", name)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_comes_back_from_json(name):
    made = preset(name, 13, 6)
    assert Preset.from_dict(json.loads(json.dumps(made.to_dict()))) == made


@pytest.mark.parametrize("level", [level for level, _, _ in CHANGES] + [Blur(5, fixation=(1, 2.5))], ids=str)
def test_a_level_comes_back_from_json(level):
    assert level_from_dict(json.loads(json.dumps(level_to_dict(level))), "level") == level


def test_a_level_without_a_kind_is_a_blur():
    content = level_to_dict(Blur(7, curve="linear"))
    del content["kind"]
    assert level_from_dict(content, "level") == Blur(7, curve="linear")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"kind": "mosaik", "block": 5}, "did you mean 'mosaic'"),
        ({"kind": "mosaic", "blocks": 5}, "did you mean 'block'"),
        ({"kind": "mosaic", "block": 2.5}, "must be a whole number"),
        ({"kind": "mean"}, "mean without levels"),
        ({"kind": "mean", "levels": [{"kind": "flip"}]}, "two or more"),
        ("flip", "expected a JSON object"),
    ],
)
def test_json_that_is_no_level_is_refused(content, message):
    with pytest.raises(InputError, match=message):
        level_from_dict(content, "the level")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Flip(1.5), "flip's probability is 1.5"),
        (lambda: Crop(0), "crop's share is 0"),
        (lambda: Crop(float("nan")), "crop's share is nan"),
        (lambda: ColorJitter(contrast=-1), "contrast is -1"),
        (lambda: ColorJitter(hue=0.6), "hue is 0.6"),
        (lambda: Noise(float("inf")), "noise's deviation is inf"),
        (lambda: LowResolution(0.5), "block is 0.5"),
        (lambda: Mosaic(0), "block is 0"),
        (lambda: Mosaic(True), "block is True"),
        (lambda: Mean((Flip(),)), "two or more"),
        (lambda: Mean((Flip(), Flip())), "all different"),
        (lambda: Mean((Flip(), Mean((Flip(), Crop())))), "no means"),
        (lambda: Bank((Flip(), Mean((Flip(), Crop())))), "no means or banks"),
        (lambda: Mosaic(9).apply(pictures(1, 8, 40), ["a"]), "block is 9 pixels, but the image has 8 x 40"),
        (lambda: LowResolution(9).apply(pictures(1, 8, 40), ["a"]), "block is 9 pixels"),
        (lambda: apply_levels(pictures(2), [Flip()], ["a"]), "one key per image"),
        (lambda: apply_levels(pictures(1).double(), [Flip()], ["a"]), "must be float32"),
        (lambda: apply_levels(pictures(1)[:, :1], [Flip()], ["a"]), "of shape"),
        (lambda: apply_levels(pictures(1), [], ["a"]), "at least one"),
        (lambda: apply_levels(pictures(1), [Mean((Flip(), Crop()))], ["a"]), "has no pixels"),
        (lambda: apply_levels(pictures(1), [Bank((Flip(), Crop()))], ["a"]), "has no pixels"),
    ],
)
def test_what_is_out_of_range_is_refused_in_a_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_unknown_transformations_list_the_near_name():
    for wrong, near in (("colour-jitter", "color-jitter"), ("lowresolution", "low-resolution"), ("mozaic", "mosaic")):
        with pytest.raises(InputError, match=f"did you mean '{near}'"):
            preset(wrong)


def test_pixel_sizes_follow_the_kernel_width():
    assert TRANSFORMATIONS["low-resolution"](Blur(51)) == LowResolution(10)
    assert TRANSFORMATIONS["mosaic"](Blur(51)) == Mosaic(5)
    assert TRANSFORMATIONS["low-resolution"](Blur(13)) == LowResolution(2.55)
    assert TRANSFORMATIONS["mosaic"](Blur(13)) == Mosaic(2)
    assert TRANSFORMATIONS["noise"](Blur(13)) == TRANSFORMATIONS["noise"](Blur(51))


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    return folder, write_images(folder, n=9)


def test_a_rebuilt_store_is_the_same_bytes_with_another_batch_size(images, tmp_path):
    folder, names = images
    levels = [preset(name, 13, 6).base for name in TRANSFORMATIONS]
    stores = [
        FeatureStore.build(folder, names, Projection(32), levels, tmp_path / f"c{size}", size, quiet=True)
        for size in (32, 32, 4)
    ]
    again = FeatureStore.build(folder, names, Projection(32), levels, tmp_path / "again", 32, quiet=True)
    first, _, small = stores
    assert len(first.levels) == len(TRANSFORMATIONS) - 1
    for name in first.levels:
        content = (first.folder / f"{name}.npy").read_bytes()
        assert (again.folder / f"{name}.npy").read_bytes() == content
        same(np.load(small.folder / f"{name}.npy"), np.load(first.folder / f"{name}.npy"))


def test_chance_goes_with_the_files_bytes_not_with_its_name_or_place(images, tmp_path):
    folder, names = images
    level = Noise()
    before = FeatureStore.build(folder, names, Projection(), [level], tmp_path / "c", quiet=True).vectors(level, names)
    (folder / names[0]).rename(folder / "zz.png")
    moved = [*names[1:4], "zz.png"]
    after = FeatureStore.build(folder, moved, Projection(), [level], tmp_path / "c", quiet=True).vectors(level, moved)
    same(after, before[[1, 2, 3, 0]], atol=1e-5)


def test_a_mean_is_the_direction_of_the_sum_of_vectors(images, tmp_path):
    folder, names = images
    mean = TRANSFORMATIONS["mean"](Blur(13))
    store = FeatureStore.build(folder, names, Projection(32), [mean, Blur(1), Noise()], tmp_path / "c", quiet=True)
    assert len(mean.levels) == 4
    assert set(store.levels) == {"crisp", *(level.name for level in mean.levels)}
    assert set(stored_levels([mean, Blur(1), Noise()])) == {Blur(1), *mean.levels}
    chosen = [names[5], names[2]]
    for image, vector in zip(chosen, store.vectors(mean, chosen), strict=True):
        total = sum(store.vectors(level, [image])[0].astype(float) for level in mean.levels)
        same(vector, total / np.sqrt((total**2).sum()))
    again = FeatureStore.build(folder, names, Projection(32), [mean], tmp_path / "c", quiet=True)
    assert again.computed == ()


def test_vectors_that_cancel_have_no_mean(images, tmp_path):
    class Opposite(Projection):
        def __call__(self, pixels):
            sign = torch.where(pixels.std((1, 2, 3)) > 0.08, 1.0, -1.0)
            return sign[:, None] * torch.ones(len(pixels), self.dim)

    folder, names = images
    mean = Mean((Blur(1), Mosaic(16)))
    store = FeatureStore.build(folder, names, Opposite(), [mean], tmp_path / "c", quiet=True)
    with pytest.raises(InputError, match="cancel at level mean-of-crisp"):
        store.vectors(mean)


def test_a_level_that_does_not_fit_the_encoder_is_refused_and_leaves_no_level(images, tmp_path):
    folder, names = images
    with pytest.raises(InputError, match=r"does not fit images of 16 pixels: The mosaic's block is 20 pixels"):
        FeatureStore.build(folder, names, Projection(), [Mosaic(20)], tmp_path / "c", quiet=True)
    assert not list((tmp_path / "c").rglob("*.npy"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_what_the_cpu_gives():
    images = pictures()
    same(apply_levels(images.cuda(), LEVELS, KEYS).cpu(), apply_levels(images, LEVELS, KEYS), atol=1e-5)


def test_the_blur_is_the_same_function():
    images = pictures()
    assert torch.equal(Blur(9).apply(images), blur(images, Blur(9)))


PINNED = {
    "vanilla": [-0.30586, -0.6711, -0.66214, 0.1328],
    "flip": [-0.60716, -0.29487, -0.68572, -0.27238],
    "crop": [-0.52004, -0.58484, -0.62248, -0.00551],
    "grayscale": [-0.15668, -0.80121, -0.57312, 0.0711],
    "color-jitter": [-0.26292, -0.70097, -0.66003, 0.06223],
    "noise": [-0.27813, -0.81345, -0.498, 0.11371],
    "low-resolution": [-0.25502, -0.73538, -0.62782, -0.0055],
    "mosaic": [-0.30351, -0.64215, -0.70306, 0.03507],
    "uniform-blur": [-0.25254, -0.74082, -0.6217, -0.0301],
    "blur": [-0.24617, -0.73026, -0.63726, -0.00377],
}


@pytest.mark.parametrize("name", [name for name in TRANSFORMATIONS if name != "mean"])
def test_transform_version_is_raised_with_the_transformations(name, tmp_path):
    """These numbers belong to version 1 of the transformations; if they change, so must TRANSFORM_VERSION."""
    y, x = np.mgrid[:48, :64]
    image = np.stack([4 * x, 5 * y, (37 * x + 11 * y) % 256], axis=-1).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "a.bmp")
    level = TRANSFORMATIONS[name](Blur(13))
    encoder = Projection(size=32, dim=4)
    store = FeatureStore.build(tmp_path, ["a.bmp"], encoder, [level], tmp_path / "c", quiet=True)
    assert manifest.TRANSFORM_VERSION == 1
    np.testing.assert_allclose(store.vectors(level)[0], PINNED[name], atol=5e-4)
