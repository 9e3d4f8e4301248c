"""Commands that use trained models: files they write, what they refuse in one sentence, and what they leave behind."""

import json
import shutil

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from test_cli import refused, run
from ubp.data.study import Study
from ubp.judge import judge, together
from ubp.model import Model
from ubp.plots import PictureRow, picture_rows_figure, reliability_diagram

TRAIN = ("--width", "13", "--epochs", "3", "--batch-size", "20", "--learning-rate", "3e-3", "--quiet")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("using")


@pytest.fixture(autouse=True)
def cache(place, monkeypatch):
    monkeypatch.setenv("UBP_CACHE", str(place / "features"))


@pytest.fixture(scope="module")
def runs(tiny_folder, place):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UBP_CACHE", str(place / "features"))
        out = place / "runs"
        assert run("train", tiny_folder, "--out", out, *TRAIN, "--calibration-concepts", 20) == 0
        assert run("train", tiny_folder, "--out", place / "plain", *TRAIN, "--preset", "vanilla") == 0
    return out


@pytest.fixture
def model(runs):
    return runs / "intra-subject/sub-01/ubp/seed-0"


def test_retrieve_prints_writes_and_draws(model, tiny_folder, tmp_path, capsys):
    capsys.readouterr()
    assert run("retrieve", model, "--signals", tiny_folder, "--trials", 0, 1, "--top", 2, "--quiet") == 0
    printed = capsys.readouterr().out
    for text in ("trial 0", "trial 1", "probability", "1. test/", "2. test/", "12 images in the gallery", "rank"):
        assert text in printed
    csv, content, png, svg = (tmp_path / name for name in ("a.csv", "a.json", "a.png", "a.svg"))
    out = ("--csv", csv, "--json", content, "--figure", png, "--quiet")
    assert run("retrieve", model, "--signals", tiny_folder, "--average", *out) == 0
    table = pd.read_csv(csv)
    assert len(table) == 12 * 5
    assert {"query", "seen", "rank", "place", "image", "similarity", "probability", "set_80", "in_set_95"} <= set(table)
    written = json.loads(content.read_text())
    assert written["gallery_size"] == 12
    assert len(written["queries"]) == 12
    assert matplotlib.image.imread(png).shape[1] == 1620
    images = Study.open(tiny_folder).image_folder
    assert run("retrieve", model, "--signals", tiny_folder, "--gallery", images, "--figure", svg, "--quiet") == 0
    assert svg.read_text().startswith("<?xml")
    assert "52" in capsys.readouterr().out


def test_calibrate_judges_every_model_on_test_trials(runs, place, tmp_path, capsys):
    capsys.readouterr()
    assert run("calibrate", runs, "--out", tmp_path, "--quiet") == 0
    printed = capsys.readouterr().out
    assert "24 test queries of 2 models" in " ".join(printed.split())
    assert "evaluation on test trials" in " ".join(printed.split())
    assert "it is too narrow" not in " ".join(printed.split())
    table = pd.read_csv(tmp_path / "calibration.csv").set_index("run")
    assert list(table.index) == ["intra-subject/sub-01/ubp/seed-0", "intra-subject/sub-02/ubp/seed-0", "all"]
    assert set(table["protocol"]) == {"test trials, evaluation only"}
    for column in ("top1", "covered_80", "mean_size_90", "log_likelihood_after"):
        assert table.loc["all", column] == pytest.approx(table[column].iloc[:2].mean())
    coverage = pd.read_csv(tmp_path / "coverage.csv")
    assert coverage["nominal"].tolist() == [0.8, 0.9, 0.95]
    assert (coverage["low"] <= coverage["covered"]).all()
    assert matplotlib.image.imread(tmp_path / "reliability.png").shape[1] == 1620
    assert run("evaluate", runs, "--no-ridge", "--quiet") == 0
    top = pd.read_csv(runs / "results.csv")["top1"]
    assert table["top1"].iloc[:2].tolist() == pytest.approx(top.tolist())


def test_calibrate_says_when_models_share_their_queries(runs, tmp_path, capsys):
    one = "intra-subject/sub-01/ubp"
    for seed in (0, 1):
        shutil.copytree(runs / one / "seed-0", tmp_path / "runs" / one / f"seed-{seed}")
    assert run("calibrate", tmp_path / "runs", "--quiet") == 0
    assert "several models answer the same queries, so it is too narrow" in " ".join(capsys.readouterr().out.split())


