"""The paper's tables and figures: every number against a slow, obvious version made from what lies in the folder."""

import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm, pearsonr, spearmanr

from reproduced import MEG, SIMULATION, TINY, small
from test_cli import refused, run
from ubp.data.study import Study
from ubp.description import Description
from ubp.errors import InputError
from ubp.images.features import FeatureStore
from ubp.job import Job
from ubp.methods import METHODS
from ubp.model import Model
from ubp.published import published
from ubp.reproduce.reproductions import REPRODUCTIONS
from ubp.reproduce.setup import Choices, Setup
from ubp.reproduce.table3 import PRESET_OF

SUBJECTS = ("sub-01", "sub-02", "sub-03")
SETTINGS = ("intra-subject", "inter-subject")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("UBP_CACHE", str(tmp_path_factory.getbasetemp() / "reproduce-features"))


def test_transformations_train_and_are_evaluated_with_a_gallery_of_their_own(tiny_folder, tmp_path, capsys):
    names = ("flip", "mosaic", "mean")
    arguments = ("--subject", "sub-01", "--epochs", 1, "--batch-size", 20, "--width", 13, "--quiet")
    assert run("train", tiny_folder, "--preset", *names, "--out", tmp_path / "runs", *arguments) == 0
    assert run("evaluate", tmp_path / "runs", "--no-ridge", "--quiet") == 0
    results = pd.read_csv(tmp_path / "runs/results.csv").set_index("method")
    assert list(results.index) == list(names)
    assert results.loc["mosaic", "gallery_level"] == "mosaic2"
    assert results.loc["mean", "gallery_level"] == "mean-of-w13-uniform+noise25+low2.55+mosaic2"
    stored = json.loads((tmp_path / "runs/intra-subject/sub-01/mean/seed-0/model.json").read_text())
    assert [level["kind"] for level in stored["preset"]["ladder"][0]["levels"]] == [
        "blur",
        "noise",
        "low-resolution",
        "mosaic",
    ]


def test_unknown_presets_list_the_near_name(tiny_folder, tmp_path, capsys):
    sentence = refused(capsys, "train", tiny_folder, "--preset", "gray-scale", "--out", tmp_path / "runs")
    assert "did you mean 'grayscale'" in sentence
    assert "low-resolution" in sentence
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "all"
    return out, small("all", out)


def hits(out, method, subjects=SUBJECTS, setting="intra-subject", variant="gabor", test="averaged", k=1, work="."):
    """Subject -> seed -> hits of shape (n_images,), read from the ranks; several queries of an image are averaged."""
    found = {}
    for subject in subjects:
        folder = out / work / "evaluated" / variant / test / setting / subject / method
        for path in sorted(folder.glob("seed-*/ranks.csv")):
            table = pd.read_csv(path)
            by_image = [np.mean(table["rank"][table["image"] == image] <= k) for image in sorted(set(table["image"]))]
            found.setdefault(subject, []).append(by_image)
    return {subject: np.array(seeds) for subject, seeds in found.items()}


def mean(scores):
    return np.mean([np.mean(seeds) for seeds in scores.values()])


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_every_reproduction_gives_a_table_in_three_forms_and_a_figure_in_two(made, name):
    out, outputs = made
    assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert b"</svg>" in (out / f"{name}.svg").read_bytes()[-20:]
    assert len(pd.read_csv(out / f"{name}.csv")) == len(outputs[name].table) > 0
    markdown, latex = (out / f"{name}.md").read_text(), (out / f"{name}.tex").read_text()
    for sheet in (*outputs[name].sheets, *outputs[name].published):
        assert len({len(row) for row in (*sheet.rows, sheet.header)}) == 1
    assert latex.count(r"\begin{table}") == len(outputs[name].sheets) + len(outputs[name].published)
    assert markdown.count("| :--- |") == latex.count(r"\begin{table}")
    # the protocol is part of every result
    assert "chance" in markdown or name == "figure3"
    assert "seed" in markdown
    assert "published" in markdown.lower()


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("method", ["ridge", "vanilla", "ubp"])
def test_table_1_is_what_the_ranks_say(made, setting, method):
    out, _ = made
    table = pd.read_csv(out / "table1.csv").query("setting == @setting and method == @method").set_index("subject")
    for name, k in (("top1", 1), ("top5", 5)):
        scores = hits(out, method, setting=setting, k=k)
        assert table.loc["mean", name] == pytest.approx(mean(scores))
        for subject, seeds in scores.items():
            assert seeds.shape == (1, 6)
            assert table.loc[subject, name] == pytest.approx(seeds.mean())
        assert (table[f"{name}_low"] <= table[name]).all()
        assert (table[name] <= table[f"{name}_high"]).all()
    assert table["top1_chance"].unique() == pytest.approx(1 / 6)
    theirs = METHODS[method].published_accuracy(setting) if method in METHODS else (np.nan, np.nan)
    assert table.loc["mean", ["published_top1", "published_top5"]].tolist() == pytest.approx(
        [value / 100 for value in theirs], nan_ok=True
    )


