"""Methods compared from tables of hits whose differences are known."""

import re

import numpy as np
import pandas as pd
import pytest

from evaluated import IMAGES, planted, write
from test_cli import refused, run
from ubp.compare import compare, image_differences
from ubp.comparison_sheets import sheets
from ubp.errors import InputError
from ubp.measures import MEASURES, measure
from ubp.metrics import mean_percentile_rank, mean_reciprocal_rank
from ubp.paired import holm, sign_flip_test
from ubp.saved import read_results
from ubp.sheets import Sheet, latex, latex_text, markdown

TOP1 = measure("top1")
LADDER = {"ridge": 0.2, "vanilla": 0.4, "ubp": 0.8}


def compared(folder, *more, metric="top1", intervals=False, **options):
    chosen = measure(metric)
    return compare(read_results([folder, *more], chosen), chosen, intervals=intervals, **options)


def pair(comparison, method, against):
    (row,) = [r for r in comparison.differences.to_dict("records") if (r["method"], r["against"]) == (method, against)]
    return row


def test_differences_are_paired_and_tested_over_subjects(tmp_path):
    methods = planted(8, 3, {"vanilla": 0.5, "ubp": 0.6})
    row = pair(compared(write(tmp_path / "runs", methods), intervals=True), "ubp", "vanilla")
    subjects = [f"sub-{s:02d}" for s in range(1, 9)]
    slow = [
        np.mean([np.mean(methods["ubp"][s, k]) - np.mean(methods["vanilla"][s, k]) for k in range(3)]) for s in subjects
    ]
    assert (row["unit"], row["units"], row["subjects"], row["seed_pairs"]) == ("subjects", 8, 8, 3)
    assert row["difference"] == pytest.approx(np.mean(slow))
    assert row["p"] == sign_flip_test(slow)
    assert row["cohen_d_z"] == pytest.approx(np.mean(slow) / np.std(slow, ddof=1))
    assert row["low"] < row["difference"] < row["high"]


@pytest.mark.parametrize("n_subjects", [1, 5])
def test_few_subjects_are_tested_over_images_and_it_is_said(n_subjects, tmp_path):
    comparison = compared(write(tmp_path / "runs", planted(n_subjects, 2, {"vanilla": 0.2, "ubp": 0.7})))
    row = pair(comparison, "ubp", "vanilla")
    assert (row["unit"], row["units"]) == ("images", len(IMAGES))
    assert row["p"] < 0.01
    assert np.isfinite(row["detectable"])
    assert np.isnan(row["hedges_g_z"]) == (n_subjects < 3)
    notes = " ".join(sheets(comparison)[1].notes)
    assert "fewer than 6 subjects the test is over test images" in notes


def test_image_differences_equal_a_loop_where_subjects_saw_other_images():
    random = np.random.default_rng(0)
    differences = {"a": random.normal(size=(2, 3)), "b": random.normal(size=(1, 2))}
    images = {"a": ("x", "y", "z"), "b": ("y", "w")}
    units = dict(zip("wxyz", image_differences(differences, images), strict=True))
    a, b = differences["a"].mean(axis=0), differences["b"].mean(axis=0)
    expected = {"x": a[0] / 6, "y": a[1] / 6 + b[0] / 4, "z": a[2] / 6, "w": b[1] / 4}
    assert units == pytest.approx({name: 4 * value for name, value in expected.items()})
    assert np.mean(list(units.values())) == pytest.approx(np.mean([a.mean(), b.mean()]))


def test_holm_is_over_the_family_of_the_setting_and_a_baseline_makes_it_smaller(tmp_path):
    folder = write(tmp_path / "runs", planted(8, 2, {"ridge": 0.3, "vanilla": 0.4, "blur": 0.5, "ubp": 0.5}))
    every = compared(folder).differences
    assert len(every) == 6
    np.testing.assert_allclose(every["p_holm"], holm(every["p"]))
    against = compared(folder, baseline="blur")
    assert against.differences[["method", "against"]].to_numpy().tolist() == [
        ["ridge", "blur"],
        ["vanilla", "blur"],
        ["ubp", "blur"],
    ]
    assert set(against.differences["comparisons"]) == {3}
    assert pair(against, "vanilla", "blur")["difference"] == -pair(compared(folder), "blur", "vanilla")["difference"]


