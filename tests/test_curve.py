"""The repetition curve: nested choices of test trials, the same as `ubp evaluate --repetitions`."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from conftest import N_TEST, make_study
from test_cli import TRAIN, refused, run
from ubp.curve import default_repetitions
from ubp.data.study import Study
from ubp.errors import InputError
from ubp.plots import curve_figure
from ubp.statistics import grand_mean


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two methods and seeds on a noisy study of four repetitions, evaluated at 1 and 3 of them."""
    folder = tmp_path_factory.mktemp("curve")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UBP_CACHE", str(folder / "store"))
        make_study(folder / "tiny", noise=3.0, repetitions=4)
        runs = folder / "runs"
        assert run("train", folder / "tiny", "--out", runs, *TRAIN, "--seed", 0, 1) == 0
        assert run("train", folder / "tiny", "--out", runs, *TRAIN, "--preset", "vanilla", "--subject", "sub-01") == 0
        yield runs


def test_a_subset_in_memory_equals_the_one_read_from_disk(trained):
    recording = Study.open(trained.parent / "tiny").recording("sub-01")
    single = recording.load("test", average=False, channels=["c4", "c1"])
    for repetitions in (1, 2, 3, 4):
        for seed in (0, 5):
            read = recording.load("test", repetitions=repetitions, seed=seed, channels=["c4", "c1"])
            chosen = single.mean_of_some(repetitions, seed)
            np.testing.assert_array_equal(chosen.signals, read.signals)
            np.testing.assert_array_equal(chosen.repetitions, read.repetitions)
            assert (chosen.images, chosen.concepts, chosen.channels) == (read.images, read.concepts, read.channels)


def test_only_single_trials_of_one_subject_can_be_chosen_from(trained):
    recording = Study.open(trained.parent / "tiny").recording("sub-01")
    with pytest.raises(InputError, match="average=False"):
        recording.load("test").mean_of_some(1)
    with pytest.raises(InputError, match="choose a number from 1 to 4"):
        recording.load("test", average=False).mean_of_some(5)


def test_the_first_draw_is_what_evaluate_gives(trained, tmp_path):
    rows = {}
    for metric in ("top1", "mean_reciprocal_rank"):
        assert run("curve", trained, "--draws", 2, "--metric", metric, "--out", tmp_path / metric, "--quiet") == 0
        table = pd.read_csv(tmp_path / metric / "curve_runs.csv").query("draw == 0")
        rows[metric] = table.set_index(["repetitions", "run"])[metric]
    for repetitions in (1, 2, 4):
        assert run("evaluate", trained, "--repetitions", repetitions, "--quiet") == 0
        evaluated = pd.read_csv(trained / "results.csv").set_index("run")
        assert len(evaluated) == 2 * 2 + 1 + 2
        for metric, curve in rows.items():
            shown = curve[repetitions].sort_index()
            pd.testing.assert_series_equal(shown, evaluated[metric].sort_index(), check_exact=True)


def test_draws_are_averaged_within_images_seeds_and_subjects(trained, tmp_path):
    assert run("curve", trained, "--draws", 3, "--out", tmp_path, "--repetitions", 2, 1, 4, "--quiet") == 0
    table, rows = pd.read_csv(tmp_path / "curve.csv"), pd.read_csv(tmp_path / "curve_runs.csv")
    assert table.groupby("method", sort=False)["repetitions"].agg(list).tolist() == [[1, 2, 4]] * 3
    assert table.groupby("repetitions")["draws"].unique().map(list).to_dict() == {1: [3], 2: [3], 4: [1]}
    for row in table.to_dict("records"):
        part = rows.query(f"method == '{row['method']}' and repetitions == {row['repetitions']}")
        scores = [
            subject.pivot(index="seed", columns="draw", values="top1").to_numpy()
            for _, subject in part.groupby("subject")
        ]
        assert row["score"] == pytest.approx(grand_mean(scores))
        assert row["low"] <= row["score"] <= row["high"]
        assert row["chance"] == pytest.approx(1 / N_TEST)
    assert table.query("repetitions == 1")["query"].unique().tolist() == ["single trial"]
    more = table.query("method == 'ridge'").set_index("repetitions")["score"]
    assert more[4] > more[1]
    with Image.open(tmp_path / "curve.png") as figure:
        assert figure.size[0] == 1800