def test_table_1_sheets_hold_subjects_chance_and_the_published_table(made):
    out, outputs = made
    first = outputs["table1"].sheets[0]
    assert first.header == ("method", *SUBJECTS, "mean", "95 % interval", "published")
    assert [row[0] for row in first.rows] == ["chance", "ridge", "vanilla", "ubp"]
    assert first.rows[0][1:5] == ("16.7",) * 4
    vanilla = hits(out, "vanilla")
    assert first.rows[2][1:5] == tuple(
        f"{100 * value:.1f}" for value in (*(v.mean() for v in vanilla.values()), mean(vanilla))
    )
    assert first.rows[2][-1] == "42.1"
    theirs = outputs["table1"].published[0]
    printed = published("things_eeg_retrieval").query("setting == 'intra' and method == 'UBP' and subject == 'sub-03'")
    row = next(row for row in theirs.rows if row[0] == "UBP")
    assert row[theirs.header.index("sub-03")] == f"{printed['top1'].iloc[0]:.1f} / {printed['top5'].iloc[0]:.1f}"
    assert row[-1] == "50.9 / 79.7"


def test_seeds_are_averaged_and_ridge_has_one(made):
    out, _ = made
    chosen = Choices(seeds=(0, 1), settings=("intra-subject",), methods=("vanilla",))
    output = small("table1", out / "seeds", chosen)["table1"]
    table = output.table.set_index(["method", "subject"])
    scores = hits(out / "seeds", "vanilla")
    assert {seeds.shape for seeds in scores.values()} == {(2, 6)}
    assert table.loc[("vanilla", "mean"), "top1"] == pytest.approx(mean(scores))
    assert table.loc[("vanilla", "sub-02"), "top1"] == pytest.approx(scores["sub-02"].mean())
    assert table["seeds"].groupby("method").first().to_dict() == {"ridge": "0", "vanilla": "0 1"}
    assert "seeds 0, 1" in output.caption


def test_table_2_is_of_the_other_study_with_its_own_published_rows(made):
    out, _ = made
    table = pd.read_csv(out / "table2.csv").set_index(["setting", "method", "subject"])
    for setting in SETTINGS:
        scores = hits(out, "ubp", SUBJECTS[:2], setting, work="meg")
        assert table.loc[(setting, "ubp", "mean"), "top1"] == pytest.approx(mean(scores))
    assert table.loc[("intra-subject", "ubp", "mean"), "published_top1"] == pytest.approx(
        (0.15 + 0.46 + 0.273 + 0.185) / 4
    )
    assert table.loc[("inter-subject", "ubp", "mean"), "published_top5"] == pytest.approx((5.7 + 17.2 + 10.5 + 8) / 400)
    assert "THINGS-MEG" in (out / "table2.md").read_text()


