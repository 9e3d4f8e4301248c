import itertools
import math

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle, StepPatch
from PIL import Image

from ubp.errors import InputError
from ubp.images.blur import Blur, blur_ladder, fovea_weight
from ubp.images.load import load_image
from ubp.plots import (
    accuracy_figure,
    beside_figure,
    choose_queries,
    coverage_figure,
    fits_figure,
    ladder_figure,
    montage_figure,
    similarity_figure,
    training_figure,
)
from ubp.plots.style import METHOD_COLOURS, method_styles, spread
from ubp.plots.thumbnails import TILE
from ubp.prior import BlurPrior, Level

LADDER = (Blur(7), Blur(13, curve="linear"), Blur(19))


def texts(figure):
    """Every text of a figure, drawn first so that the layout and the ticks are there."""
    FigureCanvasAgg(figure).draw()
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def history(epochs=6, n_pairs=50, seed=0):
    random = np.random.default_rng(seed)
    less, more = random.integers(0, 5, epochs), random.integers(0, 5, epochs)
    return pd.DataFrame(
        {
            "epoch": np.arange(1, epochs + 1),
            "loss": np.linspace(4, 1, epochs),
            "less": less,
            "base": n_pairs - less - more,
            "more": more,
        }
    )


def summary(**columns):
    table = {
        "method": ["vanilla", "ubp", "ubp, shuffled pairs"],
        "top1": [0.25, 0.5, 0.01],
        "top1_low": [0.2, 0.4, 0.0],
        "top1_high": [0.3, 0.6, 0.02],
        "top1_chance": [0.005] * 3,
    }
    return pd.DataFrame(table | columns)


@pytest.fixture
def folder(tmp_path):
    """Twelve images of one colour each, so that a tile tells which image it shows."""
    for i in range(12):
        pixels = np.full((20, 30, 3), [20 * i, 255 - 20 * i, 60], np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i:02d}.png")
    return tmp_path


@pytest.fixture
def ranks():
    """The right image is at its rank among the five best, or absent."""
    names = [f"{i:02d}.png" for i in range(12)]
    rows = []
    for i, name in enumerate(names):
        others = [other for other in names if other != name]
        best = [*others[:i], name, *others[i:]][:5]
        rows.append({"image": name, "rank": float(i + 1), **{f"best_{k + 1}": image for k, image in enumerate(best)}})
    return pd.DataFrame(rows)


