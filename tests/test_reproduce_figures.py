"""The figures of the reproductions: what is drawn is what the tables say."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from evaluated import planted, write
from ubp.measures import measure
from ubp.plots.conditions import conditions_figure
from ubp.plots.heat import heat_figure
from ubp.plots.matrix import matrices_figure
from ubp.plots.relation import relation_figure
from ubp.plots.retrieval import retrieval_figure
from ubp.plots.similarity import bin_edges
from ubp.plots.style import METHOD_COLOURS
from ubp.plots.width import width_figure
from ubp.prior import Level
from ubp.reproduce.retrieval import _compared, _sheet
from ubp.saved import read_results


def parts(figure, gid):
    """What was drawn under a name, in the figure's order."""
    FigureCanvasAgg(figure).draw()
    return figure.findobj(lambda artist: artist.get_gid() == gid)


def texts(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


MEANS = pd.DataFrame(
    {
        "setting": ["intra-subject"] * 2 + ["inter-subject"],
        "method": ["vanilla", "ubp", "vanilla"],
        "top1": [0.4, 0.5, 0.1],
        "top1_low": [0.3, 0.45, 0.05],
        "top1_high": [0.5, 0.55, 0.15],
        "top1_chance": 0.005,
        "published_top1": [0.421, np.nan, 0.085],
    }
)
SUBJECTS = pd.DataFrame(
    {"setting": "intra-subject", "method": ["vanilla", "vanilla", "ubp"], "top1": [0.35, 0.45, 0.5]}
)


def test_retrieval_draws_mean_interval_subjects_published_and_chance():
    figure = retrieval_figure(MEANS, SUBJECTS)
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["intra-subject", "inter-subject"]
    assert [line.get_xdata()[0] for line in parts(figure, "score")] == pytest.approx([40, 50, 10])
    assert [list(line.get_xdata()) for line in parts(figure, "interval")][1] == pytest.approx([45, 55])
    assert [line.get_xdata()[0] for line in parts(figure, "published")] == pytest.approx([42.1, 8.5])
    assert list(parts(figure, "subjects")[0].get_xdata()) == pytest.approx([35, 45])
    assert parts(figure, "chance")[0].get_xdata()[0] == pytest.approx(0.5)
    assert {to_hex(line.get_color()) for line in parts(figure, "score")} == {
        METHOD_COLOURS[name].lower() for name in ("vanilla", "ubp")
    }
    with pytest.raises(ValueError, match="top1_low"):
        retrieval_figure(MEANS.drop(columns="top1_low"))


def test_relation_draws_the_least_squares_line_and_r():
    points = pd.DataFrame(
        {
            "method": "ubp",
            "subject": ["sub-01", "sub-02", "P3"],
            "variability": [0.1, 0.2, 0.3],
            "top1": [0.6, 0.5, 0.2],
        }
    )
    found = pd.DataFrame({"method": ["ubp"], "pearson_top1": -0.9, "pearson_top1_low": -1.0, "pearson_top1_high": 0.2})
    figure = relation_figure(points, found)
    (line,) = parts(figure, "line")
    assert [axes.axison for axes in figure.axes] == [True]
    slope = np.diff(line.get_ydata()) / np.diff(line.get_xdata())
    assert slope == pytest.approx(-200)
    assert list(parts(figure, "subjects")[0].get_ydata()) == pytest.approx([60, 50, 20])
    assert {"1", "2", "P3", "r = -0.90\n-1.00 to 0.20"} <= set(texts(figure))


def test_relation_leaves_places_without_a_method_empty():
    names = [f"method {number}" for number in range(6)]
    points = pd.DataFrame(
        [{"method": name, "subject": f"s{i}", "variability": i, "top1": 0.1 * i} for name in names for i in range(3)]
    )
    found = pd.DataFrame({"method": names, "pearson_top1": 1.0, "pearson_top1_low": 1.0, "pearson_top1_high": 1.0})
    assert [axes.axison for axes in relation_figure(points, found).axes] == [True] * 6 + [False] * 2


def test_matrices_show_the_interval_and_count_levels():
    random = np.random.default_rng(0)
    diagonal = random.normal(5, 1, 100)
    levels = Level.BASE + (diagonal < 3).astype(int) - (diagonal > 7).astype(int)
    matrix = random.normal(0, 1, (20, 20)) + 5 * np.eye(20)
    figure = matrices_figure(dict.fromkeys(("train", "test"), (matrix, diagonal, 3.0, 7.0, levels)))
    assert len(parts(figure, "interval")) == 2
    said = texts(figure)
    assert said.count("20 of 100 training pairs") == said.count("20 of 100 test pairs") == 1
    more = int((diagonal < 3).sum())
    assert f"more blur: {more} {'pair' if more == 1 else 'pairs'} ({more / 100:.1%})" in said


def test_width_draws_a_line_a_band_and_marks():
    table = pd.DataFrame(
        {
            "setting": "intra-subject",
            "method": "blur",
            "width": [1, 13, 25],
            "top1": [0.4, 0.5, 0.45],
            "top1_low": [0.3, 0.4, 0.35],
            "top1_high": [0.5, 0.6, 0.55],
            "top1_chance": 0.01,
            "published_top1": [0.421, np.nan, np.nan],
        }
    )
    figure = width_figure(table, {13: "true width"})
    axes = figure.axes[0]
    line = next(line for line in axes.get_lines() if line.get_label() == "blur")
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([1, 13, 25], pytest.approx([40, 50, 45]))
    (band,) = parts(figure, "interval")
    assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(60)
    assert parts(figure, "chance")[0].get_ydata()[0] == pytest.approx(1)
    assert " true width" in texts(figure)
    assert list(axes.get_xticks()) == [1, 13, 25]


def test_conditions_keep_methods_apart_by_place_and_mark():
    rows = [
        {
            "condition": condition,
            "method": method,
            "top1": score,
            "top1_low": 0.1,
            "top1_high": 0.9,
            "top1_chance": 0.01,
        }
        for condition in ("one", "two")
        for method, score in (("vanilla", 0.4), ("ubp", 0.6))
    ]
    figure = conditions_figure(pd.DataFrame(rows))
    vanilla, ubp = (parts(figure, method)[0] for method in ("vanilla", "ubp"))
    assert list(vanilla.get_ydata()) == pytest.approx([40, 40])
    assert (vanilla.get_xdata() < ubp.get_xdata()).all()
    assert vanilla.get_marker() != ubp.get_marker()
    assert len(parts(figure, "interval")) == 2


def test_heat_is_symmetric_about_zero_and_says_every_number():
    values = np.array([[1.5, -4.0], [np.nan, 0.0]])
    figure = heat_figure(values, np.array([[True, False], [False, False]]), ["a", "b"], ["c", "d"], "gain (points)")
    (image,) = figure.axes[0].images
    assert image.get_clim() == (-4, 4)
    assert {"+1.5*", "-4.0", "missing", "+0.0"} <= set(texts(figure))
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["c", "d"]


@pytest.mark.parametrize(
    ("accuracies", "bold"), [({"vanilla": 0.3, "ubp": 0.7}, "ubp"), ({"vanilla": 0.5, "ubp": 0.52}, None)]
)
def test_a_row_is_bold_only_where_the_test_supports_it(tmp_path, accuracies, bold):
    runs = write(tmp_path / "runs", planted(8, 2, accuracies))
    table = pd.read_csv(runs / "results.csv").assign(vision_encoder="gabor", channels=17)
    top1 = measure("top1")
    results = read_results([runs], top1)
    assert len(table) == 32
    sheet = _sheet("t", results, _compared(results, top1), "intra-subject", top1, "things-eeg2")
    assert [sheet.rows[row][0] for row in sheet.bold] == ([bold] if bold else [])
    assert sheet.notes[0].startswith("Bold:" if bold else "None in bold:")


@pytest.mark.parametrize("seed", range(5))
def test_bins_of_similarities_end_where_the_interval_does_and_lose_no_pair(seed):
    random = np.random.default_rng(seed)
    values = random.normal(20, 4, 200)
    low, high = values.mean() - 1.96 * values.std(), values.mean() + 1.96 * values.std()
    edges = bin_edges(values, low, high, 12)
    assert np.isclose(edges, low).any()
    assert np.isclose(edges, high).any()
    assert np.histogram(values, edges)[0].sum() == 200
    np.testing.assert_allclose(np.diff(edges), edges[1] - edges[0])
    assert 10 <= len(edges) <= 16
    for few, interval in ((values, (-np.inf, np.inf)), (values[:1], (low, high)), (values, (1e6, 1e6 + 1))):
        assert np.histogram(few, bin_edges(few, *interval, 12))[0].sum() == len(few)