def test_bold_is_the_one_that_beats_every_other(tmp_path):
    comparison = compared(write(tmp_path / "runs", planted(8, 3, LADDER)))
    assert comparison.best("intra-subject") == "ubp"
    assert comparison.methods.set_index("method")["best"].to_dict() == {"ridge": False, "vanilla": False, "ubp": True}
    assert sheets(comparison)[0].bold == {2}
    assert "**ubp**" in markdown(sheets(comparison)[0])
    assert r"\textbf{ubp}" in latex(sheets(comparison)[0])


def test_the_highest_mean_alone_is_not_bold(tmp_path):
    methods = planted(8, 3, {"ridge": 0.2, "vanilla": 0.80})
    methods["ubp"] = {key: hits.copy() for key, hits in methods["vanilla"].items()}
    methods["ubp"]["sub-01", 0][:] = True
    comparison = compared(write(tmp_path / "runs", methods))
    assert comparison.leaders("intra-subject") == ["ubp", "vanilla"]
    assert not comparison.methods["best"].any()
    assert "None in bold: the test does not put ubp above vanilla." in sheets(comparison)[0].notes


def test_with_a_baseline_the_best_of_three_is_not_bold(tmp_path):
    folder = write(tmp_path / "runs", planted(8, 3, LADDER))
    comparison = compared(folder, baseline="ridge")
    assert not comparison.methods["best"].any()
    assert "compared with ridge only" in sheets(comparison)[0].notes[1]
    assert compared(folder, baseline="ubp").best("intra-subject") == "ubp"


def test_six_subjects_and_many_comparisons_can_find_nothing_and_it_is_said(tmp_path):
    comparison = compared(write(tmp_path / "runs", planted(6, 2, LADDER)))
    assert set(comparison.differences["p"]) == {2 / 2**6}
    assert not comparison.methods["best"].any()
    notes = " ".join(sheets(comparison)[1].notes)
    assert "smallest corrected p that this design can give is 0.094" in notes
    assert np.isinf(comparison.differences["detectable_corrected"]).all()
    assert np.isfinite(comparison.differences["detectable"]).all()


def test_equal_methods_differ_by_nothing(tmp_path):
    methods = planted(7, 2, {"vanilla": 0.5})
    methods["ubp"] = methods["vanilla"]
    comparison = compared(write(tmp_path / "runs", methods), intervals=True)
    row = pair(comparison, "ubp", "vanilla")
    assert (row["difference"], row["low"], row["high"], row["p"], row["detectable"]) == (0, 0, 0, 1, 0)
    assert np.isnan(row["cohen_d_z"])
    assert not comparison.methods["best"].any()
    assert list(sheets(comparison)[1].rows[0][:2]) == ["ubp - vanilla", "+0.0"]


def test_controls_are_shown_and_not_compared(tmp_path):
    comparison = compared(write(tmp_path / "runs", planted(7, 2, {"vanilla": 0.3, "ubp": 0.9, "ubp, shuffled": 0.02})))
    assert "ubp, shuffled" in set(comparison.methods["method"])
    assert len(comparison.differences) == 1
    assert comparison.best("intra-subject") == "ubp"


def test_seeds_that_are_missing_are_left_out_of_the_pairs(tmp_path):
    methods = planted(7, 3, {"vanilla": 0.4, "ubp": 0.6})
    del methods["ubp"]["sub-02", 1]
    row = pair(compared(write(tmp_path / "runs", methods)), "ubp", "vanilla")
    assert row["seed_pairs"] == 2
    second = [np.mean(methods["ubp"]["sub-02", k]) - np.mean(methods["vanilla"]["sub-02", k]) for k in (0, 2)]
    others = [
        np.mean(
            [
                np.mean(methods["ubp"][f"sub-{s:02d}", k]) - np.mean(methods["vanilla"][f"sub-{s:02d}", k])
                for k in range(3)
            ]
        )
        for s in (1, 3, 4, 5, 6, 7)
    ]
    assert row["difference"] == pytest.approx(np.mean([np.mean(second), *others]))