def test_table_3_has_the_papers_ten_rows_and_is_what_the_ranks_say(made):
    out, outputs = made
    table = pd.read_csv(out / "table3.csv")
    paper = published("table3")
    assert list(PRESET_OF) == list(paper["transformation"])
    assert list(table["transformation"]) == list(PRESET_OF.values())
    np.testing.assert_allclose(table["published_top1"], paper["intra_top1"] / 100)
    np.testing.assert_allclose(table["published_top5"], paper["intra_top5"] / 100)
    crisp = hits(out, "vanilla")
    for row in table.to_dict("records"):
        scores = hits(out, row["transformation"])
        assert row["top1"] == pytest.approx(mean(scores))
        assert row["top5"] == pytest.approx(mean(hits(out, row["transformation"], k=5)))
        if row["transformation"] == "vanilla":
            assert pd.isna(row["difference"])
            continue
        paired = [np.mean([a - b for a, b in zip(scores[s], crisp[s], strict=True)]) for s in SUBJECTS]
        assert row["difference"] == pytest.approx(np.mean(paired))
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]
        assert row["published_difference"] == pytest.approx(row["published_top1"] - 0.421)
    levels = table.set_index("transformation")["level"]
    assert levels["blur"] == levels["ubp"] == "w13-exponential3"  # the true 7 of 48 pixels, at 96
    assert set(levels[:3]) == {"crisp", "flip0.5", "crop0.667"}
    assert [row[-1] for row in outputs["table3"].sheets[0].rows][4] == "41.3 / 76.2"
    assert "gallery of 6 test images under the row's transformation" in (out / "table3.md").read_text()


def test_table_3_can_be_asked_for_across_subjects_too(made):
    out, _ = made
    both = small("table3", out, Choices(settings=SETTINGS, subjects=SUBJECTS[:1], seeds=(0,)))["table3"]
    assert list(both.table["setting"]) == ["intra-subject"] * 10 + ["inter-subject"] * 10
    inter = both.table[both.table["setting"] == "inter-subject"].set_index("transformation")
    np.testing.assert_allclose(inter["published_top1"], published("table3")["inter_top1"] / 100)
    assert inter.loc["noise", "top1"] == pytest.approx(mean(hits(out, "noise", SUBJECTS[:1], "inter-subject")))
    small("table3", out)  # what the other tests read


def slow_variability(study, subject):
    """Mean over channels and samples of the spread of trials of an image over that of all trials."""
    trials = study.recording(subject).load("train", average=False)
    channels = [
        trials.channels.index(name)
        for name in Description.read(study.root.parent / f"runs/gabor/intra-subject/{subject}/ubp/seed-0").channels
    ]
    x, images = trials.signals[:, channels].astype(float), np.array(trials.images)
    groups = [x[images == image] for image in sorted(set(images))]
    within = sum(((group - group.mean(axis=0)) ** 2).sum(axis=0) for group in groups) / (len(x) - len(groups))
    left = within * np.mean([1 / len(group) for group in groups])
    between = np.maximum(0, np.var([group.mean(axis=0) for group in groups], axis=0, ddof=1) - left)
    return np.mean(np.sqrt(within / (within + between)))


def test_table_4_is_a_plain_correlation_of_accuracy_with_variability(made):
    out, outputs = made
    study = Study.open(out / "study")
    variability = [slow_variability(study, subject) for subject in SUBJECTS]
    table = pd.read_csv(out / "table4.csv")
    for method in ("ridge", "vanilla", "ubp"):
        part = table[table["method"] == method]
        assert list(part["subject"]) == list(SUBJECTS)
        assert part["variability"].tolist() == pytest.approx(variability, abs=1e-5)
        accuracy = [seeds.mean() for seeds in hits(out, method).values()]
        assert part["top1"].tolist() == pytest.approx(accuracy)
        if len(set(accuracy)) > 1:
            assert part["pearson_top1"].iloc[0] == pytest.approx(pearsonr(variability, accuracy).statistic, abs=1e-4)
            assert part["spearman_top1"].iloc[0] == pytest.approx(spearmanr(variability, accuracy).statistic)
        assert (part["n"] == 3).all()
    theirs = table.set_index("method")[["published_pearson_top1", "published_spearman_top5"]]
    assert theirs.loc["vanilla"].iloc[0].tolist() == [-0.761, -0.69]
    assert theirs.loc["ridge"].isna().all(axis=None)
    # less signal, more variability: what was planted
    assert variability == sorted(variability)
    assert "n = 3" in outputs["table4"].sheets[0].title


