"""The transductive track of `ubp evaluate`: labelled, apart from the main table, and never compared with it."""

import shutil

import pandas as pd
import pytest

from conftest import N_TEST, make_study
from evaluated import planted, write
from test_cli import refused, run
from ubp.transductive import CONDITIONS, TRANSDUCTIVE

MAIN = ("results.csv", "summary.csv", "comparisons.csv")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Runs of one subject, evaluated inductively, beside a control of shuffled pairs."""
    folder = tmp_path_factory.mktemp("transductive")
    make_study(folder / "study", n_subjects=1, noise=1.5)
    shared = ("--width", 13, "--epochs", 8, "--batch-size", 40, "--learning-rate", "3e-3", "--quiet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UBP_CACHE", str(folder / "features"))
        for more in (("--preset", "vanilla", "blur"), ("--preset", "blur", "--shuffle-pairs")):
            assert run("train", folder / "study", "--out", folder / "runs", *more, *shared) == 0
        assert run("evaluate", folder / "runs", "--quiet") == 0
    return folder


@pytest.fixture
def runs(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("UBP_CACHE", str(trained / "features"))
    return shutil.copytree(trained / "runs", tmp_path / "runs")


def test_every_output_is_labelled_and_the_main_table_is_untouched(runs, capsys):
    before = {name: (runs / name).read_bytes() for name in MAIN}
    ranks = {path: path.read_bytes() for path in runs.rglob("ranks.csv")}
    capsys.readouterr()
    assert run("evaluate", runs, "--transductive", *TRANSDUCTIVE, "--quiet") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Zero-shot retrieval" not in printed
    for name, track in TRANSDUCTIVE.items():
        assert f"TRANSDUCTIVE: {name}, intra-subject" in printed
        assert f"{name} presumes that {track.presumes}." in printed
    for condition in ("none", *CONDITIONS):
        assert printed.count(f" {condition} ") >= 4 * len(TRANSDUCTIVE)
    assert {name: (runs / name).read_bytes() for name in MAIN} == before
    assert all(path.read_bytes() == content for path, content in ranks.items())
    table = pd.read_csv(runs / "transductive/transductive.csv")
    reference = table[table["track"] == "none"].set_index("method")
    assert set(reference["protocol"]) == {"inductive"}
    summary = pd.read_csv(runs / "summary.csv").set_index("method")
    pd.testing.assert_series_equal(reference["top1"], summary["top1"])
    assert len(table) == len(reference) * (1 + len(TRANSDUCTIVE) * len(CONDITIONS))
    for name in TRANSDUCTIVE:
        for condition, about in CONDITIONS.items():
            label = f"transductive: {name}, {about.label}"
            folder = runs / "transductive" / name / condition
            results = pd.read_csv(folder / "results.csv")
            assert set(results["protocol"]) == {label}
            assert list(results["method"].unique()) == ["ridge", "vanilla", "blur", "blur, shuffled"]
            rows = table[table["protocol"] == label].set_index("method")
            for row in results.to_dict("records"):
                found = pd.read_csv(folder / row["run"] / "ranks.csv")
                assert set(found["protocol"]) == {label}
                assert (found["rank"] <= 1).mean() == pytest.approx(row["top1"])
            for method, part in results.groupby("method"):
                assert rows.loc[method, "top1"] == pytest.approx(part["top1"].mean())
                gain = part["top1"].mean() - reference.loc[method, "top1"]
                assert rows.loc[method, "gain"] == pytest.approx(gain)
                assert rows.loc[method, "gain_low"] <= gain <= rows.loc[method, "gain_high"]
    assert set(table.query("method == 'vanilla' and known != 'none'")["top1"]) != {reference.loc["vanilla", "top1"]}
    assert (table.query("method == 'blur, shuffled'")["top1"] <= 5 / N_TEST).all()


def test_one_track_can_be_compared_and_is_labelled(runs, tmp_path, capsys):
    assert run("evaluate", runs, "--transductive", "csls", "--no-ridge", "--k", 3, "--quiet") == 0
    capsys.readouterr()
    folder = runs / "transductive/csls/all"
    first = (runs / "transductive/transductive.csv").read_bytes()
    assert run("evaluate", runs, "--transductive", "csls", "csls", "--no-ridge", "--k", 3, "--quiet") == 0
    assert (runs / "transductive/transductive.csv").read_bytes() == first
    capsys.readouterr()
    assert run("compare", folder, "--out", tmp_path / "out") == 0
    assert "transductive: csls, all at once" in " ".join(capsys.readouterr().out.split())
    for name in ("comparison.md", "comparison.tex", "methods.csv", "differences.csv"):
        assert "transductive: csls, all at once" in (tmp_path / "out" / name).read_text()
    assert "top3" in pd.read_csv(folder / "results.csv")
    assert "evaluated differently: protocol" in refused(capsys, "compare", folder, runs)
    streaming = runs / "transductive/csls/streaming"
    assert "evaluated differently: protocol" in refused(capsys, "compare", folder, streaming)


@pytest.mark.parametrize("change", [{"setting": "inter-subject"}, {"subjects": True}])
def test_compare_never_mixes_tracks_of_other_settings_or_subjects(change, tmp_path, capsys):
    methods = planted(4, 1, {"vanilla": 0.4, "ubp": 0.6})
    halves = [{m: {k: h for k, h in runs.items() if (k[0] <= "sub-02") == low} for m, runs in methods.items()}
              for low in (True, False)]  # fmt: skip
    alone = write(tmp_path / "alone", halves[0])
    setting = {"setting": change["setting"]} if "setting" in change else {}
    label = "transductive: assignment, all at once"
    together = write(tmp_path / "together", halves[1], protocol=label, **setting)
    message = refused(capsys, "compare", alone, together, "--out", tmp_path / "out")
    assert f"{label!r} and some by 'inductive'" in message
    other = write(tmp_path / "other", halves[0], protocol="transductive: csls, all at once")
    assert "transductive: csls" in refused(capsys, "compare", together, other)
    assert not (tmp_path / "out").exists()
    assert run("compare", together) == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("csl",), "did you mean 'csls'"),
        (("csls", "--single-trials"), "leave --single-trials out"),
        (("csls", "--n-way", 2), "leave --n-way out"),
        (("csls", "--class-features"), "leave --class-features out"),
        (("csls", "--text", "words.npz"), "leave --text out"),
        (("csls", "--k", 99), "gallery has 12 images"),
        (("csls", "--repetitions", 99), "99"),
    ],
)
def test_wrong_options_are_refused_and_nothing_is_written(arguments, expected, runs, capsys):
    capsys.readouterr()
    assert expected in refused(capsys, "evaluate", runs, "--transductive", *arguments, "--quiet")
    assert not (runs / "transductive").exists()