def test_methods_on_other_subjects_are_compared_on_those_they_share(tmp_path):
    methods = planted(9, 1, {"vanilla": 0.4, "ubp": 0.6, "blur": 0.5})
    methods["ubp"] = {key: hits for key, hits in methods["ubp"].items() if key[0] <= "sub-06"}
    methods["blur"] = {key: hits for key, hits in methods["blur"].items() if key[0] > "sub-06"}
    comparison = compared(write(tmp_path / "runs", methods))
    assert pair(comparison, "ubp", "vanilla")["subjects"] == 6
    assert pair(comparison, "blur", "vanilla")["subjects"] == 3
    assert len(comparison.differences) == 2
    notes = " ".join(sheets(comparison)[1].notes)
    assert "no subject was tested with both: ubp - blur" in notes
    assert "sign flips over 40 images or 6 subjects" in notes
    assert not comparison.methods["best"].any()


@pytest.mark.parametrize("metric", ["top1", "top3", *MEASURES])
def test_every_measure_equals_its_metric_and_is_half_way_or_less_by_chance(metric, tmp_path):
    folder = write(tmp_path / "runs", planted(1, 2, {"vanilla": 0.2, "ubp": 0.5}))
    scores = compared(folder, metric=metric).methods.set_index("method")["score"]
    ranks = [pd.read_csv(path)["rank"].to_numpy() for path in sorted(folder.rglob("ubp/seed-*/ranks.csv"))]
    slow = {
        "top1": lambda rank: np.mean(rank <= 1),
        "top3": lambda rank: np.mean(rank <= 3),
        "mean_reciprocal_rank": mean_reciprocal_rank,
        "mean_percentile_rank": lambda rank: mean_percentile_rank(rank, len(IMAGES)),
    }[metric]
    assert scores["ubp"] == pytest.approx(np.mean([slow(rank) for rank in ranks]))
    every = np.arange(1, len(IMAGES) + 1.0)
    chosen = measure(metric)
    assert chosen.by_chance(len(IMAGES)) == pytest.approx(np.mean(chosen.score(every, len(IMAGES))))


def test_folders_of_one_experiment_are_put_together_and_others_told_apart(tmp_path):
    methods = planted(7, 2, {"vanilla": 0.4, "ubp": 0.6})
    split = [
        {m: {k: h for k, h in runs.items() if (k[0] <= "sub-03") == low} for m, runs in methods.items()}
        for low in (True, False)
    ]
    whole = compared(write(tmp_path / "whole", methods)).methods
    first, second = (write(tmp_path / name, part) for name, part in zip("ab", split, strict=True))
    pd.testing.assert_frame_equal(compared(first, second).methods, whole)
    pd.testing.assert_frame_equal(compared(first, second, first / "results.csv").methods, whole)
    longer = write(tmp_path / "longer", planted(7, 2, {"ubp": 0.7}, seed=1), epochs=50)
    names = compared(tmp_path / "whole", longer).methods["method"].tolist()
    assert names == ["vanilla", "ubp (longer)", "ubp (whole)"]


def test_settings_are_families_of_their_own(tmp_path):
    inner = write(tmp_path / "inner", planted(7, 1, LADDER))
    outer = write(tmp_path / "outer", planted(7, 1, {"vanilla": 0.1, "ubp": 0.2}), setting="inter-subject")
    comparison = compared(inner, outer)
    assert comparison.differences.groupby("setting")["comparisons"].first().to_dict() == {
        "inter-subject": 1,
        "intra-subject": 3,
    }
    assert len(sheets(comparison)) == 4