def test_what_evaluate_leaves_is_compared_ridge_too(trained, capsys):
    assert run("evaluate", trained, "--repetitions", 1, "--quiet") == 0
    capsys.readouterr()
    assert run("compare", trained, "--format", "csv", "--baseline", "ridge") == 0
    printed = capsys.readouterr().out
    assert "ubp,ridge,2" in printed
    assert "vanilla,ridge,1" in printed


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--repetitions", "1", "5"), "has 4 in"),
        (("--repetitions", "0"), "choose a number from 1 to 4"),
        (("--draws", "0"), "0 draws"),
        (("--metric", "top0"), "top1"),
        (("--metric", "top13"), "gallery has 12 images"),
    ],
)
def test_wrong_options_are_refused_and_nothing_is_written(trained, arguments, expected, tmp_path, capsys):
    assert expected in refused(capsys, "curve", trained, "--out", tmp_path / "out", "--quiet", *arguments)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_models_is_refused(tmp_path, capsys):
    assert "holds no trained model" in refused(capsys, "curve", tmp_path)


@pytest.mark.parametrize(
    ("fewest", "numbers"), [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (4, (1, 2, 4)), (80, (1, 2, 4, 8, 16, 32, 64, 80))]
)
def test_default_repetitions_double_up_to_all(fewest, numbers):
    assert default_repetitions(fewest) == numbers


def table_of(numbers=(1, 2, 4, 8), methods=("vanilla", "ubp"), **columns):
    rows = [
        {"method": m, "repetitions": n, "score": s, "low": s - 0.05, "high": s + 0.05, "chance": 0.005}
        for i, m in enumerate(methods)
        for n in numbers
        for s in [0.1 * (i + 1) + 0.05 * np.log2(n)]
    ]
    return pd.DataFrame(rows).assign(**columns)


def texts(figure):
    FigureCanvasAgg(figure).draw()
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def test_the_figure_shows_every_point_its_band_and_chance():
    table = table_of()
    figure = curve_figure(table)
    (axes,) = figure.axes
    shown = {line.get_label(): line for line in axes.lines}
    for method, part in table.groupby("method"):
        np.testing.assert_allclose(shown[method].get_xdata(), part["repetitions"])
        np.testing.assert_allclose(shown[method].get_ydata(), 100 * part["score"])
    bands = [band for band in axes.collections if band.get_gid() == "interval"]
    heights = np.concatenate([band.get_paths()[0].vertices[:, 1] for band in bands])
    np.testing.assert_allclose([heights.min(), heights.max()], [100 * table["low"].min(), 100 * table["high"].max()])
    (chance,) = [line for line in axes.lines if line.get_gid() == "chance"]
    assert list(chance.get_ydata()) == [0.5, 0.5]
    assert axes.get_xscale() == "log"
    assert {"1", "2", "4", "8", "chance 0.5 %", "vanilla", "ubp", "top-1 accuracy (%)"} <= set(texts(figure))


def test_settings_have_panels_and_one_point_is_visible():
    both = pd.concat([table_of((1,), setting="intra-subject"), table_of((1, 2), setting="inter-subject")])
    figure = curve_figure(both, "mean reciprocal rank", percent=False)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["intra-subject", "inter-subject"]
    assert figure.axes[0].get_xlim()[0] < 1 < figure.axes[0].get_xlim()[1]
    assert figure.axes[0].lines[0].get_marker() == "o"
    assert "chance 0.005" in texts(figure)


@pytest.mark.parametrize("table", [pd.DataFrame(), table_of().drop(columns="chance"), table_of().iloc[:0]])
def test_a_figure_of_nothing_is_refused(table):
    with pytest.raises(ValueError, match="The curve has no"):
        curve_figure(table)
