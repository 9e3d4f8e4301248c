"""Stages that overlap, levels that share a call, float16 files, and stores of another version."""

import json
import shutil
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from sentences import one_sentence
from test_cli import refused
from test_features import LADDER, Projection, contents, write_images
from ubp.errors import InputError
from ubp.images import pipeline
from ubp.images.blur import Blur
from ubp.images.features import FeatureStore
from ubp.images.gabor import GaborEncoder
from ubp.images.manifest import DTYPES, hash_images
from ubp.images.pipeline import Sources, encoded_blocks

LEVELS = {level.name: level for level in LADDER}


@pytest.fixture
def sources(tmp_path):
    folder = tmp_path / "images"
    images = sorted(write_images(folder))
    return Sources(folder, images, hash_images(folder, images))


class Calls(Projection):
    """Notes how many images each call gets."""

    def __init__(self, **options):
        super().__init__(**options)
        self.calls = []

    def __call__(self, pixels):
        self.calls.append(len(pixels))
        return super().__call__(pixels)


def vectors(blocks, levels=LEVELS):
    blocks = list(blocks)
    return {name: np.concatenate([block.vectors[name] for block in blocks]) for name in levels}


@pytest.mark.parametrize(("levels_per_call", "calls"), [(None, 3 * [8] * 2 + 3 * [4]), (2, [16, 8] * 2 + [8, 4])])
def test_levels_share_a_call(sources, levels_per_call, calls):
    encoder = Calls()
    found = vectors(encoded_blocks(sources, LEVELS, encoder, 8, levels_per_call=levels_per_call))
    assert encoder.calls == calls
    for name, rows in vectors(encoded_blocks(sources, LEVELS, Projection(), 8)).items():
        np.testing.assert_allclose(found[name], rows, atol=1e-6)


def test_a_long_ladder_is_transformed_in_parts(sources, monkeypatch):
    whole = vectors(encoded_blocks(sources, LEVELS, Projection(), 8))
    shapes = []
    real = pipeline.apply_levels

    def spy(images, levels, keys):
        shapes.append((len(levels), len(images)))
        return real(images, levels, keys)

    monkeypatch.setattr(pipeline, "apply_levels", spy)
    monkeypatch.setattr(pipeline, "PIXEL_BYTES", 2 * 8 * 4 * 3 * 16 * 16)
    parts = vectors(encoded_blocks(sources, LEVELS, Projection(), 8))
    assert shapes == [(2, 8), (1, 8)] * 2 + [(3, 4)]
    for name, rows in whole.items():
        np.testing.assert_allclose(parts[name], rows, atol=1e-6)


def test_each_image_is_decoded_once_and_never_far_ahead(sources, monkeypatch):
    decoded = []
    real = pipeline._decode
    monkeypatch.setattr(
        pipeline, "_decode", lambda sources, image, encoder: decoded.append(image) or real(sources, image, encoder)
    )
    for block in encoded_blocks(sources, LEVELS, Projection(), 2):
        # the block in hand, one in each of two stages, and two more in the pool
        assert len(decoded) <= block.last + 2 * 4
    assert sorted(decoded) == list(range(20))


def test_levels_get_the_digests_of_the_files_as_keys(sources, monkeypatch):
    seen = []
    real = pipeline.apply_levels

    def spy(images, levels, keys):
        seen.extend(keys)
        return real(images, levels, keys)

    monkeypatch.setattr(pipeline, "apply_levels", spy)
    list(encoded_blocks(sources, LEVELS, Projection(), 8))
    assert seen == sources.sha256


def test_an_early_stop_leaves_no_thread(sources):
    before = threading.active_count()
    blocks = encoded_blocks(sources, LEVELS, Projection(), 2)
    assert next(blocks).first == 0
    blocks.close()
    assert threading.active_count() == before


# float16


def test_float16_files_are_half_as_large_and_read_as_float32(sources, tmp_path):
    stores = {
        dtype: FeatureStore.build(sources.folder, sources.images, GaborEncoder(48), LADDER, tmp_path / "c", dtype=dtype)
        for dtype in DTYPES
    }
    wide, narrow = stores["float32"], stores["float16"]
    assert wide.key != narrow.key
    assert narrow.dtype == FeatureStore.open(narrow.folder).dtype == "float16"
    for level in LADDER:
        raw = np.load(narrow.folder / f"{level.name}.npy")
        assert raw.dtype == np.float16
        np.testing.assert_array_equal(raw, wide.vectors(level).astype(np.float16))
        found = narrow.vectors(level)
        assert found.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
        assert ((found * wide.vectors(level)).sum(1) > 1 - 1e-5).all()
    assert narrow.ladder(LADDER).dtype == torch.float32


def test_float16_continues_after_a_failure(sources, tmp_path):
    options = {"batch_size": 3, "dtype": "float16"}
    arguments = (sources.folder, sources.images)
    with pytest.raises(RuntimeError):
        FeatureStore.build(*arguments, Projection(fail_after=20), LADDER, tmp_path / "a", **options)
    encoder = Projection()
    store = FeatureStore.build(*arguments, encoder, LADDER, tmp_path / "a", **options)
    assert encoder.seen == 60 - 18
    whole = FeatureStore.build(*arguments, Projection(), LADDER, tmp_path / "b", **options)
    assert contents(store.folder) == contents(whole.folder)