def test_an_image_shown_by_several_queries_counts_once(tmp_path):
    hits = {"vanilla": {("sub-01", 0): [1, 0, 1]}, "ubp": {("sub-01", 0): [1, 1, 1]}}
    folder = write(tmp_path / "runs", hits, ("a", "a", "b"))
    table = pd.read_csv(folder / "results.csv")
    table.loc[table["method"] == "vanilla", "top1"] = 0.75
    table.to_csv(folder / "results.csv", index=False)
    assert compared(folder).methods["score"].tolist() == [0.75, 1.0]


SPECIAL = Sheet(
    "50 % & more_{x}", ("a|b", "c"), (("x_1 #2 $3 ~ ^ \\", "-1.5"), ("<y>", "+2")), frozenset({1}), ("n < 5.",)
)


def test_latex_is_escaped_and_balanced():
    text = latex(SPECIAL)
    bare = re.sub(r"\\[\\{}%&#$_]|\\textbackslash\{\}|\\textasciitilde\{\}|\\textasciicircum\{\}", "", text)
    assert bare.count("{") == bare.count("}")
    assert re.findall(r"\\begin\{(\w+)\}", text) == list(reversed(re.findall(r"\\end\{(\w+)\}", text)))
    assert not re.search(r"[#%_^~<>|]", bare.replace("$-$", ""))
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [1, 1, 1]
    assert r"\textbf{\textless{}y\textgreater{}} & \textbf{+2}" in text
    assert "$-$1.5" in text


def test_a_minus_is_set_as_one_and_a_hyphen_is_not():
    assert latex_text("-1.0 to -0.5") == "$-$1.0 to $-$0.5"
    assert latex_text("top-1 intra-subject") == "top-1 intra-subject"
    assert latex_text("ubp - vanilla") == "ubp - vanilla"


def test_markdown_has_as_many_cells_in_every_row():
    lines = [line for line in markdown(SPECIAL).splitlines() if line.startswith("|")]
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in lines] == [3, 3, 3, 3]
    assert "**+2**" in lines[-1]


