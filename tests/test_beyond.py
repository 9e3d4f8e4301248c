"""The benchmark of parts beyond the paper, on a study small enough for the tests."""

import argparse
import re
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import beyond as benchmark
from beyond_parts import (
    LAYER,
    OF_LAYER,
    PARTS,
    PLUS,
    PLUS_PARTS,
    REPETITIONS,
    SHARED,
    SUBJECTS,
    TIME,
    UBP,
    Configuration,
    acting,
    configurations,
    plus_parts,
    trained_as,
)
from beyond_runs import trained
from beyond_shown import HEADER, HELPS, differences_figure, flags, inserted
from conftest import N_TEST, make_study
from ubp import config
from ubp.cli import app
from ubp.config import SETTINGS, TrainOptions
from ubp.data.study import Study
from ubp.description import DESCRIPTION
from ubp.errors import InputError
from ubp.evaluate import INDUCTIVE, UNLABELLED
from ubp.methods import METHODS, method_preset
from ubp.presets import preset

ROOT = Path(__file__).parents[1]


def asked(study, out, **changes):
    values = {"study": study, "out": out, "encoder": "gabor", "layer": None, "width": (13, 6), "settings": None}
    values |= {"subjects": ["sub-01"], "seeds": 2, "parts": ["bank", "cosine loss"], "plus": ["bank", "cosine loss"]}
    values |= {
        "only": None,
        "validate": 0,
        "epochs": [8],
        "batch_size": 20,
        "learning_rate": 1e-3,
        "set": [],
        "single": [],
        "report": False,
        "into": None,
        "device": "cpu",
    }
    return argparse.Namespace(**{**values, "store": out / "features", "processes": 0, **changes})


@pytest.mark.parametrize("there", [{TIME}, {TIME, LAYER}])
def test_the_parts_of_ubp_plus_are_those_of_the_method(there):
    one = Configuration("ubp-plus", tuple(plus_parts(there)))
    encoder = "RN50,layer=layer3" if LAYER in there else "RN50"
    assert one.layer == (LAYER in there)
    assert one.options(TrainOptions()) == METHODS["ubp-plus"].train_options(encoder=encoder)
    assert one.blur(13, 6) == method_preset("ubp-plus", 13, 6)


def test_every_part_is_added_and_removed_and_the_control_is_shuffled():
    made = configurations(("bank", "layer"), ("bank", "average"))
    names = ["ubp", "ubp + bank", "ubp + average", "ubp-plus", "ubp-plus - bank", "ubp-plus - layer"]
    assert [one.name for one in made if not one.shuffled] == names
    assert [one.against for one in made[:6]] == [None, "ubp", "ubp", "ubp", "ubp-plus", "ubp-plus"]
    names = [one.name for one in configurations(PLUS_PARTS, ()) if " - " in one.name]
    assert names == ["ubp-plus - layer and adapter", *(f"ubp-plus - {part}" for part in PLUS_PARTS)]
    without = configurations(PLUS_PARTS, ())[2]
    assert not set(without.parts) & set(OF_LAYER)
    assert [one.parts for one in made if one.shuffled] == [(), ("bank", "layer")]
    assert all(one.options(TrainOptions()).shuffle_pairs == one.shuffled for one in made)


@pytest.mark.parametrize("name", PARTS)
def test_a_part_sets_what_it_names_and_nothing_else(name):
    base, blur = TrainOptions(epochs=3), preset("ubp", 13, 6)
    one = Configuration("one", (name,))
    changed = asdict(one.options(base))
    different = {key for key, value in asdict(base).items() if changed[key] != value}
    assert different == set(PARTS[name].options)
    assert one.blur(13, 6).ladder == (preset(PARTS[name].preset, 13, 6) if PARTS[name].preset else blur).ladder
    assert one.layer == (name == "layer")
    assert different or PARTS[name].preset


def test_what_parts_do_to_signals_adds_up():
    both = Configuration("both", ("noise", "channel dropout")).options(TrainOptions())
    assert both.augment == TrainOptions(augment=("noise=0.5", "channel-dropout")).augment
    assert len(both.augment) == 2