def test_a_report_shows_what_evaluate_and_calibrate_found(runs, place, tmp_path, capsys):
    """Before them it says what to run; after them it holds their numbers."""
    from test_report import Page

    copy, before, after = tmp_path / "runs", tmp_path / "before.html", tmp_path / "after.html"
    shutil.copytree(runs, copy)
    for path in (*copy.rglob("*.csv"), copy / "reliability.png"):
        if path.name != "history.csv":
            path.unlink(missing_ok=True)
    assert run("report", copy, "--out", before) == 0
    text = Page(before).text
    assert "run `ubp evaluate runs`" in text
    assert "Not judged on test trials yet; run `ubp calibrate runs`." in text
    assert not list(copy.rglob("ranks.csv"))
    assert run("evaluate", copy, "--quiet") == 0
    assert run("calibrate", copy, "--quiet") == 0
    assert run("report", copy, place / "plain", "--out", after, "--title", "All <b>runs</b>") == 0
    text = Page(after).text
    assert "All <b>runs</b>" in text
    for row in pd.read_csv(copy / "calibration.csv").to_dict("records"):
        sets = " ".join(
            f"{100 * row[f'covered_{n}']:.1f} % in {row[f'mean_size_{n}']:.1f} images" for n in (80, 90, 95)
        )
        errors = " ".join(f"{100 * row[f'calibration_error_{when}']:.1f}" for when in ("before", "after"))
        assert f"{row['queries']} 12 {errors} {sets}" in text
    for row in pd.read_csv(copy / "summary.csv").to_dict("records"):
        assert f"{100 * row['top1']:.1f} {100 * row['top1_low']:.1f} to {100 * row['top1_high']:.1f} 8.33" in text
    assert "2 of 4 runs have no calibration concepts" in text
    assert "Not evaluated yet: vanilla, sub-01, intra-subject, seed 0; vanilla, sub-02" in text
    damaged = copy / "calibration.csv"
    damaged.write_text("run,top1\na,b\n")
    kept = after.read_bytes()
    capsys.readouterr()
    assert "is not a table that `ubp calibrate` wrote" in refused(capsys, "report", copy, "--out", after)
    assert after.read_bytes() == kept
    new = tmp_path / "new.html"
    assert "ends in .html" in refused(capsys, "report", runs, "--out", tmp_path / "new.pdf")
    assert "does not exist as a folder" in refused(capsys, "report", tmp_path / "none", "--out", new)
    assert "holds no trained model" in refused(capsys, "report", place / "features", "--out", new)
    assert "is not a folder" in refused(capsys, "report", runs, "--study", tmp_path / "none", "--out", new)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["after.html", "before.html", "runs"]


def test_what_is_covered_is_what_is_in_the_set(model, place):
    from ubp.calibration import Calibration
    from ubp.commands.evaluating import store_finder
    from ubp.config import Common
    from ubp.evaluate_runs import gallery
    from ubp.image_gallery import ImageGallery
    from ubp.job import Job
    from ubp.retrieve import Retriever

    loaded = Model.load(model)
    about = loaded.description
    study, calibration = Study.open(about.study_path), Calibration.load(model, about)
    test = Job.of(about).trials(study, "test")
    vectors, images = gallery(store_finder(common=Common(quiet=True))(study, about), test, about.preset.base)
    found = judge(loaded, calibration, test, ImageGallery(images, vectors)).queries
    shown = Retriever(loaded, ImageGallery(images, vectors), calibration).retrieve(study.root, average=True)
    for coverage in (80, 90, 95):
        members = shown.members(coverage / 100)
        assert found[f"covered_{coverage}"].tolist() == [
            seen in one for seen, one in zip(shown.seen, members, strict=True)
        ]
    assert found["after"].tolist() == pytest.approx(shown.probability.max(axis=1).tolist())
    both = together([judge(loaded, calibration, test, ImageGallery(images, vectors))] * 2)
    assert both.summary()["queries"] == 24


def test_uncertainty_lists_what_the_prior_learned(model, tmp_path, capsys):
    csv, figure = tmp_path / "fits.csv", tmp_path / "fits.png"
    assert run("uncertainty", model, "--csv", csv, "--figure", figure) == 0
    table = pd.read_csv(csv)
    loaded = Model.load(model)
    assert len(table) == loaded.description.n_pairs == 20
    assert table["place"].tolist() == list(range(1, 21))
    assert table["similarity"].is_monotonic_increasing
    assert sorted(table["similarity"]) == pytest.approx(sorted(loaded.prior["similarity"].tolist()))
    assert table["z"].mean() == pytest.approx(0, abs=1e-6)
    assert table["z"].std() == pytest.approx(1)
    assert set(table["level"]) <= {"less", "base", "more"}
    assert matplotlib.image.imread(figure).shape[1] == 1620
    study = Study.open(loaded.description.study_path)
    assert all(
        study.concepts[image] == concept for image, concept in zip(table["image"], table["concept"], strict=True)
    )