def test_the_command_prints_and_writes(tmp_path, capsys):
    folder = write(tmp_path / "runs", planted(6, 2, LADDER))
    assert run("compare", folder) == 0
    printed = capsys.readouterr().out
    assert "vanilla - ridge" in printed
    assert "Holm" in printed
    assert run("compare", folder, "--format", "latex", "--metric", "top5", "--baseline", "ubp") == 0
    assert capsys.readouterr().out.startswith(r"\begin{table}")
    assert run("compare", folder, "--out", tmp_path / "out", "--baseline", "vanilla") == 0
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"comparison.md", "comparison.tex", "methods.csv", "differences.csv"}
    saved = pd.read_csv(tmp_path / "out/differences.csv")
    pd.testing.assert_frame_equal(
        saved, compared(folder, baseline="vanilla", intervals=True).differences, check_dtype=False
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--baseline", "vanila"), "did you mean 'vanilla'"),
        (("--metric", "top_1"), "did you mean 'top1'"),
        (("--metric", "mean_recipocal_rank"), "did you mean 'mean_reciprocal_rank'"),
        (("--metric", "top99"), "gallery has 40 images"),
        (("--format", "latx"), "did you mean 'latex'"),
    ],
)
def test_wrong_options_are_refused(arguments, expected, tmp_path, capsys):
    folder = write(tmp_path / "runs", planted(2, 1, LADDER))
    assert expected in refused(capsys, "compare", folder, "--out", tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


def damage(folder, what):
    """Spoil an evaluated folder in one way."""
    table = pd.read_csv(folder / "results.csv")
    ranks = next(folder.rglob("ubp/seed-0/ranks.csv"))
    if what == "nothing evaluated":
        (folder / "results.csv").unlink()
    elif what == "no ranks":
        ranks.unlink()
    elif what == "other ranks":
        ranks.write_text(ranks.read_text().replace(",1.0,", ",2.0,", 1))
    elif what == "not ranks":
        ranks.write_text("image,rank,repetitions\na,best,4\n")
    elif what == "not a table":
        (folder / "results.csv").write_bytes(b"\xff\xfe\x00")
    else:
        (folder / "results.csv").write_text(EDITS[what](table).to_csv(index=False))


EDITS = {
    "other columns": lambda table: table.drop(columns="gallery_size"),
    "no row": lambda table: table.iloc[:0],
    "words for numbers": lambda table: table.astype({"seed": object}).replace({"seed": {0: "first"}}),
    "leaves": lambda table: table.assign(run="../elsewhere"),
    "one method": lambda table: table[table["method"] == "ubp"],
    "other study": lambda table: table.assign(study=["other", *table["study"][1:]]),
    "other protocol": lambda table: table.assign(protocol=["transductive", *table["protocol"][1:]]),
    "twice": lambda table: pd.concat([table, table.iloc[:1]]),
}


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("nothing evaluated", "has no results.csv; run `ubp evaluate"),
        ("no ranks", "ranks.csv is missing"),
        ("other ranks", "is not what"),
        ("not ranks", "cannot be read as ranks"),
        ("not a table", "cannot be read as a table"),
        ("other columns", "has no column 'gallery_size'"),
        ("no row", "has no row"),
        ("words for numbers", "'first' where a number was expected"),
        ("leaves", "leaves"),
        ("one method", "only the method ubp"),
        ("other study", "studies made and other"),
        ("other protocol", "evaluated differently: protocol"),
        ("twice", "Two runs are"),
    ],
)
def test_damaged_tables_are_refused(what, expected, tmp_path, capsys):
    folder = write(tmp_path / "runs", planted(2, 1, LADDER))
    damage(folder, what)
    assert expected in refused(capsys, "compare", folder, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_methods_that_ranked_other_images_are_refused(tmp_path, capsys):
    first = write(tmp_path / "a", planted(2, 1, {"vanilla": 0.5}))
    second = write(tmp_path / "b", planted(2, 1, {"ubp": 0.5}), tuple(f"other/{i}.png" for i in range(40)))
    assert "other test images for sub-01" in refused(capsys, "compare", first, second)


@pytest.mark.parametrize("column", ["options", "levels"])
def test_seeds_trained_with_other_options_are_no_seeds_of_one_method(tmp_path, column):
    hits = planted(3, 2, {"ubp": 0.5})["ubp"]
    seeds = [{key: value for key, value in hits.items() if key[1] == seed} for seed in range(2)]
    for name, scores, told in (("one", seeds[0], "default"), ("other", seeds[1], "loss=siglip members=3")):
        write(tmp_path / name, {"ubp": scores}, **{column: told})
    found = read_results([tmp_path / "one", tmp_path / "other"], TOP1)
    assert set(found.table["method"]) == {"ubp (one)", "ubp (other)"}
    write(tmp_path / "same", {"ubp": seeds[1]}, **{column: "default"})
    assert set(read_results([tmp_path / "one", tmp_path / "same"], TOP1).table["method"]) == {"ubp"}
    for folder in ("one", "same"):
        table = pd.read_csv(tmp_path / folder / "results.csv")
        table["epochs"] = table["epochs"].astype(float if folder == "one" else int)
        table.to_csv(tmp_path / folder / "results.csv", index=False)
    assert set(read_results([tmp_path / "one", tmp_path / "same"], TOP1).table["method"]) == {"ubp"}
    write(tmp_path / "mixed", {"ubp": hits})
    table = pd.read_csv(tmp_path / "mixed/results.csv")
    table[column] = ["default" if seed == 0 else "members=3" for seed in table["seed"]]
    table.to_csv(tmp_path / "mixed/results.csv", index=False)
    with pytest.raises(InputError, match=f"different ways: {column} default and members=3; put them in folders"):
        read_results([tmp_path / "mixed"], TOP1)


def test_no_folder_is_refused():
    with pytest.raises(InputError, match="No folder of runs"):
        read_results([], TOP1)
