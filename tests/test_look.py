"""The page about the data, through the command line, and the numbers behind it."""

import base64
import io
import re
import shutil
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from conftest import N_CHANNELS, N_TEST, N_TRAIN, REPETITIONS, make_study, png
from test_cli import refused, run
from test_report import EVIL, QUOTE, Page
from ubp.data.forward import POSTERIOR, channel_positions
from ubp.data.repetitions import image_blocks
from ubp.data.sensors import find_sensors
from ubp.data.study import RecordingData, Study, StudyInfo, create_study
from ubp.errors import InputError
from ubp.look import write_look
from ubp.look.summary import summarise
from ubp.plots import curves_figure, evoked_figure, reliability_figure, subjects_figure, topographies_figure
from ubp.plots.evoked import peak_times
from ubp.plots.thumbnails import images_figure
from ubp.plots.topography import time_windows
from ubp.reliability import spearman_brown, split_half, variances

V4 = Path(__file__).parents[2] / "shared" / "data" / "v4"
TITLES = (
    "Study",
    "Trials",
    "Images",
    "Evoked responses",
    "Topographies over time",
    "Split-half reliability",
    "Noise ceiling",
    "Trial-to-trial variability",
)


def study_of(folder, counts=(3, 4, 5, 3), n_channels=2, n_times=1, modality="spikes", kind="spikes", word="", **info):
    """Train images with those numbers of trials, two test images, noise and a channel that is silent."""
    random = np.random.default_rng(0)
    names = [f"train/{i}.png" for i in range(len(counts))] + ["test/0.png", "test/1.png"]
    all_counts = [*counts, 3, 3]
    image = np.repeat(np.arange(len(names)), all_counts)
    clean = random.standard_normal((len(names), n_channels, n_times))
    signals = 3 + clean[image] + random.standard_normal((len(image), n_channels, n_times))
    if n_channels > 1:
        signals[:, -1] = 0.1
    table = pd.DataFrame({"image": [names[i] for i in image], "concept": [f"c{i}{word}" for i in image]})
    table["split"] = [name.split("/")[0] for name in table["image"]]
    table["repetition"] = table.groupby("image").cumcount()
    table["session"] = [f"s{i % 2}" for i in range(len(table))]
    channels = pd.DataFrame({"name": [f"u{i}{word}" for i in range(n_channels)], "type": kind})
    images = {name: png(random.integers(0, 256, (8, 8, 3), np.uint8)) for name in names}
    about = StudyInfo(f"made {word}", modality, **info)
    return create_study(
        folder, about, [RecordingData("sub-01", signals.astype(np.float32), table, channels)], lambda name: images[name]
    )


def pictures(path):
    """The figures of a page, decoded."""
    sources = [attributes["src"] for tag, attributes in Page(path).tags if tag == "img" and "webp" in attributes["src"]]
    return [Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))) for source in sources]


def look(study, out, *arguments):
    assert run("look", study, "--out", out, "--quiet", *arguments) == 0
    page = Page(out)
    for title in TITLES:
        assert title in page.text
    for picture in pictures(out):
        assert picture.width == 1620
        assert np.asarray(picture).std() > 3
    return page


@pytest.fixture(scope="module")
def placed(tmp_path_factory, tiny_folder):
    """The tiny study with electrodes at known places."""
    folder = shutil.copytree(tiny_folder, tmp_path_factory.mktemp("placed") / "tiny")
    names = POSTERIOR[:N_CHANNELS]
    table = pd.DataFrame({"name": names, "type": "eeg", **dict(zip("xyz", channel_positions(names).T, strict=True))})
    for subject in ("sub-01", "sub-02"):
        table.to_csv(folder / subject / "channels.csv", index=False)
    return folder


def test_page_of_a_study_with_times_and_places(placed, tmp_path, capsys):
    page = look(placed, tmp_path / "look.html", "--subject", "sub-02")
    assert str(tmp_path / "look.html") in capsys.readouterr().out.replace("\n", "")
    summary = summarise(Study.open(placed).recording("sub-02"))
    assert f"{np.median(summary.reliability.mean(axis=1)):.2f}" in page.text
    assert f"{summary.variability.mean():.3f}" in page.text
    for words in ("CC0", "Nobody, 2000", "100 Hz", "no test trial was read", f"{N_TRAIN * REPETITIONS} train trials"):
        assert words in page.text
    assert "Positions: channels.csv." in page.text
    assert "No topographies" not in page.text
    # counts, images, responses, maps, reliability, ceiling, variability
    assert len(pictures(tmp_path / "look.html")) == 7
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        assert attributes.get("src", "data:").startswith("data:")
    assert [file.name for file in tmp_path.iterdir()] == ["look.html"]


