import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sentences import one_sentence
from ubp.errors import InputError, UbpError
from ubp.files import digest
from ubp.images import features, manifest
from ubp.images.blur import Blur, blur_ladder
from ubp.images.features import FeatureStore
from ubp.images.gabor import GaborEncoder
from ubp.images.load import load_image

LADDER = (Blur(1), Blur(5), Blur(9))


class Projection:
    """Seeded linear map of the pixels; counts the images it saw, and fails when told to."""

    name = "projection"
    interpolation = "bilinear"

    def __init__(self, size=16, dim=7, seed=0, fail_after=None):
        self.size, self.dim, self.fail_after = size, dim, fail_after
        self.weights = torch.randn(3 * size * size, dim, generator=torch.Generator().manual_seed(seed))
        self.fingerprint = digest("projection", self.weights.numpy().tobytes())
        self.seen = 0

    def __call__(self, pixels):
        if self.fail_after is not None and self.seen >= self.fail_after:
            raise RuntimeError("the encoder broke")
        self.seen += len(pixels)
        return pixels.flatten(1) @ self.weights


def write_images(folder: Path, n=20, side=24):
    rng = np.random.default_rng(0)
    names = [f"{'ab'[i % 2]}/{i:03d}.png" for i in range(n)]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(folder / name)
    return names


@pytest.fixture
def study(tmp_path):
    folder = tmp_path / "images"
    return folder, write_images(folder)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "cache"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def literal_vectors(folder, images, encoder, level):
    """One image at a time, every step written out."""
    rows = []
    for image in images:
        pixels = Image.open(folder / image).convert("RGB").resize((encoder.size,) * 2, Image.Resampling.BILINEAR)
        tensor = torch.from_numpy(np.asarray(pixels) / 255).permute(2, 0, 1)[None].float()
        vector = encoder(blur_ladder(tensor, [level])[0])[0].numpy().astype(float)
        rows.append(vector / np.sqrt((vector**2).sum()))
    return np.array(rows)


@pytest.mark.parametrize("encoder", [Projection(), GaborEncoder(48)], ids=["projection", "gabor"])
def test_equals_a_literal_loop(study, root, encoder):
    folder, images = study
    store = FeatureStore.build(folder, images[:8], encoder, LADDER, root, batch_size=3)
    assert store.images == tuple(sorted(images[:8]))
    assert store.levels == tuple(sorted(level.name for level in LADDER))
    for level in LADDER:
        vectors = store.vectors(level)
        assert vectors.dtype == np.float32
        assert vectors.shape == (8, encoder.dim)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(vectors, literal_vectors(folder, store.images, encoder, level), atol=1e-5)


def test_level_files_are_plain_npy(study, root, tmp_path):
    folder, images = study
    store = FeatureStore.build(folder, images, Projection(), LADDER, root)
    for level in LADDER:
        np.save(tmp_path / "saved.npy", store.vectors(level))
        assert (store.folder / f"{level.name}.npy").read_bytes() == (tmp_path / "saved.npy").read_bytes()


def test_vectors_come_in_the_order_asked_for(study, root):
    folder, images = study
    store = FeatureStore.build(folder, images, Projection(), LADDER, root)
    asked = [images[3], images[0], images[3], images[19]]
    rows = [store.images.index(image) for image in asked]
    np.testing.assert_array_equal(store.vectors(LADDER[1], asked), store.vectors(LADDER[1])[rows])
    ladder = store.ladder([LADDER[2], LADDER[0], LADDER[2]], asked)
    assert ladder.shape == (3, 4, 7)
    assert ladder.dtype == torch.float32
    np.testing.assert_array_equal(ladder[1], store.vectors(LADDER[0], asked))
    assert torch.equal(ladder[0], ladder[2])
    assert store.vectors(LADDER[0], []).shape == (0, 7)


def test_nothing_is_done_twice(study, root, caplog):
    folder, images = study
    first = FeatureStore.build(folder, images, Projection(), LADDER, root)
    assert first.computed == tuple(level.name for level in LADDER)
    before = {f: f.stat().st_mtime_ns for f in first.folder.iterdir()}
    encoder = Projection()
    with caplog.at_level(logging.INFO, logger="ubp"):
        again = FeatureStore.build(folder, images[::-1] + images[:3], encoder, [LADDER[2], LADDER[0]], root)
    assert "Nothing to do" in caplog.text
    assert encoder.seen == 0
    assert again.computed == ()
    assert (again.key, again.folder) == (first.key, first.folder)
    assert {f: f.stat().st_mtime_ns for f in first.folder.iterdir()} == before