def test_parts_act_where_there_is_what_they_need(tmp_path):
    assert acting(["bank", "smoothing", "scale", "layer"], {TIME}) == ["bank", "smoothing"]
    make_study(tmp_path / "study", n_subjects=2)
    study = Study.open(tmp_path / "study")
    found = benchmark.what_is_there(study, study.subjects, "inter-subject", None)
    assert {TIME, SUBJECTS} <= found
    assert LAYER not in found
    assert REPETITIONS in found
    assert SUBJECTS not in benchmark.what_is_there(study, study.subjects, "intra-subject", "gabor")


def test_repetitions_and_shared_images_are_those_of_the_subjects_trained_on(tmp_path):
    root = make_study(tmp_path / "study", n_subjects=3).root
    table, signals = pd.read_csv(root / "sub-01/trials.csv"), np.load(root / "sub-01/signals.npy")
    single = (table["split"] == "test") | ~table.duplicated("image")
    table[single].to_csv(root / "sub-01/trials.csv", index=False)
    np.save(root / "sub-01/signals.npy", signals[single])
    study = Study.open(root)
    there = {
        (who, setting): benchmark.what_is_there(study, [who], setting, None) & {REPETITIONS, SHARED}
        for who in ("sub-01", "sub-02")
        for setting in SETTINGS
    }
    assert there == {
        ("sub-01", "intra-subject"): set(),
        ("sub-01", "inter-subject"): {REPETITIONS, SHARED},
        ("sub-02", "intra-subject"): {REPETITIONS},
        ("sub-02", "inter-subject"): {SHARED},
    }
    shutil.rmtree(root / "sub-03")
    two = Study.open(root)
    assert acting(["all positives"], benchmark.what_is_there(two, two.subjects, "inter-subject", None)) == []


def test_a_configuration_is_trained_once():
    chosen = configurations(["bank", "cosine loss"], ["bank", "cosine loss", "average"])
    found = trained_as(chosen)
    assert found["ubp-plus - bank"] == "ubp + cosine loss"
    assert found["ubp-plus - cosine loss"] == "ubp + bank"
    assert {name for name, trained in found.items() if name != trained} == {"ubp-plus - bank", "ubp-plus - cosine loss"}


def test_tables_go_between_the_lines_of_their_study_alone():
    page = "# Page\n<!-- beyond: v4 -->\nold\n<!-- end -->\nkept\n<!-- beyond: other -->\nother\n<!-- end -->\n"
    once = inserted(page, "v4", "| new |")
    assert once == page.replace("old", "\n| new |\n")
    assert inserted(once, "v4", "| new |") == once
    with pytest.raises(ValueError, match="no lines '<!-- beyond: v5 -->'"):
        inserted(page, "v5", "")


def test_the_table_holds_what_evaluate_found_and_differences_are_paired(tmp_path, capsys):
    make_study(tmp_path / "study", n_subjects=1)
    benchmark.run(asked(tmp_path / "study", tmp_path / "out"))
    table = pd.read_csv(tmp_path / "out/beyond.csv").set_index("configuration")
    for name in table.index:
        for_seed = []
        for seed in range(2):
            folder = {"ubp-plus - bank": "ubp + cosine loss", "ubp-plus - cosine loss": "ubp + bank"}.get(name, name)
            folder = folder.replace(", ", "-")
            ranks = pd.read_csv(tmp_path / f"out/runs/intra-subject/sub-01/{folder}/seed-{seed}/ranks.csv")
            assert len(ranks) == N_TEST
            for_seed.append((ranks["rank"] == 1).mean())
        assert table.loc[name, "top1"] == pytest.approx(np.mean(for_seed))
    for name, against in (("ubp + bank", "ubp"), ("ubp-plus", "ubp"), ("ubp-plus - bank", "ubp-plus")):
        assert table.loc[name, "against"] == against
        expected = table.loc[name, "top1"] - table.loc[against, "top1"]
        assert table.loc[name, "difference"] == pytest.approx(expected)
    assert (table[["seconds", "memory"]] > 0).all(axis=None)
    for name in ("ubp, shuffled", "ubp-plus, shuffled"):
        assert table.loc[name, "top1"] < table.loc[name.partition(",")[0], "top1"]
    text = (tmp_path / "out/beyond.md").read_text()
    assert text.count("| ubp-plus - ") == 2
    assert f"{100 * table.loc['ubp', 'top1']:.1f}" in text
    shutil.rmtree(tmp_path / "out/runs/intra-subject/sub-01/ubp-shuffled")
    capsys.readouterr()
    (tmp_path / "page.md").write_text("<!-- beyond: study -->\n<!-- end -->\n<!-- beyond: parts -->\n<!-- end -->\n")
    benchmark.run(asked(tmp_path / "study", tmp_path / "out", report=True, into=tmp_path / "page.md"))
    shown = pd.read_csv(tmp_path / "out/beyond.csv").set_index("configuration")
    pd.testing.assert_frame_equal(shown, table.drop("ubp, shuffled"))
    text = (tmp_path / "out/beyond.md").read_text()
    page = (tmp_path / "page.md").read_text()
    assert page.startswith(f"<!-- beyond: study -->\n\n{text.strip()}\n\n<!-- end -->\n<!-- beyond: parts -->\n")
    assert all(f"- *{name}*: {part.what}" in page for name, part in PARTS.items())
    benchmark.run(asked(tmp_path / "study", tmp_path / "out"))
    again = pd.read_csv(tmp_path / "out/beyond.csv").set_index("configuration")
    costs = ["seconds", "memory"]
    pd.testing.assert_frame_equal(again.drop(columns=costs), table.drop(columns=costs))