def test_the_training_page_does_not_change_with_the_test_signals(tmp_path):
    study = study_of(tmp_path / "study", n_times=4, sfreq=100.0, modality="eeg", kind="eeg")
    other = shutil.copytree(study.root, tmp_path / "other")
    signals = np.load(other / "sub-01/signals.npy")
    test = (study.recording("sub-01").trials["split"] == "test").to_numpy()
    signals[test] *= 100
    np.save(other / "sub-01/signals.npy", signals)
    first, second = (look(path, tmp_path / f"{path.name}.html").text for path in (study.root, other))
    assert re.sub(r"Created on.*", "", first) == re.sub(r"Created on.*", "", second)
    for one, two in zip(*(pictures(tmp_path / f"{name}.html") for name in ("study", "other")), strict=True):
        assert np.array_equal(one, two)


def test_page_of_spikes_without_times(tmp_path):
    study = study_of(tmp_path / "study", counts=(6, 7, 10, 8, 9), n_channels=3)
    page = look(study.root, tmp_path / "look.html")
    summary = summarise(study.recording("sub-01"))
    assert "channels of type spikes have no place on a head" in page.text
    assert "6 to 10" in page.text
    assert "subject session train trials test trials sub-01 s0" in page.text
    assert "Missing, because constant: 1 of 3 channels." in page.text
    ratio = np.median((summary.found.trial / summary.found.mean)[:, 0])
    assert f"{ratio:.2f}" in page.text
    assert "variance / mean, median" in page.text
    assert len(pictures(tmp_path / "look.html")) == 6


def test_page_without_repetitions_says_why_and_where_there_are_some(tmp_path):
    study = study_of(tmp_path / "study", counts=(1, 1, 1, 2))
    page = look(study.root, tmp_path / "look.html")
    assert page.text.count("1 of the 4 train images have more than one trial") == 3
    assert len(pictures(tmp_path / "look.html")) == 3
    assert "--split test" in page.text
    once = study_of(tmp_path / "once", counts=(1, 1, 1, 1))
    page = look(once.root, tmp_path / "once.html")
    assert page.text.count("each of the 4 train images has one trial") == 3
    assert len(pictures(tmp_path / "once.html")) == 3


def test_page_of_test_trials_warns(tiny_folder, tmp_path):
    page = look(tiny_folder, tmp_path / "look.html", "--split", "test", "--subject", "sub-01")
    assert "those of TEST trials. Nothing seen here may be used to choose channels" in page.text
    assert "a look at the test data" in page.text
    assert f"mean over {N_TEST * REPETITIONS} test trials" in page.text
    assert "sub-02: mean" not in page.text


@pytest.mark.parametrize(
    ("n_channels", "n_times", "sfreq"), [(1, 1, None), (1, 5, None), (2, 2, 50.0), (1, 3, 10.0), (100, 2, None)]
)
def test_pages_of_small_and_odd_shapes(tmp_path, n_channels, n_times, sfreq):
    study = study_of(tmp_path / "study", n_channels=n_channels, n_times=n_times, sfreq=sfreq, kind="other")
    page = look(study.root, tmp_path / "look.html")
    if n_times > 1:
        assert ("sample" in page.text) or sfreq
    assert "no place on a head" in page.text


def test_subjects_of_other_length_and_without_the_split(tmp_path):
    study = study_of(tmp_path / "study", n_times=6, n_channels=4, sfreq=100.0, modality="eeg", kind="eeg")
    long = shutil.copytree(study.root / "sub-01", study.root / "sub-02")
    np.save(long / "signals.npy", np.load(long / "signals.npy")[:, :, :3])
    few = shutil.copytree(study.root / "sub-01", study.root / "sub-03")
    table = pd.read_csv(few / "trials.csv")
    np.save(few / "signals.npy", np.load(few / "signals.npy")[table["split"] == "test"])
    table[table["split"] == "test"].to_csv(few / "trials.csv", index=False)
    for folder in ("sub-01", "sub-02"):
        pd.DataFrame({"name": POSTERIOR[:4], "type": "eeg"}).to_csv(study.root / folder / "channels.csv", index=False)
    page = look(study.root, tmp_path / "look.html")
    assert "sub-03: no train trial." in page.text
    assert "Positions: by channel name" in page.text
    assert "Missing, because constant: 1 of 4 channels." in page.text
    with pytest.raises(InputError, match="no train trial; choose another"):
        write_look(tmp_path / "other.html", Study.open(study.root), ["sub-03"])


def test_no_text_of_a_study_becomes_markup(tmp_path):
    word = (EVIL + QUOTE).replace("/", "")
    study = study_of(tmp_path / "study", word=word)
    write_look(tmp_path / "look.html", study)
    assert EVIL.replace("/", "") not in (tmp_path / "look.html").read_text(encoding="utf-8")
    assert f"made {word}: a look" in Page(tmp_path / "look.html").text