def test_a_further_level_is_computed_alone(study, root, tmp_path):
    folder, images = study
    FeatureStore.build(folder, images, Projection(), LADDER[:2], root)
    encoder = Projection()
    store = FeatureStore.build(folder, images, encoder, LADDER, root)
    assert store.computed == (LADDER[2].name,)
    assert encoder.seen == 20
    at_once = FeatureStore.build(folder, images, Projection(), LADDER, tmp_path / "other")
    assert contents(store.folder) == contents(at_once.folder)


def test_key_follows_the_content(study, root, tmp_path, monkeypatch):
    folder, images = study

    def key(folder=folder, images=images, encoder=None):
        return FeatureStore.build(folder, images, encoder or Projection(), LADDER[:1], root).key

    first = key()
    copy = tmp_path / "copy"
    assert key(copy, write_images(copy)) == first
    renamed = Projection()
    renamed.name = "another name"
    assert key(encoder=renamed) == first

    other_size = Projection()
    other_size.interpolation = "bicubic"
    keys = [first, key(images=images[1:]), key(encoder=Projection(seed=1)), key(encoder=other_size)]
    pixels = np.array(Image.open(copy / images[5]))
    pixels[3, 4, 1] ^= 1
    Image.fromarray(pixels).save(copy / images[5])
    keys.append(key(copy))
    folder.joinpath(images[0]).rename(folder / "renamed.png")
    keys.append(key(images=["renamed.png", *images[1:]]))
    monkeypatch.setattr(manifest, "TRANSFORM_VERSION", manifest.TRANSFORM_VERSION + 1)
    keys.append(key(images=["renamed.png", *images[1:]]))
    assert len(set(keys)) == len(keys) == 7


@pytest.mark.parametrize("field", [{"decay": 2.0}, {"sigma": 2.0}, {"strength": 0.5}, {"curve": "linear"}])
def test_every_field_of_the_blur_is_a_level_of_its_own(study, root, field):
    folder, images = study
    plain, other = Blur(9), Blur(9, **field)
    store = FeatureStore.build(folder, images, Projection(), [plain, other], root)
    assert len(store.levels) == 2
    assert np.abs(store.vectors(plain) - store.vectors(other)).max() > 1e-3


CRISP = [-0.30586, -0.6711, -0.66214, 0.1328]
FOVEATED = [-0.24617, -0.73026, -0.63726, -0.00377]
UNIFORM = [-0.25181, -0.7398, -0.62349, -0.02351]


def test_transform_version_is_raised_with_the_transform(tmp_path):
    """These numbers belong to version 1 of load, blur and normalise; if they change, so must TRANSFORM_VERSION."""
    y, x = np.mgrid[:48, :64]
    image = np.stack([4 * x, 5 * y, (37 * x + 11 * y) % 256], axis=-1).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    encoder = Projection(size=32, dim=4)
    store = FeatureStore.build(tmp_path, ["a.png"], encoder, [Blur(1), Blur(13), Blur(9, "uniform")], tmp_path / "c")
    assert manifest.TRANSFORM_VERSION == 1
    np.testing.assert_allclose(store.vectors(Blur(1))[0], CRISP, atol=5e-4)
    np.testing.assert_allclose(store.vectors(Blur(13))[0], FOVEATED, atol=5e-4)
    np.testing.assert_allclose(store.vectors(Blur(9, "uniform"))[0], UNIFORM, atol=5e-4)


def test_default_root(monkeypatch, tmp_path):
    monkeypatch.setenv("UBP_CACHE", str(tmp_path / "mine"))
    assert features.default_root() == tmp_path / "mine"
    monkeypatch.delenv("UBP_CACHE")
    assert features.default_root().parts[-2:] == ("ubp", "features")


# Stops


@pytest.mark.parametrize("fail_after", [0, 6, 40])
def test_finished_blocks_survive_an_encoder_that_fails(study, root, tmp_path, fail_after):
    folder, images = study
    options = {"batch_size": 3}
    with pytest.raises(RuntimeError, match="the encoder broke"):
        FeatureStore.build(folder, images, Projection(fail_after=fail_after), LADDER, root, **options)
    encoder = Projection()
    store = FeatureStore.build(folder, images, encoder, LADDER, root, **options)
    finished = fail_after // 9 * 9
    assert encoder.seen == 60 - finished
    whole = FeatureStore.build(folder, images, Projection(), LADDER, tmp_path / "whole", **options)
    assert contents(store.folder) == contents(whole.folder)