def test_a_configuration_that_is_not_finished_is_not_shown(tmp_path):
    for subject, name, seed in (
        *((who, "ubp", number) for who in "ab" for number in range(3)),
        *((who, "ubp-plus", 0) for who in "ab"),
        ("a", "ubp + bank", 0),
        *((who, "ubp + average", int(who == "b")) for who in "ab"),
    ):
        folder = tmp_path / "runs/intra-subject" / subject / name / f"seed-{seed}"
        folder.mkdir(parents=True)
        (folder / DESCRIPTION).touch()
    found = trained(tmp_path, "intra-subject", ("a", "b"), 5)
    assert {name: len(folders) for name, folders in found.items()} == {"ubp": 6, "ubp-plus": 2}
    assert {folder.name for folder in trained(tmp_path, "intra-subject", ("a", "b"), 2)["ubp"]} == {"seed-0", "seed-1"}
    assert set(trained(tmp_path, "intra-subject", ("a",), 5)) == {"ubp", "ubp-plus", "ubp + bank", "ubp + average"}


def test_what_cannot_be_shown_is_refused_before_work(tmp_path):
    make_study(tmp_path / "study", n_subjects=1)
    page = tmp_path / "page.md"
    page.write_text("no lines\n")
    for change, error, message in (
        ({"only": ["ubp", "ubp + bnk"]}, InputError, r"no configuration 'ubp \+ bnk'; expected ubp"),
        ({"only": ["ubp + scale"], "parts": ["scale"]}, InputError, "Nothing is left to be shown"),
        ({"report": True}, InputError, "Nothing is left to be shown"),
        ({"into": page}, ValueError, "no lines '<!-- beyond: study -->'"),
        ({"set": ["standardise=perhaps"]}, InputError, "perhaps"),
    ):
        with pytest.raises(error, match=message):
            benchmark.run(asked(tmp_path / "study", tmp_path / "out", **change))
    assert not (tmp_path / "out").exists()
    plan = benchmark.Plan.of(asked(tmp_path / "study", tmp_path / "out", set=["standardise=false", "beta1=0.5"]))
    assert [(one.standardise, one.beta1) for one in plan.base.values()] == [(False, 0.5)] * 2


def test_a_part_alone_is_shown_without_what_it_would_be_compared_with(tmp_path):
    make_study(tmp_path / "study", n_subjects=1)
    few = {"seeds": 1, "epochs": [1], "only": ["ubp + bank", "ubp-plus - bank"]}
    with pytest.raises(InputError, match="Nothing was compared"):
        benchmark.run(asked(tmp_path / "study", tmp_path / "out", **few))
    assert "ubp + bank" in (tmp_path / "out/beyond.md").read_text()