def test_figure_3_is_the_similarity_of_every_pair(made):
    out, _ = made
    table = pd.read_csv(out / "figure3.csv").set_index(["subject", "split"])
    assert len(table) == 2 * 3
    folder = out / "runs/gabor/intra-subject/sub-02/ubp/seed-0"
    model = Model.load(folder)
    about, study = model.description, Study.open(out / "study")
    store = FeatureStore.open(out / "features" / about.store_key)
    for split in ("train", "test"):
        trials = Job.of(about).trials(study, split)
        scale = torch.nn.functional.softplus(model.temperature).item()
        brain, vision = model.embed(trials.signals), store.vectors(about.preset.base, trials.images)
        matrix = np.array([[float(np.dot(b, v)) * scale for v in vision] for b in brain])
        diagonal = np.diag(matrix)
        row, reach = table.loc[("sub-02", split)], norm.ppf(0.975) * diagonal.std(ddof=1)
        assert row["pairs"] == len(diagonal) == {"train": 16, "test": 6}[split]
        np.testing.assert_allclose(row["mean"], diagonal.mean(), rtol=1e-4)
        np.testing.assert_allclose(
            row[["low", "high"]].astype(float), [diagonal.mean() - reach, diagonal.mean() + reach], rtol=1e-3
        )
        counts = [(diagonal < row["low"]).sum(), (diagonal > row["high"]).sum()]
        assert row[["more_blur", "less_blur"]].tolist() == counts
        assert row["base_blur"] == len(diagonal) - sum(counts)
        others = matrix[~np.eye(len(matrix), dtype=bool)].mean()
        np.testing.assert_allclose(row["unmatched_mean"], others, rtol=1e-3, atol=1e-4)


def test_figure_6_is_what_the_ranks_say_at_every_width(made):
    out, _ = made
    table = pd.read_csv(out / "figure6.csv").set_index("width")
    crisp = hits(out, "vanilla")
    where = {1: ("vanilla", "gabor"), 13: ("blur", "gabor"), 17: ("blur", "gabor--width-17")}
    assert list(table.index) == list(where)
    for width, (method, variant) in where.items():
        scores = hits(out, method, variant=variant)
        assert table.loc[width, "top1"] == pytest.approx(mean(scores))
        if width > 1:
            gain = np.mean([scores[subject] - crisp[subject] for subject in SUBJECTS])
            assert table.loc[width, "difference"] == pytest.approx(gain)
    assert table.loc[1, "published_top1"] == pytest.approx(0.421)
    run_17 = pd.read_csv(out / "evaluated/gabor--width-17/averaged/results.csv")
    assert set(run_17["gallery_level"]) == {"w17-exponential3"}  # the gallery is blurred as the training images
    assert table.loc[17, "sigma_pixels"] == pytest.approx(0.3 * 7 + 0.8)


def test_figure_7_trains_and_tests_on_averaged_and_single_trials(made):
    out, _ = made
    table = pd.read_csv(out / "figure7.csv").set_index(["training", "testing", "method"])
    assert len(table) == 4 * 4
    for training, testing, method in itertools.product(
        ("averaged", "single"), ("averaged", "single"), ("ridge", "blur", "ubp")
    ):
        variant = "gabor" if training == "averaged" else "gabor--single-trials"
        test = "averaged" if testing == "averaged" else "single-trials"
        row = table.loc[(training, testing, method)]
        assert row["top1"] == pytest.approx(mean(hits(out, method, variant=variant, test=test)))
        assert row["repetitions"] == (3 if testing == "averaged" else 1)
    for variant, n_pairs in (("gabor", 16), ("gabor--single-trials", 32)):
        assert Description.read(out / f"runs/{variant}/intra-subject/sub-01/ubp/seed-0").n_pairs == n_pairs