def test_unknown_dtype(sources, tmp_path, tiny_folder, capsys):
    with pytest.raises(InputError, match="expected float32 or float16") as error:
        FeatureStore.build(sources.folder, sources.images, Projection(), LADDER, tmp_path / "c", dtype="int8")
    one_sentence(error)
    assert "float16" in refused(capsys, "features", tiny_folder, "--dtype", "half", "--store", tmp_path / "c")
    assert not (tmp_path / "c").exists()


# Stores of another version


def older(manifest):
    return {key: value for key, value in manifest.items() if key != "dtype"}


@pytest.mark.parametrize("change", [older, lambda m: m | {"transform": 0}, lambda m: m | {"transform": 99}])
def test_store_of_another_version_is_said_to_be_one(sources, tmp_path, change):
    arguments = (sources.folder, sources.images, Projection(), LADDER, tmp_path)
    store = FeatureStore.build(*arguments)
    path = store.folder / "manifest.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    for attempt in (lambda: FeatureStore.open(store.folder), lambda: FeatureStore.build(*arguments)):
        with pytest.raises(InputError, match="was written by another version of ubp") as error:
            attempt()
        one_sentence(error, path, "build the store again")


def test_store_of_another_version_lies_under_another_key_and_is_left_alone(sources, tmp_path, monkeypatch):
    arguments = (sources.folder, sources.images, Projection(), LADDER, tmp_path)
    monkeypatch.setattr("ubp.images.manifest.TRANSFORM_VERSION", 0)
    old = FeatureStore.build(*arguments)
    before = contents(old.folder)
    monkeypatch.undo()
    new = FeatureStore.build(*arguments)
    assert new.computed == tuple(LEVELS)
    assert new.folder != old.folder
    assert contents(old.folder) == before


# Image files of all kinds


def awkward_images(folder):
    """Kinds of files that go wrong elsewhere, with the RGB pixels that each should be read as."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    red = np.full((12, 12, 3), [250, 5, 5], np.uint8)
    Image.new("CMYK", (12, 12), (0, 255, 255, 0)).save(folder / "cmyk.jpg")
    Image.fromarray(rng.integers(0, 65536, (12, 12)).astype(np.uint16)).save(folder / "sixteen-bit.png")
    Image.fromarray(red).quantize(4).save(folder / "palette.png")
    frames = [Image.fromarray(red), Image.new("RGB", (12, 12), "blue")]
    frames[0].save(folder / "animated.gif", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "animated.webp", save_all=True, append_images=frames[1:], lossless=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(rng.integers(0, 256, (8, 20, 3), dtype=np.uint8)).save(folder / "rotated.jpg", exif=exif)
    Image.new("RGB", (1, 1), (250, 5, 5)).save(folder / "one-pixel.png")
    Image.new("L", (1, 400), 128).save(folder / "one-column.png")
    return sorted(file.name for file in folder.iterdir())


def test_awkward_images_have_a_place_in_the_store(tmp_path):
    images = awkward_images(tmp_path / "images")
    assert len(images) == 8
    store = FeatureStore.build(tmp_path / "images", images, Projection(), [Blur(1)], tmp_path / "cache", batch_size=3)
    found = dict(zip(store.images, store.vectors(Blur(1)), strict=True))
    pixels = torch.tensor([250, 5, 5]).view(1, 3, 1, 1).expand(1, 3, 16, 16) / 255
    red = (Projection()(pixels) / Projection()(pixels).norm())[0].numpy()
    for name in ("palette.png", "animated.gif", "animated.webp", "one-pixel.png"):
        np.testing.assert_allclose(found[name], red, atol=1e-5)
    assert found["cmyk.jpg"] @ red > 0.999
    turned = Image.open(tmp_path / "images" / "rotated.jpg").transpose(Image.Transpose.ROTATE_270)
    small = np.asarray(turned.resize((16, 16), Image.Resampling.BILINEAR)).transpose(2, 0, 1) / 255
    vector = Projection()(torch.from_numpy(small.copy()).float()[None])[0].numpy()
    np.testing.assert_allclose(found["rotated.jpg"], vector / np.linalg.norm(vector), atol=1e-5)


def test_truncated_jpeg_is_named_and_nothing_is_half_written(tiny_folder, tmp_path, capsys):
    study = shutil.copytree(tiny_folder, tmp_path / "study")
    victim = sorted((study / "images").rglob("*.png"))[-1]
    Image.open(victim).convert("RGB").resize((200, 200)).save(victim, "jpeg")
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    message = refused(capsys, "features", study, "--store", tmp_path / "cache", "--quiet")
    assert victim.name in message
    assert "is truncated" in message
    assert not list((tmp_path / "cache").rglob("*.npy"))


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--ladder", 1, 50, 3), "width is 50"),
        (("--ladder", 1, 9, 9), "no 9 different odd widths"),
        (("--ladder", 1, 9, 3, "--spacing", "cubic"), "linear, log"),
    ],
)
def test_impossible_ladder_is_refused(tiny_folder, tmp_path, capsys, options, part):
    assert part in refused(capsys, "features", tiny_folder, "--store", tmp_path / "cache", "--quiet", *options)