def test_tables_tell_of_the_gallery_and_of_unlabelled_trials(capsys, tmp_path):
    make_study(tmp_path / "study", n_subjects=3)
    few = {"seeds": 1, "epochs": [1, 1], "settings": ["inter-subject"], "subjects": None, "parts": ["scale", "bank"]}
    benchmark.run(asked(tmp_path / "study", tmp_path / "out", **few, only=["ubp", "ubp + scale", "ubp + bank"]))
    text = (tmp_path / "out/beyond.md").read_text()
    assert "| ubp + scale † | 3 | 1 |" in text
    assert "| ubp | 3 | 1 |" in text
    assert "† Aligned by unlabelled training trials of the subject." in text
    assert f"ranked alone (inductive) among {N_TEST} test images blurred as w13; a bank for ubp + bank (w is" in text
    table = pd.read_csv(tmp_path / "out/beyond.csv").set_index("configuration")
    assert table["protocol"].to_dict() == {"ubp": INDUCTIVE, "ubp + scale": UNLABELLED, "ubp + bank": INDUCTIVE}


@pytest.mark.parametrize("name", PARTS)
def test_the_legend_names_options_of_the_command_line(name):
    words = flags(PARTS[name]).split()
    known = {option for argument in app["train"].assemble_argument_collection() for option in argument.names}
    assert words
    assert {word for word in words if word.startswith("--")} <= known


def test_colours_say_what_a_part_does_whether_added_or_removed():
    rows = [(UBP, "ubp + bank"), (PLUS, "ubp-plus - bank")]
    table = pd.DataFrame(rows, columns=["against", "configuration"]).assign(
        setting="intra-subject", difference=[0.1, -0.1], difference_low=[0.05, -0.15], difference_high=[0.15, -0.05]
    )
    added, removed = differences_figure(table).axes
    assert added.lines[-1].get_color() == removed.lines[-1].get_color() == HELPS


def test_validation_never_opens_the_test_split(tmp_path, capsys):
    make_study(tmp_path / "study", n_subjects=1)
    printed = []
    for name in ("clean", "poisoned"):
        place = tmp_path / name
        shutil.copytree(tmp_path / "study", place)
        if name == "poisoned":
            test = (pd.read_csv(place / "sub-01/trials.csv")["split"] == "test").to_numpy()
            signals = np.load(place / "sub-01/signals.npy")
            signals[test] = np.nan
            np.save(place / "sub-01/signals.npy", signals)
        capsys.readouterr()
        benchmark.run(asked(place, tmp_path / f"{name}-out", validate=6, only=["ubp", "ubp + bank"], seeds=1))
        printed.append([line for line in capsys.readouterr().out.splitlines() if "a model" not in line])
        assert not list((tmp_path / f"{name}-out").rglob("ranks.csv"))
    assert printed[0] == printed[1]
    assert sum("ubp" in line for line in printed[0]) == 2


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def tables_of(page, study):
    """Title -> configuration -> cells, and the text of the table, of a study's block of the page."""
    block = re.search(rf"<!-- beyond: {study} -->(.*?)<!-- end -->", page, re.S)[1]
    found = {}
    for title, text in re.findall(r"^\*\*(.+?)\*\*$(.*?)(?=^\*\*|\Z)", block, re.S | re.M):
        header, _, *rows = [cells(line) for line in text.splitlines() if line.startswith("|")]
        assert tuple(header) == HEADER
        found[title] = {row[0]: row for row in rows}, text
    return found


def test_the_summary_of_the_page_says_what_its_tables_say():
    page = (ROOT / "docs/beyond.md").read_text(encoding="utf-8")
    text = page[page.index("| top-1 on test images |") : page.index("**What carries weight on V4**")]
    summary = [cells(line) for line in text.splitlines()[2:] if line]
    v4, simulated = tables_of(page, "v4"), tables_of(page, "simulated")
    tables = [v4["intra-subject"], v4["intra-subject, single presentations"]]
    tables += [simulated[setting] for setting in config.SETTINGS]
    named = ("top-1 %", "paired difference, points", "CPU seconds a model")
    top1, difference, seconds = (HEADER.index(name) for name in named)
    for (_, ubp, plus, gain, slower, shuffled), (table, note) in zip(summary, tables, strict=True):
        assert (ubp, plus) == tuple(f"{table[name][top1]} %" for name in (UBP, PLUS))
        assert gain == f"{table[PLUS][difference].removesuffix(' against ubp')} ({table[PLUS][difference + 1]})"
        if slower:
            assert slower == f"{float(table[PLUS][seconds]) / float(table[UBP][seconds]):.1f} x"
            chance = float(re.search(r"Chance is ([\d.]+) %", note)[1])
            assert shuffled == f"{table[f'{PLUS}, shuffled'][top1]} % ({chance:.1f})"