def test_a_run_with_another_batch_size_or_ladder_continues_too(study, root):
    folder, images = study
    with pytest.raises(RuntimeError):
        FeatureStore.build(folder, images, Projection(fail_after=20), LADDER[:2], root, batch_size=5)
    encoder = Projection()
    store = FeatureStore.build(folder, images, encoder, LADDER, root, batch_size=4)
    assert encoder.seen == 60 - 2 * 8  # 10 rows of two levels are there; the block of rows 8 to 11 is made again
    for level in LADDER:
        np.testing.assert_allclose(
            store.vectors(level), literal_vectors(folder, store.images, encoder, level), atol=1e-5
        )


def test_unfinished_levels_of_another_ladder_are_kept(study, root):
    folder, images = study
    with pytest.raises(RuntimeError):
        FeatureStore.build(folder, images, Projection(fail_after=10), LADDER[:1], root, batch_size=5)
    FeatureStore.build(folder, images, Projection(), LADDER[1:], root, batch_size=5)
    encoder = Projection()
    store = FeatureStore.build(folder, images, encoder, LADDER, root, batch_size=5)
    assert encoder.seen == 10
    assert not (store.folder / "work").exists()


@pytest.mark.parametrize("leftover", [None, "progress.json", "progress.json.17.partial"])
def test_a_stop_while_clearing_up(study, root, leftover):
    folder, images = study
    store = FeatureStore.build(folder, images, Projection(), LADDER, root)
    whole = contents(store.folder)
    (store.folder / "work").mkdir()
    if leftover:
        (store.folder / "work" / leftover).write_text("{}")
    assert contents(FeatureStore.build(folder, images, Projection(), LADDER, root).folder) == whole
    assert not (store.folder / "work").exists()


def test_a_stop_while_writing_the_manifest(study, root):
    folder, images = study
    store = FeatureStore.build(folder, images, Projection(), LADDER, root)
    whole = contents(store.folder)
    (store.folder / "manifest.json").rename(store.folder / "manifest.json.17.partial")
    assert contents(FeatureStore.build(folder, images, Projection(), LADDER, root).folder) == whole


@pytest.mark.parametrize("moved", [1, 2])
def test_a_stop_between_two_renames(study, root, moved):
    folder, images = study
    store = FeatureStore.build(folder, images, Projection(), LADDER, root)
    whole = contents(store.folder)
    work = store.folder / "work"
    work.mkdir()
    for level in LADDER[moved:]:
        (store.folder / f"{level.name}.npy").rename(work / f"{level.name}.npy.partial")
    (work / "progress.json").write_text(json.dumps({level.name: 20 for level in LADDER}))
    encoder = Projection()
    assert contents(FeatureStore.build(folder, images, encoder, LADDER, root).folder) == whole
    assert encoder.seen == 0


@pytest.mark.parametrize("record", ["", "[]", '{"crisp": "many", "w5-exponential3": null}', '{"crisp": -3}'])
def test_a_damaged_record_of_progress_is_not_believed(study, root, tmp_path, record):
    with pytest.raises(RuntimeError):
        FeatureStore.build(*study, Projection(fail_after=30), LADDER, root, batch_size=4, checkpoint_seconds=0)
    (progress,) = root.rglob("progress.json")
    progress.write_text(record)
    FeatureStore.build(*study, Projection(), LADDER, root, batch_size=4)
    FeatureStore.build(*study, Projection(), LADDER, tmp_path / "whole", batch_size=4)
    assert contents(root) == contents(tmp_path / "whole")


def test_a_partial_file_shorter_than_its_record_is_not_believed(study, root):
    folder, images = study
    with pytest.raises(RuntimeError):
        FeatureStore.build(folder, images, Projection(fail_after=10), LADDER[:1], root, batch_size=5)
    (partial,) = root.rglob("*.partial")
    with partial.open("r+b") as file:
        file.truncate(128 + 7 * 4 * 3)
    encoder = Projection()
    store = FeatureStore.build(folder, images, encoder, LADDER[:1], root)
    assert encoder.seen == 17
    np.testing.assert_allclose(
        store.vectors(LADDER[0]), literal_vectors(folder, store.images, encoder, LADDER[0]), atol=1e-5
    )


KILLS = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from ubp.images.blur import Blur
from ubp.images.features import FeatureStore
from ubp.images.gabor import GaborEncoder