def test_uncertainty_belongs_to_the_pair_that_was_trained(model):
    """Each row's similarity is what the prior holds at the place of its image among the training trials."""
    from ubp.held_out import split_training
    from ubp.job import Job
    from ubp.uncertainty import uncertainty

    loaded = Model.load(model)
    study = Study.open(loaded.description.study_path)
    trials = split_training(Job.of(loaded.description).trials(study, "train"), loaded.description.options).training
    found = uncertainty(loaded, study).set_index("image")["similarity"]
    for image, similarity in zip(trials.images, loaded.prior["similarity"].tolist(), strict=True):
        assert found[image] == pytest.approx(similarity)


def test_bad_input_gives_one_sentence_and_leaves_nothing(model, runs, place, tiny_folder, tmp_path, capsys):
    csv, figure = tmp_path / "a.csv", tmp_path / "a.gif"
    here = ("retrieve", model, "--signals", tiny_folder)
    assert "ends in .png" in refused(capsys, *here, "--figure", figure, "--csv", csv)
    assert "at least 1" in refused(capsys, *here, "--top", 0, "--csv", csv)
    assert "no trial 99" in refused(capsys, *here, "--trials", 99, "--csv", csv)
    assert "has no image" in refused(capsys, *here, "--gallery", tmp_path, "--csv", csv)
    store = next((place / "features").glob("*/manifest.json")).parent
    assert "no pictures" in refused(capsys, *here, "--gallery", store, "--figure", tmp_path / "a.png")
    np.save(tmp_path / "few.npy", np.zeros((1, 2, 8)))
    assert "2 channels" in refused(capsys, "retrieve", model, "--signals", tmp_path / "few.npy", "--csv", csv)
    assert "model.json does not exist" in refused(capsys, "retrieve", runs, "--signals", tiny_folder, "--csv", csv)
    plain = place / "plain"
    assert "--calibration-concepts" in refused(capsys, "calibrate", plain, "--out", tmp_path / "out")
    vanilla = plain / "intra-subject/sub-01/vanilla/seed-0"
    assert "no uncertainty" in refused(capsys, "uncertainty", vanilla, "--csv", csv)
    assert "ends in" in refused(capsys, "uncertainty", model, "--csv", csv, "--figure", figure)
    assert "expected 0 or at least 10" in refused(
        capsys, "train", tiny_folder, "--out", tmp_path / "new", "--calibration-concepts", 5
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["few.npy"]
    assert run("retrieve", vanilla, "--signals", tiny_folder, "--trials", 0) == 0
    assert "no confidence" in capsys.readouterr().out


def test_another_study_has_no_uncertainty_for_the_model(model, place, tmp_path, capsys):
    from conftest import make_study

    make_study(tmp_path / "other", seed=9)
    error = refused(capsys, "uncertainty", model, "--study", tmp_path / "other", "--csv", tmp_path / "a.csv")
    assert "is not the one" in error
    assert not (tmp_path / "a.csv").exists()


def test_picture_rows_show_what_they_are_given(tiny):
    images = tiny.images("test")[:3]
    row = PictureRow("first", ("a line",), images, ("one", "two\nlines", "three"), images[1])
    figure = picture_rows_figure(tiny.image_folder, [row, row], header=("best", "2.", "3."))
    (axes,) = figure.axes
    assert [image.get_gid() for image in axes.images] == [*images, *images]
    assert len([patch for patch in axes.patches if patch.get_gid() == "right"]) == 2
    assert {"first", "a line", "one", "two\nlines", "best"} <= {text.get_text() for text in axes.texts}
    with pytest.raises(ValueError, match="no image"):
        picture_rows_figure(tiny.image_folder, [])


def test_the_reliability_diagram_draws_each_bin_and_each_coverage():
    random = np.random.default_rng(0)
    confidence = {"before": random.random(200), "after": random.random(200) / 2}
    coverage = pd.DataFrame({"nominal": [0.8, 0.9], "covered": [0.79, 0.92], "low": [0.7, 0.85], "high": [0.9, 0.96],
                             "mean_size": [2.0, 7.5]})  # fmt: skip
    figure = reliability_diagram(confidence, random.random(200) < 0.3, coverage)
    left, right = figure.axes
    dots = {dot.get_gid(): len(dot.get_offsets()) for dot in left.collections if dot.get_gid()}
    assert dots == {"before": 10, "after": 5}
    points = [line.get_xydata()[0].tolist() for line in right.lines if line.get_gid() == "coverage"]
    assert points == [[0.8, 0.79], [0.9, 0.92]]
    assert "7.5 images" in {text.get_text() for text in right.texts}
    with pytest.raises(ValueError, match="no query"):
        reliability_diagram({}, np.zeros(0, bool), coverage)