def test_bad_input_is_one_sentence_and_leaves_the_older_page(tiny_folder, tmp_path, capsys):
    out = tmp_path / "look.html"
    out.write_text("older")
    assert "not a folder" in refused(capsys, "look", tmp_path / "absent", "--out", out)
    assert "dataset.json" in refused(capsys, "look", tmp_path, "--out", out)
    assert "no subject 'sub-99'" in refused(capsys, "look", tiny_folder, "--out", out, "--subject", "sub-99")
    assert "split 'tset' is unknown" in refused(capsys, "look", tiny_folder, "--out", out, "--split", "tset")
    assert "ends in .html" in refused(capsys, "look", tiny_folder, "--out", tmp_path / "look.csv")
    assert "cannot be written" in refused(capsys, "look", tiny_folder, "--out", out / "below.html")
    (tmp_path / "folder.html").mkdir()
    assert "cannot be written" in refused(capsys, "look", tiny_folder, "--out", tmp_path / "folder.html")
    assert out.read_text() == "older"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder.html", "look.html"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_signal_that_is_not_finite_is_named(tiny_folder, tmp_path, capsys, value):
    folder = shutil.copytree(tiny_folder, tmp_path / "tiny")
    signals = np.load(folder / "sub-01/signals.npy")
    signals[3, 2, 1] = value
    np.save(folder / "sub-01/signals.npy", signals)
    error = refused(capsys, "look", folder, "--out", tmp_path / "look.html", "--quiet")
    assert "trial 3 (counted from 0), channel 'c2'" in error
    assert not list(tmp_path.glob("look*"))


def test_an_image_that_does_not_decode_is_named(tiny_folder, tmp_path, capsys):
    folder = shutil.copytree(tiny_folder, tmp_path / "tiny")
    for file in (folder / "images/train").iterdir():
        file.write_bytes(b"no pixels")
    assert "images/train/" in refused(capsys, "look", folder, "--out", tmp_path / "look.html", "--quiet")
    assert not list(tmp_path.glob("look*"))


def test_the_same_seed_gives_the_same_numbers(tiny):
    recording = tiny.recording("sub-01")
    assert np.array_equal(summarise(recording, seed=1).halves, summarise(recording, seed=1).halves)


@pytest.mark.parametrize("block", [1, 5000, 1 << 24])
@pytest.mark.parametrize("split", ["train", "test"])
def test_blocks_hold_every_trial_of_an_image_once(tmp_path, monkeypatch, block, split):
    """In any order of the file, for any size of the blocks."""
    monkeypatch.setattr("ubp.data.repetitions.BLOCK_BYTES", block)
    make_study(tmp_path / "study", n_subjects=1)
    folder = tmp_path / "study/sub-01"
    mixed = np.random.default_rng(0).permutation((N_TRAIN + N_TEST) * REPETITIONS)
    signals, table = np.load(folder / "signals.npy")[mixed], pd.read_csv(folder / "trials.csv").iloc[mixed]
    np.save(folder / "signals.npy", signals)
    table.to_csv(folder / "trials.csv", index=False)
    recording = Study.open(tmp_path / "study").recording("sub-01")
    seen = {}
    for trials, image in image_blocks(recording, split):
        for number in np.unique(image):
            assert number not in seen
            seen[number] = trials[image == number]
    names = table["image"][table["split"] == split].drop_duplicates().tolist()
    assert sorted(seen) == list(range(len(names)))
    for number, name in enumerate(names):
        np.testing.assert_array_equal(seen[number], signals[(table["image"] == name).to_numpy()])


def test_blocks_of_some_images(tiny):
    recording = tiny.recording("sub-01")
    few, again = ([image for _, image in image_blocks(recording, n_images=7, seed=s)] for s in (1, 1))
    assert len(np.unique(np.concatenate(few))) == 7
    assert np.array_equal(np.concatenate(few), np.concatenate(again))
    other = np.concatenate([image for _, image in image_blocks(recording, n_images=7, seed=2)])
    assert not np.array_equal(np.concatenate(few), other)
    assert list(image_blocks(recording, fewest=REPETITIONS + 1)) == []
    whole = [image_blocks(recording), image_blocks(recording, n_images=1000)]
    assert np.array_equal(*(variances(blocks).mean for blocks in whole))


CHANNELS = pd.DataFrame({"name": [*POSTERIOR[:5], "EOG"], "type": [*["eeg"] * 5, "eog"]})