def test_figure_8_is_the_paired_gain_of_every_pair_of_encoders(made):
    out, outputs = made
    table = pd.read_csv(out / "figure8.csv")
    assert list(zip(table["brain_encoder"], table["vision_encoder"], strict=True)) == [
        ("eegproject", "gabor"),
        ("eegproject", "pixels"),
        ("tsconv", "gabor"),
        ("tsconv", "pixels"),
    ]
    for row in table.to_dict("records"):
        variant = row["vision_encoder"] + ("" if row["brain_encoder"] == "eegproject" else f"--{row['brain_encoder']}")
        first, second = (hits(out, method, SUBJECTS[:2], variant=variant) for method in ("vanilla", "ubp"))
        gain = np.mean([second[subject][0] - first[subject][0] for subject in SUBJECTS[:2]])
        assert row["difference"] == pytest.approx(gain)
        assert row["difference_low"] <= gain <= row["difference_high"]
    gains = outputs["figure8"].sheets[0]
    assert gains.header == ("vision encoder", "eegproject", "tsconv")
    assert "Left out: eegnet. The window has 80 samples" in outputs["figure8"].caption
    assert gains.rows[0][1].rstrip("*") == f"{100 * table['difference'][0]:+.1f}"


def test_the_page_holds_everything_and_opens_alone(made):
    out, outputs = made
    page = (out / "index.html").read_text()
    for output in outputs.values():
        assert output.title in page
    assert page.count('src="data:image/webp;base64,') == len(REPRODUCTIONS)
    assert not re.findall(r'(?:src|<link[^>]*href)="(?!data:)', page)


def state(out, pattern):
    return {path: path.stat().st_mtime_ns for path in out.rglob(pattern)}


def test_again_nothing_is_trained_or_evaluated_and_everything_is_the_same(made):
    out, _ = made
    files = {
        path: path.read_bytes() for path in out.glob("*.*") if path.suffix in (".csv", ".md", ".tex", ".svg", ".png")
    }
    models, ranks = state(out, "model.*"), state(out, "ranks.csv")
    small("all", out)
    assert state(out, "model.*") == models
    assert state(out, "ranks.csv") == ranks
    assert {path: path.read_bytes() for path in files} == files


def test_what_is_missing_is_made_again_and_nothing_else(made):
    out, _ = made
    table = (out / "table1.csv").read_bytes()
    models, ranks = state(out, "model.safetensors"), state(out, "ranks.csv")
    lost_model = out / "runs/gabor/intra-subject/sub-02/ubp/seed-0/model.json"
    lost_ranks = out / "evaluated/gabor/averaged/inter-subject/sub-01/vanilla/seed-0/ranks.csv"
    lost_ridge = out / "evaluated/gabor/averaged/intra-subject/sub-03/ridge/seed-0/ranks.csv"
    for path in (lost_model, lost_ranks, lost_ridge):
        path.unlink()
    small("table1", out)
    assert (out / "table1.csv").read_bytes() == table
    changed = {path for path, when in state(out, "model.safetensors").items() if models[path] != when}
    assert changed == {lost_model.with_name("model.safetensors")}
    changed = {path for path, when in state(out, "ranks.csv").items() if ranks[path] != when}
    assert {lost_ranks, lost_ridge} <= changed
    assert len(changed) <= 4  # a ridge baseline comes with a model of its subject


def test_a_dry_run_counts_and_trains_nothing(made, tmp_path, capsys):
    out, _ = made
    models = state(out, "model.*")
    assert small("all", out, dry_run=True) == {}
    text = capsys.readouterr().out
    assert re.search(r"table1 +12 +12 +0 +0", text)
    assert re.search(r"table3 +30 +30 +0 +0", text)
    assert "0 models to train" in text
    small("table1", out, Choices(seeds=(0, 7), settings=("intra-subject",)), dry_run=True)
    assert re.search(r"table1 +12 +6 +6 +12", capsys.readouterr().out)
    assert state(out, "model.*") == models