folder, root, whole = map(Path, sys.argv[1:])
images = sorted(str(f.relative_to(folder)) for f in folder.rglob("*.png"))

class Announcing(GaborEncoder):
    def __call__(self, pixels):
        os.write(self.pipe, b".")
        return super().__call__(pixels)

def start(root):
    ears, mouth = os.pipe()
    pid = os.fork()
    if pid == 0:
        torch.set_num_threads(1)
        encoder = Announcing(48)
        encoder.pipe = mouth
        FeatureStore.build(folder, images, encoder, [Blur(1), Blur(5)], root, batch_size=4, checkpoint_seconds=0)
        os._exit(0)
    os.close(mouth)
    return pid, ears

assert os.waitpid(start(whole)[0], 0)[1] == 0
rng = random.Random(0)
killed = 0
for _ in range(10):
    pid, ears = start(root)
    for _ in range(rng.randrange(16)):
        os.read(ears, 1)
    time.sleep(rng.uniform(0, 0.01))
    os.kill(pid, signal.SIGKILL)
    killed += os.waitpid(pid, 0)[1] == signal.SIGKILL
    os.close(ears)
    records = list(root.rglob("progress.json"))
    print(records[0].read_text().split()[2].strip(",") if records else "-")
assert os.waitpid(start(root)[0], 0)[1] == 0
print(killed)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_ten_kills_leave_the_same_bytes(tmp_path):
    folder = tmp_path / "images"
    write_images(folder, n=280, side=48)
    run = subprocess.run(
        [sys.executable, "-c", KILLS, folder, tmp_path / "killed", tmp_path / "whole"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    *progress, killed = run.stdout.split()
    assert int(killed) == 10
    assert len({p for p in progress if p != "-"}) >= 3, "the kills should have met runs at different places"
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_two_builders_at_once_share_the_work(study, root):
    folder, images = study
    encoders = [Projection() for _ in range(3)]
    threads = [
        threading.Thread(target=FeatureStore.build, args=(folder, images, encoder, LADDER, root))
        for encoder in encoders
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(encoder.seen for encoder in encoders) == [0, 0, 60]


# Bad input


class Broken(Projection):
    """Gives a useless vector for the dark image."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def __call__(self, pixels):
        vectors = super().__call__(pixels)
        vectors[pixels.flatten(1).mean(dim=1) < 0.1] = self.value
        return vectors


@pytest.mark.parametrize(("value", "part"), [(0.0, "only zeros"), (np.nan, "not finite"), (np.inf, "not finite")])
def test_a_useless_vector_names_its_image(study, root, value, part):
    folder, images = study
    Image.new("RGB", (9, 9)).save(folder / images[11])
    with pytest.raises(InputError, match=part) as error:
        FeatureStore.build(folder, images, Broken(value), LADDER, root)
    one_sentence(error, images[11])


def test_encoder_with_another_dim(study, root):
    encoder = Projection()
    encoder.dim = 8
    with pytest.raises(InputError, match=r"gave an array of shape \(20, 7\)") as error:
        FeatureStore.build(*study, encoder, LADDER, root)
    one_sentence(error)


@pytest.mark.parametrize("name", ["absent.png", "../outside.png", "/etc/hostname", "text.png"])
def test_images_that_cannot_be_used_are_named(study, root, name):
    folder, images = study
    (folder / "text.png").write_text("not an image")
    Image.new("RGB", (9, 9)).save(folder.parent / "outside.png")
    with pytest.raises(InputError) as error:
        FeatureStore.build(folder, [*images, name], Projection(), LADDER, root)
    one_sentence(error, name)


def test_image_that_changes_during_the_run(study, root):
    folder, images = study

    class Meddler(Projection):
        def __call__(self, pixels):
            Image.new("RGB", (9, 9), "red").save(folder / "other.png")
            (folder / "other.png").replace(folder / max(images))
            return super().__call__(pixels)

    with pytest.raises(InputError, match="changed while") as error:
        FeatureStore.build(folder, images, Meddler(), LADDER, root, batch_size=4)
    one_sentence(error, max(images))


def test_empty_requests(study, root):
    folder, images = study
    for arguments in ((folder, [], Projection(), LADDER), (folder, images, Projection(), [])):
        with pytest.raises(InputError, match="expected at least one of each"):
            FeatureStore.build(*arguments, root)


def test_level_that_does_not_fit_the_image(study, root):
    with pytest.raises(InputError, match="outside the image") as error:
        FeatureStore.build(*study, Projection(), [Blur(5, fixation=(99.0, 0.0))], root)
    one_sentence(error)
    assert not root.exists()


def test_unknown_image_and_missing_level(study, root):
    folder, images = study
    store = FeatureStore.build(folder, images[:10], Projection(), LADDER[:2], root)
    with pytest.raises(InputError, match="has no image") as error:
        store.vectors(LADDER[0], images)
    one_sentence(error, repr(images[10]))
    with pytest.raises(InputError, match="has no level") as error:
        store.ladder(LADDER)
    one_sentence(error, LADDER[0].name, LADDER[1].name, LADDER[2].name)


def cut(file: Path):
    file.write_bytes(file.read_bytes()[:-4])


def empty(file: Path):
    file.write_bytes(b"")


def transpose(file: Path):
    np.save(file, np.load(file).T)


def pickled(file: Path):
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize("damage", [cut, empty, transpose, pickled])
def test_damaged_level_file(study, root, damage):
    store = FeatureStore.build(*study, Projection(), LADDER, root)
    damage(store.folder / "crisp.npy")
    for attempt in (
        lambda: FeatureStore.open(store.folder),
        lambda: FeatureStore.build(*study, Projection(), LADDER, root),
        lambda: store.vectors(Blur(1)),
    ):
        with pytest.raises(InputError) as error:
            attempt()
        one_sentence(error, "crisp.npy", "build the store again")


def test_zeroed_rows_are_noticed(study, root):
    store = FeatureStore.build(*study, Projection(), LADDER, root)
    rows = np.load(store.folder / "crisp.npy")
    rows[4] = 0
    np.save(store.folder / "crisp.npy", rows)
    with pytest.raises(InputError, match="not of length 1"):
        FeatureStore.open(store.folder).vectors(Blur(1))


@pytest.mark.parametrize("key", ["key", "transform", "encoder", "dim", "images"])
def test_damaged_manifest(study, root, key):
    store = FeatureStore.build(*study, Projection(), LADDER, root)
    path = store.folder / "manifest.json"
    good = json.loads(path.read_text())
    without = {k: v for k, v in good.items() if k != key}
    changed = good | {"dim": 8, "transform": 99, "images": {"x": 3}, "encoder": {"name": "x"}, "key": "0"}
    for content in (without, good | {key: changed[key]}):
        path.write_text(json.dumps(content))
        with pytest.raises(InputError, match="build the store again") as error:
            FeatureStore.open(store.folder)
        one_sentence(error, path)
    path.write_text(json.dumps(good)[:-20])
    with pytest.raises(InputError, match="cannot be read as the manifest"):
        FeatureStore.open(store.folder)
    path.unlink()
    with pytest.raises(InputError, match="does not exist; expected the manifest"):
        FeatureStore.open(store.folder)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_keeps_what_is_done(study, root, tmp_path):
    folder, images = study
    with pytest.raises(RuntimeError):
        FeatureStore.build(folder, images, Projection(fail_after=6), LADDER[:2], root, batch_size=3)
    partial = next(root.rglob(f"{LADDER[1].name}.npy.partial"))
    partial.rename(tmp_path / "aside")
    partial.symlink_to("/dev/full")
    with pytest.raises(UbpError, match="The disk is full while writing") as error:
        FeatureStore.build(folder, images, Projection(), LADDER[:2], root, batch_size=3)
    assert not isinstance(error.value, InputError)
    one_sentence(error, root)
    partial.unlink()
    (tmp_path / "aside").rename(partial)
    encoder = Projection()
    store = FeatureStore.build(folder, images, encoder, LADDER[:2], root, batch_size=3)
    assert encoder.seen == 40 - 6
    whole = FeatureStore.build(folder, images, Projection(), LADDER[:2], tmp_path / "whole", batch_size=3)
    assert contents(store.folder) == contents(whole.folder)


def test_loaded_pixels_are_what_the_encoder_gets(study, root):
    folder, images = study

    class Identity(Projection):
        def __call__(self, pixels):
            return pixels.flatten(1)

    encoder = Identity(size=16, dim=3 * 16 * 16)
    store = FeatureStore.build(folder, images, encoder, [Blur(1)], root)
    pixels = load_image(folder / store.images[2], 16).flatten().double() / 255
    np.testing.assert_allclose(store.vectors(Blur(1))[2], pixels / pixels.norm(), atol=1e-6)