def test_sensors_by_place_by_name_and_the_reason_for_none():
    by_name = find_sensors(CHANNELS)
    assert by_name.picks.tolist() == [0, 1, 2, 3, 4]
    assert "10-05" in by_name.source
    assert find_sensors(CHANNELS.assign(name=CHANNELS["name"].str.upper())).picks.tolist() == [0, 1, 2, 3, 4]
    places = channel_positions(POSTERIOR[:5])
    known = CHANNELS.assign(**{axis: [*places[:, i], np.nan] for i, axis in enumerate("xyz")})
    given = find_sensors(known)
    assert given.picks.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose([channel["loc"][:3] for channel in given.info["chs"]], places)
    assert "share positions" in find_sensors(known.assign(x=0.01, y=0.02, z=0.03))
    assert "no finite x, y, z" in find_sensors(known.assign(x=np.nan))
    assert "no columns x, y, z" in find_sensors(CHANNELS.assign(name=[f"c{i}" for i in range(6)]))
    assert "no columns x, y, z" in find_sensors(CHANNELS.assign(type="mag"))
    assert "type spikes" in find_sensors(CHANNELS.assign(type="spikes"))
    magnetometers = find_sensors(known.assign(type=["mag"] * 5 + ["misc"]))
    assert magnetometers.info.get_channel_types() == ["mag"] * 5


def test_peaks_and_windows():
    wave = np.array([0, 1, 0, 3, 0, 2, 0.0])
    response = np.stack([wave, -wave])
    assert peak_times(response, 2).tolist() == [3, 5]
    assert peak_times(response, 9).tolist() == [1, 3, 5]
    assert peak_times(np.stack([np.arange(4.0), -np.arange(4.0)])).tolist() == [3]
    assert peak_times(np.zeros((3, 4))).tolist() == [0]
    assert peak_times(-wave[None], 1).tolist() == [3]
    windows = time_windows(np.arange(10.0), 4)
    assert np.concatenate(windows).tolist() == list(range(10))
    assert {len(window) for window in windows} == {2, 3}
    assert len(time_windows(np.arange(3.0))) == 3


def test_figures_show_the_numbers_they_were_given():
    sensors = find_sensors(CHANNELS)
    random = np.random.default_rng(0)
    response, times = random.standard_normal((6, 20)), np.arange(20) / 100
    figure = evoked_figure(response, times, CHANNELS["type"].to_numpy(), sensors)
    drawn = [axes for axes in figure.axes if "channels (eeg)" in axes.get_title(loc="left")]
    assert not [text for text in figure.findobj(matplotlib.text.Text) if "mathrm" in text.get_text()]
    lines = np.stack([line.get_ydata() for line in drawn[0].lines if len(line.get_ydata()) == 20])
    for channel in response[:5]:
        assert np.isclose(lines, channel).all(axis=1).any()
    values = random.random((6, 20))
    values[2] = np.nan
    curve = next(
        line
        for axes in reliability_figure(values, times, list(CHANNELS["name"]), sensors).axes
        for line in axes.lines
        if line.get_gid() == "median"
    )
    np.testing.assert_allclose(curve.get_ydata(), np.nanmedian(values, axis=0))
    dots = [line for line in subjects_figure({"a": values[:, 0]}, "r").axes[0].lines if line.get_gid() == "mean"]
    assert dots[0].get_xdata()[0] == pytest.approx(np.nanmean(values[:, 0]))
    (axes,) = curves_figure({"a": (times, values[0]), "b": (times[:5], values[1][:5])}, "r").axes
    assert [line.get_gid() for line in axes.lines] == ["a", "b"]
    maps = topographies_figure({"a": response, "b": response}, {"b": sensors}, times)
    assert len([axes for axes in maps.axes if axes.images]) == 8
    with pytest.raises(ValueError, match="no image"):
        images_figure(Path(), [])


@pytest.mark.skipif(not V4.is_dir(), reason="the recordings of macaque V4 are not beside the project")
def test_macaque_v4_is_as_its_own_notes_say(tmp_path):
    """Split-half correlation .60 (.34 to .86), variance over mean .91, of all 640 images; here also of 533."""
    study = Study.open(V4)
    summary = summarise(study.recording("sub-210325"))
    assert (summary.found.n_images, summary.n_halves) == (533, 533)
    assert np.median(summary.halves) == pytest.approx(0.60, abs=0.04)
    assert (summary.halves.min(), summary.halves.max()) == pytest.approx((0.34, 0.86), abs=0.04)
    assert np.median(summary.found.trial / summary.found.mean) == pytest.approx(0.91, abs=0.03)
    means = study.recording("sub-210225")
    assert np.isnan(summarise(means).halves).all()
    everything = [block for split in ("train", "test") for block in _numbered(study.recording("sub-210325"), split)]
    halves = split_half(everything)
    assert np.median(halves) == pytest.approx(0.60, abs=0.02)
    assert (halves.min(), halves.max()) == pytest.approx((0.34, 0.86), abs=0.03)
    assert np.median(spearman_brown(halves)) == pytest.approx(0.75, abs=0.02)


def _numbered(recording, split):
    for signals, image in image_blocks(recording, split):
        yield signals, image + 10_000 * (split == "test")