def test_results_of_the_reproduction_can_be_compared(made, tmp_path, capsys):
    out, _ = made
    folder = out / "evaluated/gabor/averaged"
    assert run("compare", folder, "--baseline", "vanilla", "--format", "csv", "--out", tmp_path) == 0
    found = pd.read_csv(tmp_path / "differences.csv").query("setting == 'intra-subject'").set_index("method")
    for row in pd.read_csv(out / "table3.csv").to_dict("records")[1:]:
        assert row["difference"] == pytest.approx(found.loc[row["transformation"], "difference"])
        assert row["difference_low"] == pytest.approx(found.loc[row["transformation"], "low"])


def test_other_options_or_another_study_in_the_folder_are_refused_and_nothing_is_lost(
    made, tmp_path, tiny_folder, capsys
):
    out, _ = made
    models = state(out, "model.*")
    with pytest.raises(InputError, match="holds a model of another study or of other options"):
        small("table1", out, Choices(changes={"epochs": 3}))
    sentence = refused(
        capsys, "reproduce", "table1", tiny_folder, "--encoder", "gabor", "--method", "ubp", "--out", out, "--quiet"
    )
    assert "holds a model of another study" in sentence
    (tmp_path / "t").mkdir()
    (tmp_path / "t/study").symlink_to(tiny_folder)
    assert "not the study that" in refused(capsys, "reproduce", "table3", "--small", "--out", tmp_path / "t")
    assert state(out, "model.*") == models


def test_the_page_shows_what_could_be_made_when_one_part_fails(made):
    out, _ = made
    path = out / "runs/gabor--tsconv/intra-subject/sub-01/ubp/seed-0/model.json"
    whole, page = path.read_text(), (out / "index.html").read_bytes()
    path.write_text(json.dumps({**json.loads(whole), "study_fingerprint": "another"}))
    with pytest.raises(InputError, match="holds a model of another study"):
        small("all", out)
    text = (out / "index.html").read_text()
    assert f"{REPRODUCTIONS['figure8'].title} is left out: " in text
    assert text.count('src="data:image/webp;base64,') == len(REPRODUCTIONS) - 1
    path.write_text(whole)
    (out / "index.html").write_bytes(page)


BAD = {
    "an unknown name": (("table9", "STUDY"), "table or figure 'table9' is unknown"),
    "no study": (("table1",), "give its folder, or --small"),
    "both": (("table1", "STUDY", "--small"), "give one of the two"),
    "a subject that is missing": (("table1", "STUDY", "--subject", "sub-09"), "no subject 'sub-09'"),
    "an unknown method": (("table1", "STUDY", "--method", "upb"), "did you mean 'ubp'"),
    "an unknown setting": (("table3", "STUDY", "--setting", "intersubject"), "did you mean 'inter-subject'"),
    "an even width": (("table3", "STUDY", "--width", 12), "makes no ladder"),
    "a method that cannot": (("table1", "STUDY", "--method", "nice"), "The window has 8 samples, but TSConv needs"),
    "a study of another kind": (("table2", "STUDY"), "is a study of eeg; table2 is of MEG"),
    "too few subjects": (("table4", "STUDY"), "correlates over subjects and got 2; expected 3 or more"),
    "no level to show": (("figure3", "STUDY", "--method", "vanilla"), "does not adapt"),
    "one width": (("figure6", "STUDY", "--widths", 13), "expected two widths or more"),
    "an impossible width": (("figure6", "STUDY", "--widths", 1, 12), "odd"),
    "no brain encoder that can": (("figure8", "STUDY", "--brain", "deepnet"), "DeepNet needs at least"),
    "MEG for one table": (("table1", "STUDY", "--meg", "STUDY"), "it is for `all`"),
    "shuffled pairs": (("table3", "STUDY", "--shuffle-pairs"), "--shuffle-pairs"),
    "text for none": (("table1", "STUDY", "--method", "ubp", "--text", "text.npz"), "None of ubp learns from text"),
    "no text": (("table1", "STUDY", "--method", "bravl", "--text", "text.npz"), "text.npz are missing"),
    "a channel that is missing": (("table1", "STUDY", "--channels", "Oz"), "Oz"),
}


