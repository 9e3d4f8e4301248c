"""Shards of a store: whole batches, believed only when they are what their worker wrote."""

import dataclasses
import json
from collections import deque

import numpy as np
import pytest
import torch

from test_features import LADDER, Projection, write_images
from ubp.images.features import FeatureStore
from ubp.images.manifest import hash_images
from ubp.images.on_ray import SHARD_BATCHES, _shards
from ubp.images.pipeline import Sources
from ubp.images.shards import Shard, compute_shard, read_shard

LEVELS = {level.name: level for level in LADDER}


@pytest.fixture
def sources(tmp_path):
    folder = tmp_path / "images"
    images = sorted(write_images(folder))
    return Sources(folder, images, hash_images(folder, images))


def a_shard(first=0, last=20, dtype="<f4", batch_size=4):
    return Shard(first, last, tuple(LEVELS), 7, dtype, batch_size, torch.get_num_threads())


@pytest.mark.parametrize("dtype", ["<f4", "<f2"])
def test_shards_hold_the_bytes_of_the_store(sources, tmp_path, dtype):
    name = {"<f4": "float32", "<f2": "float16"}[dtype]
    store = FeatureStore.build(
        sources.folder, sources.images, Projection(), LADDER, tmp_path / "cache", batch_size=4, dtype=name
    )
    for first, last in ((8, 16), (16, 20)):
        shard = a_shard(first, last, dtype)
        compute_shard(tmp_path, shard, sources.part(first, last), LEVELS, Projection())
        rows = read_shard(tmp_path, shard)
        assert rows.dtype == np.dtype(dtype)
        for level, found in zip(LEVELS, rows, strict=True):
            np.testing.assert_array_equal(found, np.load(store.folder / f"{level}.npy")[first:last])


def rewrite(change):
    """Damage the rows and say their new digest, as a broken worker would."""
    import hashlib

    def damage(rows, about):
        np.save(rows, change(np.load(rows)))
        content = json.loads(about.read_text())
        about.write_text(json.dumps(content | {"sha256": hashlib.sha256(rows.read_bytes()).hexdigest()}))

    return damage


def flip(rows, about):
    data = bytearray(rows.read_bytes())
    data[-9] ^= 1
    rows.write_bytes(data)


DAMAGES = {
    "a flipped bit": flip,
    "cut short": lambda rows, about: rows.write_bytes(rows.read_bytes()[:-4]),
    "no rows": lambda rows, about: rows.unlink(),
    "no description": lambda rows, about: about.unlink(),
    "half a description": lambda rows, about: about.write_text(about.read_text()[:30]),
    "too few rows": rewrite(lambda rows: rows[:, 1:]),
    "another dtype": rewrite(lambda rows: rows.astype(np.float64)),
    "not finite": rewrite(lambda rows: np.where(rows == rows.max(), np.nan, rows)),
    "not of length 1": rewrite(lambda rows: 2 * rows),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_shard_is_not_believed(sources, tmp_path, damage):
    shard = a_shard()
    compute_shard(tmp_path, shard, sources, LEVELS, Projection())
    assert read_shard(tmp_path, shard) is not None
    damage(shard.file(tmp_path, ".npy"), shard.file(tmp_path, ".json"))
    assert read_shard(tmp_path, shard) is None


@pytest.mark.parametrize(
    "change", [{"batch_size": 5}, {"threads": 99}, {"levels": tuple(LEVELS)[::-1]}, {"dim": 8}, {"dtype": "<f2"}]
)
def test_shard_of_another_run_is_not_used(sources, tmp_path, change):
    shard = a_shard()
    compute_shard(tmp_path, shard, sources, LEVELS, Projection())
    assert read_shard(tmp_path, dataclasses.replace(shard, **change)) is None


@pytest.mark.parametrize("start", [0, 8, 3, 64, 99])
def test_shards_cover_every_image_once_and_are_cut_at_the_same_places(start):
    shards = _shards(a_shard(start, start, batch_size=4), 100)
    assert isinstance(shards, deque)
    assert [i for shard in shards for i in range(shard.first, shard.last)] == list(range(start, 100))
    assert {shard.last for shard in shards} <= {*range(0, 100, 4 * SHARD_BATCHES), 100}