def test_ladder_shows_the_blurred_pixels_and_the_weight():
    image = torch.randint(0, 256, (3, 40, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    figure = ladder_figure(image[None], LADDER)
    shown = [axes.images[0].get_array() for axes in figure.axes]
    expected = [image / 255, *blur_ladder(image[None], LADDER)[:, 0].clamp(0, 1)]
    for pixels, level in zip(shown, expected, strict=False):
        np.testing.assert_allclose(pixels, level.permute(1, 2, 0), atol=1e-6)
    np.testing.assert_allclose(shown[-1], fovea_weight(40, 48, "linear"))
    captions = "\n".join(texts(figure))
    for words in ("crisp", "less blur: width 7 px", "base: width 13 px", "more blur: width 19 px", "exponential 3"):
        assert words in captions
    assert "weight of the crisp image\nlinear" in captions


def test_ladder_of_one_crisp_level_and_of_many():
    image = torch.zeros(3, 24, 24, dtype=torch.uint8)
    assert [text for text in texts(ladder_figure(image[None], [Blur(1)])) if "crisp" in text] == [
        "crisp",
        "weight of the crisp image",
    ]
    many = ladder_figure(image[None], [Blur(width) for width in (1, 3, 5, 7, 9, 11)])
    assert len(many.axes) == 7


@pytest.mark.parametrize("image", [torch.zeros(3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.uint8)])
def test_ladder_refuses_other_images(image):
    with pytest.raises(ValueError, match="must be uint8 RGB"):
        ladder_figure(image[None], LADDER)


def test_training_shows_loss_and_the_counts_of_every_epoch():
    table, other = history(), history(seed=1).drop(columns=["less", "base", "more"])
    figure = training_figure({"ubp": table, "vanilla": other})
    loss, stack, outside = figure.axes
    np.testing.assert_allclose(loss.lines[0].get_xydata(), table[["epoch", "loss"]])
    bands = {band.get_label(): band for band in stack.findobj(StepPatch)}
    for name in ("less", "base", "more"):
        values, edges, baseline = bands[name].get_data()
        np.testing.assert_array_equal(values - baseline, table[name])
        np.testing.assert_array_equal(edges, np.arange(0.5, 7))
    np.testing.assert_array_equal(bands["more"].get_data()[0], [50] * 6)
    np.testing.assert_array_equal(outside.lines[0].get_ydata(), table["more"])
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch"] * 3
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss (nats)", "training pairs", "training pairs"]
    last = table.iloc[-1]
    assert {"ubp", "vanilla", f"more {last['more']:.0f}", f"less {last['less']:.0f}"} <= set(texts(figure))


def test_training_shows_the_validation_score_of_those_that_have_one():
    with_score = history().assign(validation_mrr=np.linspace(0.1, 0.4, 6))
    figure = training_figure({"ubp": with_score, "blur": history()})
    scores = [axes for axes in figure.axes if axes.get_ylabel() == "mean reciprocal rank"]
    assert len(scores) == 1
    assert len(scores[0].lines) == 1
    np.testing.assert_array_equal(scores[0].lines[0].get_ydata(), with_score["validation_mrr"])


def test_training_of_one_epoch_is_visible():
    figure = training_figure({"ubp": history(epochs=1)})
    assert figure.axes[0].lines[0].get_marker() == "o"
    assert "1" in texts(figure)


@pytest.mark.parametrize("histories", [{}, {"ubp": pd.DataFrame()}, {"ubp": pd.DataFrame({"epoch": [1]})}])
def test_training_refuses_an_empty_history(histories):
    with pytest.raises(ValueError, match="expected"):
        training_figure(histories)


def test_histogram_counts_every_pair_once_and_shades_the_interval():
    random = np.random.default_rng(0)
    prior = BlurPrior(400)
    for part in torch.randperm(400, generator=torch.Generator().manual_seed(0)).split(100):
        prior.update(part, torch.from_numpy(random.standard_normal(100)))
    low, high = prior.interval.tolist()
    figure = similarity_figure(prior.similarity, low, high, prior.level)
    axes = figure.axes[0]
    heights = {bars.get_label().split()[0]: sum(bar.get_height() for bar in bars) for bars in axes.containers}
    assert heights == prior.counts()
    assert sum(heights.values()) == 400
    shade = next(patch for patch in axes.patches if patch.get_gid() == "interval")
    assert shade.get_x() == pytest.approx(low)
    assert shade.get_x() + shade.get_width() == pytest.approx(high)
    assert [line.get_xdata()[0] for line in axes.lines] == [low, high]
    assert axes.get_ylabel() == "training pairs"
    assert "similarity" in axes.get_xlabel()
    assert any(f"more blur: {prior.counts()['more']} pairs" in text for text in texts(figure))


def test_levels_follow_the_interval_when_none_are_given():
    axes = similarity_figure([-3.0, -1.0, 0.0, 1.0, 2.0, 3.0], -1, 1).axes[0]
    heights = {bars.get_label().split()[0]: sum(bar.get_height() for bar in bars) for bars in axes.containers}
    assert heights == {"base": 3, "more": 1, "less": 2}


def test_an_open_interval_is_not_shaded():
    axes = similarity_figure(np.ones(5), -math.inf, math.inf).axes[0]
    assert not [patch for patch in axes.patches if patch.get_gid() == "interval"]
    assert not axes.lines


@pytest.mark.parametrize(
    ("values", "level"), [([], None), ([math.nan], None), ([[1.0]], None), ([1.0], [0, 1]), ([1.0], [max(Level) + 1])]
)
def test_histogram_refuses_what_it_cannot_count(values, level):
    with pytest.raises(ValueError, match="expected one"):
        similarity_figure(values, 0, 1, level)


def test_the_framed_tile_is_the_right_image(folder, ranks):
    figure = montage_figure(folder, ranks, n_queries=12)
    axes = figure.axes[0]
    tiles = {(image.get_extent()[0], image.get_extent()[3]): image for image in axes.images}
    frames = [patch for patch in axes.findobj(Rectangle) if patch.get_gid() == "right"]
    assert len(tiles) == 12 * 6
    assert len(frames) == (ranks["rank"] <= 5).sum()
    seen = {top: image for (left, top), image in tiles.items() if left == min(left for left, _ in tiles)}
    for frame, (_, row) in zip(sorted(frames, key=lambda f: f.get_y()), ranks.iterrows(), strict=False):
        tile = tiles[frame.get_xy()]
        expected = load_image(folder / row["image"], TILE).permute(1, 2, 0)
        np.testing.assert_array_equal(tile.get_array(), expected)
        np.testing.assert_array_equal(seen[frame.get_y()].get_array(), expected)
        columns = sorted({left for left, _ in tiles})
        assert columns.index(frame.get_x()) == row["rank"]
    assert [text for text in texts(figure) if text.startswith("rank")] == [f"rank {i}" for i in range(1, 13)]


def test_montage_names_images_and_reads_only_below_the_folder(folder, ranks):
    assert "a $ cat" in texts(montage_figure(folder, ranks, 3, names={"00.png": "a $ cat"}))
    ranks.loc[0, "best_2"] = "../00.png"
    with pytest.raises(InputError, match="leaves"):
        montage_figure(folder, ranks)
    with pytest.raises(ValueError, match="no query"):
        montage_figure(folder, ranks.iloc[:0])


def test_queries_are_spread_from_best_to_worst():
    ranks = np.random.default_rng(0).permutation(np.arange(1, 101)).astype(float)
    chosen = choose_queries(ranks, 5)
    np.testing.assert_array_equal(ranks[chosen], [1, 26, 51, 75, 100])
    np.testing.assert_array_equal(choose_queries(ranks, 200), np.argsort(ranks))


def test_equal_ranks_are_chosen_by_the_seed():
    ranks = np.ones(50)
    first, again, other = (choose_queries(ranks, 5, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, np.linspace(0, 49, 5).round())


def test_accuracy_is_drawn_in_per_cent_with_interval_and_chance():
    table = summary()
    axes = accuracy_figure(table).axes[0]
    by_kind = {
        kind: [line for line in axes.lines if line.get_gid() == kind] for kind in ("score", "interval", "chance")
    }
    np.testing.assert_allclose([line.get_xdata()[0] for line in by_kind["score"]], 100 * table["top1"])
    ends = [list(line.get_xdata()) for line in by_kind["interval"]]
    np.testing.assert_allclose(ends, 100 * table[["top1_low", "top1_high"]])
    assert {x for line in by_kind["chance"] for x in line.get_xdata()} == {0.5}
    assert axes.get_xlabel() == "top-1 accuracy (%)"
    assert {"vanilla", "ubp", "ubp, shuffled pairs", "chance 0.5 %"} <= set(texts(axes.figure))


def test_accuracy_names_the_setting_where_there_are_several():
    figure = accuracy_figure(summary(setting=["intra-subject", "inter-subject", "inter-subject"]))
    assert "vanilla\nintra-subject" in texts(figure)
    with pytest.raises(ValueError, match="no top1"):
        accuracy_figure(summary().drop(columns="top1"))


def test_figures_leave_matplotlib_as_it_was_and_take_names_as_they_are():
    # Reading the backend chooses one, so it is left out.
    before = {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != "backend"}
    name = r"$\frac{"
    table = summary(method=[name, "b", "c"])
    for figure in (accuracy_figure(table), training_figure({name: history()})):
        assert any(name in text for text in texts(figure))
    assert {key: matplotlib.rcParams[key] for key in before} == before
    assert accuracy_figure(table).canvas.manager is None


def test_spread_keeps_the_gap_the_order_and_the_centre():
    random = np.random.default_rng(0)
    for n, gap in itertools.product((1, 2, 5, 9), (0.01, 0.1, 0.5)):
        wished = random.random(n)
        placed = spread(wished, gap)
        assert np.diff(np.sort(placed)).min(initial=math.inf) >= gap - 1e-9
        np.testing.assert_array_equal(np.argsort(placed), np.argsort(wished))
        assert placed.mean() == pytest.approx(wished.mean())


def test_similarities_that_differ_by_rounding_only_are_one_bar():
    values = np.array([1.0, np.nextafter(1.0, 2)])
    assert [bar.get_height() for bar in similarity_figure(values, 0, 2).axes[0].containers[0]] == [2]


def test_queries_side_by_side_show_each_models_best_images_and_frame_the_right_one(tmp_path):
    for name in "abcd":
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    images = ["a.png", "b.png"]
    one = pd.DataFrame(
        {"image": images, "rank": [1.0, 3.0], "best_1": ["a.png", "c.png"], "best_2": ["b.png", "d.png"]}
    )
    two = pd.DataFrame(
        {"image": images, "rank": [2.0, 1.0], "best_1": ["d.png", "b.png"], "best_2": ["a.png", "c.png"]}
    )
    figure = beside_figure(tmp_path, {"one": one, "two $x": two}, [1, 0], {"a.png": "apple"})
    (axes,) = figure.axes
    # each query: the image seen, then the best of each model
    assert [image.get_gid()[0] for image in axes.images] == list("bcdbcaabda")
    framed = [patch.get_y() for patch in axes.patches if patch.get_gid() == "right"]
    assert len(framed) == 3
    words = texts(figure)
    assert words.count("one") == words.count("two $x") == 2
    assert [word for word in words if word.startswith("rank")] == ["rank 3", "rank 1", "rank 1", "rank 2"]
    assert words.count("apple") == 3
    for tables, chosen in (({}, [0]), ({"one": one}, []), ({"one": one, "two": two[::-1]}, [0])):
        with pytest.raises(ValueError, match="no query that all models"):
            beside_figure(tmp_path, tables, chosen)
    with pytest.raises(InputError):
        beside_figure(tmp_path, {"one": one.assign(best_1="../outside.png")}, [0])


def test_coverage_alone_is_drawn_where_it_was_found():
    coverage = pd.DataFrame({"nominal": [0.8, 0.9], "covered": [0.79, 0.92], "low": [0.7, 0.85], "high": [0.9, 0.96]})
    figure = coverage_figure(coverage.assign(mean_size=[2.0, 7.5]))
    (axes,) = figure.axes
    points = [line.get_xydata()[0].tolist() for line in axes.lines if line.get_gid() == "coverage"]
    assert points == [[0.8, 0.79], [0.9, 0.92]]
    assert {"2 images", "7.5 images"} <= set(texts(figure))


@pytest.mark.parametrize(("n_pairs", "n_shown"), [(3, 2), (40, 12)])
def test_fits_are_the_worst_and_the_best_and_none_is_both(tmp_path, n_pairs, n_shown):
    images = [f"{i:02d}.png" for i in range(n_pairs)]
    for image in images:
        Image.new("RGB", (8, 8)).save(tmp_path / image)
    found = pd.DataFrame({"image": images, "concept": images, "z": np.linspace(-2, 2, n_pairs)})
    (axes,) = fits_figure(found, tmp_path, n_rows=1).axes
    shown = [image.get_gid() for image in axes.images]
    half = n_shown // 2
    assert shown == images[:half] + images[::-1][:half]


def test_the_first_of_several_methods_told_apart_has_the_methods_colour():
    styles = method_styles(["ridge", "ubp (a)", "ubp (b)", "blur, inter-subject", "ubp, shuffled"])
    colours = {name: style["color"] for name, style in styles.items()}
    assert colours["ubp (a)"] == METHOD_COLOURS["ubp"]
    assert colours["blur, inter-subject"] == METHOD_COLOURS["blur"]
    assert len(set(colours.values())) == 5
    assert method_styles(["ubp (a)", "ubp"])["ubp"]["color"] == METHOD_COLOURS["ubp"]
    assert method_styles(["ubp (a)", "ubp"])["ubp (a)"]["color"] != METHOD_COLOURS["ubp"]