@pytest.mark.parametrize(("arguments", "part"), BAD.values(), ids=BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing(arguments, part, tiny_folder, tmp_path, capsys):
    given = [tiny_folder if each == "STUDY" else each for each in arguments]
    sentence = refused(capsys, "reproduce", *given, "--encoder", "gabor", "--out", tmp_path / "t", "--quiet")
    assert part in sentence
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("name", ["average_training", "shuffle_pairs"])
def test_what_a_table_decides_itself_cannot_be_changed(tiny, tmp_path, name):
    with pytest.raises(InputError, match=f"{name} is decided by each table and figure"):
        Setup(tiny, tmp_path, TINY, Choices(changes={name: True}))


def test_bravl_is_named_by_what_it_learned_from_and_its_published_protocol_is_told(tmp_path, capsys):
    few = {"methods": ("vanilla", "bravl"), "settings": ("intra-subject",), "subjects": ("sub-01",)}
    alone = small("table1", tmp_path / "alone", Choices(**few))["table1"]
    assert set(alone.table["method"]) == {"ridge", "vanilla", "bravl (brain and image)"}
    capsys.readouterr()
    concepts = Study.open(tmp_path / "alone/study").recording("sub-01").trials["concept"].unique()
    features = np.random.default_rng(0).standard_normal((len(concepts), 4))
    np.savez(tmp_path / "text.npz", concepts=np.array(concepts, str), features=features)
    both = small("table1", tmp_path / "both", Choices(**few, text=tmp_path / "text.npz"))["table1"]
    assert set(both.table["method"]) == {"ridge", "vanilla", "bravl"}
    assert "--text" not in capsys.readouterr().out
    for output in (alone, both):
        assert "under another protocol" in " ".join(output.sheets[-1].notes)
        means = output.table[output.table["subject"] == "mean"].set_index("method")
        bravl = next(name for name in means.index if name.startswith("bravl"))
        assert means.loc[bravl, "published_top1"] == pytest.approx(METHODS["bravl"].published_accuracy()[0] / 100)
    # again nothing is trained; without the text it would be another model
    small("table1", tmp_path / "both", Choices(**few, text=tmp_path / "text.npz"))
    assert "models to train" not in capsys.readouterr().out
    with pytest.raises(InputError, match="holds a model of another study or of other options"):
        small("table1", tmp_path / "both", Choices(**few))


def test_a_study_of_ones_own_needs_no_simulation(tiny_folder, tmp_path, capsys):
    options = ("--encoder", "gabor", "--epochs", 1, "--batch-size", 20, "--seed", 0, "--width", 13, "--quiet")
    names = ("--method", "vanilla", "nice", "ubp", "--subject", "sub-02", "--setting", "intra-subject")
    assert run("reproduce", "table1", tiny_folder, "--out", tmp_path / "t", *options, *names) == 0
    table = pd.read_csv(tmp_path / "t/table1.csv")
    assert set(table["subject"]) == {"sub-02", "mean"}
    assert list(dict.fromkeys(table["method"])) == ["ridge", "vanilla", "ubp"]
    said = "Left out: nice. The window has 8 samples, but TSConv needs at least"
    assert said in (tmp_path / "t/table1.md").read_text()
    assert said in " ".join(capsys.readouterr().out.split())
    about = json.loads((tmp_path / "t/runs/gabor/intra-subject/sub-02/ubp/seed-0/model.json").read_text())
    assert about["options"]["epochs"] == 1
    assert about["channels"] == [f"c{i}" for i in range(6)]
    assert run("reproduce", "all", tiny_folder, "--out", tmp_path / "t", "--dry-run", *options) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "table2 is left out: no MEG study was given" in text
    assert "table4 is left out: table4 correlates over subjects and got 2" in text
    assert not (tmp_path / "t/figure3.csv").exists()


def test_one_subject_has_no_table_across_subjects(tmp_path):
    from dataclasses import replace

    alone = replace(TINY, methods=("vanilla",), seeds=(0,), simulation=replace(SIMULATION, n_subjects=1))
    output = small("table1", tmp_path / "t", scales=(alone, MEG))["table1"]
    assert set(output.table["setting"]) == {"intra-subject"}
    assert "Left out: inter-subject, because the study has only sub-01." in output.caption
