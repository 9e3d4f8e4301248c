"""Grids: the product, one process, the table; cells equal what train and evaluate give."""

import dataclasses
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import fit_together as benchmark
from conftest import N_TEST, make_study
from test_cli import refused, run
from ubp.config import Common, TrainOptions
from ubp.data.study import Study
from ubp.errors import InputError, UbpError
from ubp.evaluate_runs import Evaluation
from ubp.experiment import CHECKPOINT, Fit, train
from ubp.files import locked
from ubp.grid import Experiment, run_grid
from ubp.grid.dry_run import dry_run
from ubp.grid.estimate import seconds_by_kind, seconds_left
from ubp.grid.factors import from_text, read_values
from ubp.grid.file import merged, read_file
from ubp.grid.live import Board
from ubp.grid.plan import Plan
from ubp.grid.table import TABLE, names_apart
from ubp.grid.units import can_stack, make_units, pays
from ubp.grid.work import Outcome, Workshop
from ubp.images.encoders import image_encoder
from ubp.images.features import FeatureStore
from ubp.job import Job
from ubp.measures import measure
from ubp.model import Model
from ubp.presets import preset
from ubp.saved import read_results

OPTIONS = {"epochs": 3, "batch_size": 20, "learning_rate": 1e-3}
SMALL = Experiment(presets=("vanilla", "ubp"), width=13, seeds=(0, 1), options=OPTIONS)


@pytest.fixture(scope="module")
def common(tmp_path_factory):
    return Common(store=tmp_path_factory.mktemp("features"), quiet=True)


@pytest.fixture(autouse=True)
def cache(common, monkeypatch):
    monkeypatch.setenv("UBP_CACHE", str(common.store))


@pytest.fixture(scope="module")
def whole(tiny_folder, tmp_path_factory, common):
    """A finished grid of ten cells."""
    out = tmp_path_factory.mktemp("whole") / "grid"
    return out, run_grid(tiny_folder, SMALL, out, address="here", common=common)


def records(out):
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("cell.json"))}


# The product


def test_cells_are_the_product_each_once(tiny):
    experiment = Experiment(
        presets=("vanilla", "blur", "ubp"),
        settings=("intra-subject", "inter-subject"),
        seeds=(0, 1, 2),
        vary={"width": (13, 25), "epochs": (3, 4)},
    )
    cells = experiment.cells(tiny)
    # the width does not matter to crisp images, nothing to ridge regression
    assert len(cells) == 2 * 2 * (3 * 2 * (1 + 2 + 2) + 1)
    assert len({cell.key for cell in cells}) == len({cell.folder for cell in cells}) == len(cells)
    assert len({cell.variant for cell in cells}) == 2 * (1 + 2 + 2) + 1
    factors = pd.DataFrame([cell.factors for cell in cells])
    assert not factors.duplicated().any()
    assert set(factors.loc[factors["method"] == "blur", "width"]) == {13, 25}
    assert factors.loc[factors["method"].isin(["vanilla", "ridge"]), "width"].isna().all()
    assert [cell.key for cell in experiment.cells(tiny)] == [cell.key for cell in cells]


def test_published_methods_have_their_own_options_and_encoders(tmp_path):
    make_study(tmp_path / "long", n_times=100, n_train=84)
    study = Study.open(tmp_path / "long")
    cells = Experiment(methods=("nice", "ubp"), subjects=("sub-01",), ridge=False).cells(study)
    assert [cell.job.options.brain_encoder for cell in cells] == ["tsconv", "eegproject"]
    assert [cell.job.options.epochs for cell in cells] == [200, 50]
    both = ("eegproject", "shallownet")
    cells = Experiment(methods=("nice", "ubp"), brain_encoders=both, subjects=("sub-01",), ridge=False).cells(study)
    assert [(c.job.preset.name, c.job.options.brain_encoder) for c in cells] == [
        (name, encoder) for encoder in both for name in ("nice", "ubp")
    ]


def test_keys_leave_out_options_at_their_defaults_and_tell_the_rest_apart(tiny):
    (cell,) = Experiment(presets=("ubp",), subjects=("sub-01",), ridge=False).cells(tiny)
    default = TrainOptions()
    changed = {"epochs": 51, "loss": "clip", "beta1": 0.5, "shuffle_pairs": True, "weight_decay": 0.0}
    same = dataclasses.replace(cell.job, options=dataclasses.replace(default))
    assert dataclasses.replace(cell, job=same).key == cell.key
    keys = {cell.key}
    for name, value in changed.items():
        other = dataclasses.replace(cell.job, options=dataclasses.replace(default, **{name: value}))
        keys.add(dataclasses.replace(cell, job=other).key)
    for change in ({"seed": 1}, {"subject": "sub-02"}, {"vision_encoder": "RN50"}, {"channels": ("c1",)}):
        keys.add(dataclasses.replace(cell, job=dataclasses.replace(cell.job, **change)).key)
    keys.add(dataclasses.replace(cell, average="1").key)
    assert len(keys) == 1 + len(changed) + 4 + 1


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("epochs", ("1", 2), (1, 2)),
        ("learning_rate", ["1e-3", 1], (1e-3, 1.0)),
        ("standardise", ("true", False), (True, False)),
        ("precision", "bf16", ("bf16",)),
        ("channels", ("all", "Oz+O1", ["O2"]), (None, ("Oz", "O1"), ("O2",))),
        ("window", ("all", "0:0.5", [0, 1]), (None, (0.0, 0.5), (0.0, 1.0))),
        ("average", ("all", "single", 2, "3"), ("all", "single", "2", "3")),
    ],
)
def test_values_are_read_by_the_kind_of_their_factor(name, given, expected):
    assert read_values(name, given) == expected


def test_a_file_declares_the_same_product_and_the_command_line_goes_over_it(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(
        "preset = ['blur', 'ubp']\nseed = [0, 1]\nwidth = 13\nridge = false\n"
        "[options]\nepochs = 3\n[vary]\nlearning_rate = [1e-3, 1e-4]\naverage = ['all', 1]\n"
    )
    declared = read_file(path)
    assert Experiment(**declared) == Experiment(
        presets=("blur", "ubp"),
        seeds=(0, 1),
        width=13,
        ridge=False,
        options={"epochs": 3},
        vary=from_text(["learning-rate=1e-3,1e-4", "average=all,1"]),
    )
    given = {"seeds": (5,), "width": None, "options": {"learning_rate": 1e-2}, "vary": {"epochs": ("1", "2")}}
    over = Experiment(**merged(declared, given))
    assert (over.seeds, over.width) == ((5,), 13)
    assert over.options == {"learning_rate": 1e-2}
    assert over.vary == {"average": ("all", "1"), "epochs": (1, 2)}


# The table


def test_a_cell_is_what_train_and_evaluate_give(whole, tiny, tmp_path, common):
    out, table = whole
    assert len(table) == 2 * (2 * 2 + 1)
    assert not table.duplicated(["setting", "subject", "method", "seed"]).any()
    blur = preset("ubp", 13)
    store = FeatureStore.build(
        tiny.image_folder, tiny.images(), image_encoder("gabor"), [*blur.ladder, preset("vanilla").base], common.store
    )
    folder = train(tiny, store, Job("sub-02", blur, TrainOptions(**OPTIONS), seed=1), tmp_path)
    expected = Evaluation(lambda study, about: store, root=tmp_path).run([folder]).table.set_index("method")
    rows = table[(table["subject"] == "sub-02") & table["seed"].eq(1 * (table["method"] == "ubp"))].set_index("method")
    for method in ("ridge", "ubp"):
        for name in ("top1", "top1_low", "top1_high", "top5", "mean_reciprocal_rank", "matched_similarity"):
            assert rows.loc[method, name] == expected.loc[method, name]
    mine = out / rows.loc["ubp", "run"]
    for name in ("ranks.csv", "history.csv", "model.safetensors"):
        assert (mine / name).read_bytes() == (folder / name).read_bytes()
    assert pd.read_parquet(out / TABLE).equals(table)


def test_compare_reads_it(whole, capsys):
    out, table = whole
    results = read_results([out], measure("top1"))
    for method in ("ridge", "vanilla", "ubp"):
        scores = np.mean([s.mean() for s in results.scores("intra-subject", method).values()])
        assert scores == pytest.approx(table.loc[table["method"] == method, "top1"].mean())
    assert run("compare", out, "--baseline", "vanilla") == 0
    assert "vanilla" in capsys.readouterr().out


def test_methods_are_named_apart_by_what_differs(tiny):
    experiment = Experiment(
        presets=("vanilla", "blur"),
        vision_encoders=("gabor", "RN50,layer=layer3"),
        subjects=("sub-01",),
        options={"epochs": 5},
        vary={"shuffle_pairs": (False, True), "width": (13, 25)},
    )
    for ridge in (True, False):
        cells = dataclasses.replace(experiment, ridge=ridge).cells(tiny)
        names = set(names_apart(pd.DataFrame([cell.factors for cell in cells])))
        expected = {
            f"{method}{shuffled} ({encoder}{width})"
            for method, widths in (("vanilla", [""]), ("blur", ["; width 13", "; width 25"]))
            for shuffled in ("", ", shuffled")
            for encoder in ("gabor", "RN50 layer=layer3")
            for width in widths
        }
        assert names == expected | ({"ridge (gabor)", "ridge (RN50 layer=layer3)"} if ridge else set())


def test_rows_older_than_an_option_are_not_named_apart_by_it(tiny):
    cells = Experiment(presets=("blur",), seeds=(0, 1), ridge=False, vary={"width": (13, 25)}).cells(tiny)
    table = pd.DataFrame([cell.factors for cell in cells])
    names = names_apart(table)
    assert set(names) == {"blur (width 13)", "blur (width 25)"}
    assert names_apart(table.drop(columns=["beta1", "text"])) == names
    assert names_apart(table.assign(beta1=table["beta1"].where(table["seed"] == 0))) == names
    other = table.assign(beta1=np.where(table["seed"] == 0, np.nan, 0.5))
    assert set(names_apart(other)) == {f"blur (width {w}; beta1 {b})" for w in (13, 25) for b in ("0.9", "0.5")}


def write_text_features(study, path):
    concepts = study.recording("sub-01").trials["concept"].unique()
    words = np.random.default_rng(0).standard_normal((len(concepts), 5)).astype(np.float32)
    np.savez(path, concepts=np.array(concepts, str), features=words)


def test_bravl_learns_from_text_where_it_is_given_and_its_name_says_where_not(tiny, tiny_folder, tmp_path, capsys):
    write_text_features(tiny, tmp_path / "text.npz")
    out = tmp_path / "grid"
    command = ("grid", tiny_folder, "--out", out, "--address", "here", "--method", "vanilla", "bravl", "--quiet")
    options = ("--subject", "sub-01", "--epochs", 2, "--batch-size", 20)
    assert run(*command, *options) == 0
    assert run(*command, *options, "--text", tmp_path / "text.npz") == 0
    assert len(pd.read_parquet(out / TABLE)) == 4
    runs = pd.read_csv(out / "results.csv").set_index("method")["run"]
    assert set(runs.index) == {"ridge", "vanilla", "bravl", "bravl (brain and image)"}
    # the name that `ubp evaluate` gives
    for name in ("vanilla", "bravl", "bravl (brain and image)"):
        about = Model.load(out / runs[name]).description
        assert about.method == name
        assert about.text_dim == (5 if name == "bravl" else 0)
    capsys.readouterr()
    assert run("compare", out, "--baseline", "bravl") == 0
    assert "bravl (brain and image)" in " ".join(capsys.readouterr().out.split())
    # other features are other cells
    words = dict(np.load(tmp_path / "text.npz"))
    cells = [Experiment(methods=("bravl",), text=tmp_path / "text.npz", ridge=False).cells(tiny)[0]]
    np.savez(tmp_path / "text.npz", concepts=words["concepts"], features=words["features"] + 1)
    cells += [Experiment(methods=("bravl",), text=tmp_path / "text.npz", ridge=False).cells(tiny)[0]]
    assert len({cell.key for cell in cells}) == len({cell.folder for cell in cells}) == 2


def test_brain_encoders_and_losses_do_not_matter_to_bravl(tiny):
    both = ("eegproject", "tsconv")
    cells = Experiment(methods=("bravl",), brain_encoders=both, vary={"loss": ("ubp", "clip")}, ridge=False).cells(tiny)
    assert [(cell.job.subject, cell.job.options.brain_encoder) for cell in cells] == [
        (subject, "bravl") for subject in tiny.subjects
    ]


def test_the_temperature_of_soft_targets_does_not_matter_without_them(tiny):
    varied = {"soft_targets": (0.0, 0.2), "soft_temperature": (0.1, 0.2)}
    product = Experiment(presets=("vanilla",), subjects=("sub-01",), vary=varied, ridge=False)
    found = [(cell.job.options.soft_targets, cell.job.options.soft_temperature) for cell in product.cells(tiny)]
    assert found == [(0.0, 0.05), (0.2, 0.1), (0.2, 0.2)]
    with pytest.raises(InputError, match=r"soft_temperature is 0\.1 without soft targets"):
        dataclasses.replace(product, vary={"soft_temperature": (0.1, 0.2)}).cells(tiny)
    with pytest.raises(InputError, match=r"soft_temperature is 0\.1 without soft targets"):
        dataclasses.replace(product, vary={**varied, "soft_targets": (0.0,)}).cells(tiny)


@pytest.mark.parametrize(
    ("varied", "message"),
    [
        ({"augment": ("none", "noise", "time-shift=1e30")}, "longer than a trial of 80 ms"),
        ({"positives": ("pair", "image")}, "no two training signals of sub-01 show the same image"),
        ({"positives": ("image",), "average_training": (False, True)}, "no two training signals of sub-01"),
        ({"repetitions": ("subset",), "validation_concepts": (0, 39)}, "39 of 40 training concepts of sub-01 were"),
    ],
)
def test_every_value_that_is_varied_is_checked(tiny, varied, message):
    with pytest.raises(InputError, match=message):
        Experiment(presets=("vanilla",), subjects=("sub-01",), vary=varied).cells(tiny)


def test_ridge_regression_is_trained_on_the_trials_that_the_methods_see(tiny, tiny_folder, tmp_path, common):
    options = {**OPTIONS, "epochs": 1}
    both = Experiment(
        presets=("vanilla",), subjects=("sub-01",), options=options, vary={"average_training": (True, False)}
    )
    table = run_grid(tiny_folder, both, tmp_path / "grid", address="here", common=common)
    assert set(names_apart(table)) == {
        f"{method} (average_training {each})" for method in ("ridge", "vanilla") for each in (True, False)
    }
    rows = table.set_index(["method", "average_training"])
    for average in (True, False):
        folder = tmp_path / "grid" / rows.loc[("vanilla", average), "run"]
        store = FeatureStore.open(common.store / Model.load(folder).description.store_key)
        expected = Evaluation(lambda study, about, store=store: store, root=tmp_path).run([folder]).table
        expected = expected.set_index("method").loc["ridge"]
        for name in ("top1", "mean_reciprocal_rank", "matched_similarity"):
            assert rows.loc[("ridge", average), name] == expected[name]
    similarity = rows.loc["ridge", "matched_similarity"]
    assert similarity[True] != similarity[False]


def test_finished_cells_are_never_run_again_and_the_product_may_grow(whole, tiny_folder, tmp_path, common):
    out = Path(shutil.copytree(whole[0], tmp_path / "grid"))
    before = records(out)
    again = run_grid(tiny_folder, SMALL, out, address="here", common=common)
    assert again.equals(whole[1])
    more = dataclasses.replace(SMALL, seeds=(1, 2), vary={"average": ("all", "1", "single"), "width": (13, 7)})
    table = run_grid(tiny_folder, more, out, address="here", common=common)
    assert len(table) == 3 * 2 * (2 * (1 + 2) + 1)
    after = records(out)
    assert len(after) == len(before) + len(table) - 2 * (2 + 1)
    assert all(after[name] == content for name, content in before.items())
    every = pd.read_parquet(out / TABLE)
    assert len(every) == len(after) == every["cell"].nunique()
    names = {"ridge", "vanilla", "ubp (width 13)", "ubp (width 7)"}
    for folder in (out, out / "average-1", out / "single-trials"):
        assert {method for _, method in read_results([folder], measure("top1")).hits} == names
    single = pd.read_csv(out / "single-trials/results.csv")
    assert set(single["queries"]) == {2 * N_TEST}
    assert set(pd.read_csv(out / "average-1/results.csv")["repetitions"]) == {1}


def test_a_table_that_is_lost_is_made_from_the_records(whole, tiny_folder, tmp_path, common):
    out = Path(shutil.copytree(whole[0], tmp_path / "grid"))
    (out / TABLE).unlink()
    (out / "results.csv").unlink()
    assert run_grid(tiny_folder, SMALL, out, address="here", common=common).equals(whole[1])
    assert (out / "results.csv").read_bytes() == (whole[0] / "results.csv").read_bytes()


def test_a_cell_that_fails_stops_no_other_and_is_tried_again(tiny_folder, tmp_path, capsys, monkeypatch):
    command = ("grid", tiny_folder, "--out", tmp_path / "grid", "--address", "here", "--subject", "sub-01", "--quiet")
    product = ("--epochs", 2, "--batch-size", 20, "--vary", "learning_rate=1e30,1e-3", "--no-ridge", "--width", 13)
    for together in ("never", "always"):
        sentence = refused(capsys, *command, *product, "--together", together, code=1)
        assert "1 of 2 cells failed" in sentence
        assert "The loss became" in sentence
        assert pd.read_parquet(tmp_path / "grid" / TABLE)["learning_rate"].tolist() == [1e-3]
    score = Workshop._score
    monkeypatch.setattr(Workshop, "_score", lambda self, cell: [][1] if cell.job.seed else score(self, cell))
    product = ("--epochs", 2, "--batch-size", 20, "--learning-rate", 1e-3, "--no-ridge", "--width", 13, "--seed", 0, 1)
    sentence = refused(capsys, *command, *product, code=1)
    assert "IndexError" in sentence
    (trace,) = (tmp_path / "grid").rglob("failure.txt")
    assert "Traceback" in trace.read_text()
    monkeypatch.undo()
    assert run(*command, *product) == 0
    assert not list((tmp_path / "grid").rglob("failure.txt"))
    assert sorted(pd.read_parquet(tmp_path / "grid" / TABLE)["seed"]) == [0, 1]


# Together


def test_together_equals_alone_and_goes_on_after_a_stop(whole, tiny_folder, tmp_path, common, monkeypatch, capsys):
    out = tmp_path / "grid"
    saves, save = [], Fit.save

    def stop(fit):
        Path(fit.folder).mkdir(parents=True, exist_ok=True)
        save(fit)
        saves.append(fit.trainer.epoch)
        if len(saves) == 10:
            raise KeyboardInterrupt

    monkeypatch.setattr(Fit, "save", stop)
    run_it = {"address": "here", "together": "always", "checkpoint_every": 0, "common": common}
    with pytest.raises(KeyboardInterrupt):
        run_grid(tiny_folder, SMALL, out, **run_it)
    assert saves == [1] * 8 + [2] * 2
    assert len(list(out.rglob(CHECKPOINT))) == 8
    monkeypatch.undo()
    table = run_grid(tiny_folder, SMALL, out, **run_it)
    assert "trained one by one" not in "".join(capsys.readouterr())
    assert not list(out.rglob(CHECKPOINT))
    assert table["cell"].tolist() == whole[1]["cell"].tolist()
    for name in table["run"][table["method"] != "ridge"]:
        mine, theirs = (Model.load(folder / name) for folder in (out, whole[0]))
        assert mine.description.identity() == theirs.description.identity()
        for one, other in zip(mine.encoder.state_dict().values(), theirs.encoder.state_dict().values(), strict=True):
            assert (one - other).norm() <= 1e-4 * other.norm()
        assert pd.read_csv(out / name / "ranks.csv")["rank"].equals(pd.read_csv(whole[0] / name / "ranks.csv")["rank"])


def test_what_cannot_be_trained_together_is_said_and_trained_alone(whole, tiny, tiny_folder, tmp_path, common, capsys):
    out = tmp_path / "grid"
    models = [cell.folder for cell in SMALL.cells(tiny) if not cell.is_ridge]
    (out / models[0]).mkdir(parents=True)
    (out / models[0] / CHECKPOINT).write_bytes(b"no tensors")
    with pytest.raises(UbpError, match="1 of 10 cells failed"):
        run_grid(tiny_folder, SMALL, out, address="here", together="always", common=common)
    assert "models are trained one by one, as together they failed: InputError: " in "".join(capsys.readouterr())
    for folder in models[1:]:
        mine, theirs = (Model.load(place / folder).encoder.state_dict() for place in (out, whole[0]))
        assert all((mine[name] - theirs[name]).norm() <= 1e-4 * theirs[name].norm() for name in theirs)


def test_units_hold_equal_shapes_and_leave_work_for_all(tiny):
    experiment = Experiment(presets=("blur", "ubp"), seeds=tuple(range(5)), vary={"average": ("all", "1")})
    cells = experiment.cells(tiny)

    def units(**options):
        return make_units(cells, lambda job: (40, 6, 8), lambda encoder: 64, **options)

    for options in ({"together": "never"}, {"together": "always", "slots": 3}, {}):
        assert sorted(cell.key for unit in units(**options) for cell in unit) == sorted(cell.key for cell in cells)
    models = [len({cell.folder for cell in unit}) for unit in units(together="always", slots=3) if len(unit) > 2]
    assert models == [7, 7, 6]
    assert max(len({cell.folder for cell in unit}) for unit in units(together="never")) == 1


def test_encoders_that_tell_subjects_apart_and_early_stops_are_not_stacked():
    for options in (TrainOptions("atm-s"), TrainOptions("braindecode:EEGConformer")):
        assert not can_stack(Job("sub-01", preset("ubp"), options))
    assert not can_stack(Job("sub-01", preset("ubp"), TrainOptions(validation_concepts=5, patience=2)))
    for parts in ({"members": 2}, {"adapter": "linear"}, {"components": 4}, {"weight_average": 0.9}):
        assert not can_stack(Job("sub-01", preset("ubp"), TrainOptions("TSConv", **parts)))
    assert not can_stack(Job("sub-01", preset("bank"), TrainOptions("TSConv")))
    assert can_stack(Job("sub-01", preset("ubp"), TrainOptions("TSConv")))


def test_units_fit_into_memory(tiny):
    cells = Experiment(presets=("ubp",), seeds=tuple(range(4)), ridge=False).cells(tiny)
    # 3 GiB of signals for each subject, shared by its seeds
    units = make_units(cells, lambda job: (3 * 2**18, 32, 32), lambda encoder: 64, together="always")
    assert [sorted({cell.job.subject for cell in unit}) for unit in units] == [["sub-01"], ["sub-02"]]


def test_the_rule_follows_device_encoder_and_size():
    assert pays("cpu", "eegproject", (200, 6, 40), 64)
    assert not pays("cpu", "eegproject", (16540, 17, 250), 1024)
    assert not pays("cpu", "tsconv", (200, 6, 40), 64)
    assert pays("cuda", "tsconv", (16540, 17, 250), 1024)


# Counting and showing


def test_dry_run_counts_and_writes_nothing(whole, tiny_folder, tmp_path, capsys):
    more = dataclasses.replace(SMALL, seeds=(0, 1, 2), vary={"average": ("all", "single")})
    found = dry_run(Study.open(tiny_folder), more, whole[0], address="here")
    assert (found.cells, found.finished, found.models, found.slots) == (2 * 14, 10, 2 * 7, 1)
    known = dict(zip(found.table["brain_encoder"], found.table["from"], strict=True))
    assert known == {"ridge": "finished cells", "eegproject": "finished cells"}
    assert found.seconds > 0
    out = tmp_path / "new"
    assert run("grid", tiny_folder, "--out", out, "--dry-run", "--epochs", 7, "--batch-size", 20, "--seed", 0, 1) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "6 cells, 0 finished; 6 models are left" in printed
    assert not out.exists()


def test_time_left_counts_epochs_by_kind_of_cell(tiny):
    cells = Experiment(presets=("ubp",), seeds=(0, 1), vary={"epochs": (10, 20)}, ridge=False).cells(tiny)
    first = next(cell for cell in cells if cell.job.options.epochs == 10)
    by_kind = seconds_by_kind(cells, {first.key: 5.0})
    left = [cell for cell in cells if cell is not first]
    # half a second an epoch: three more of 10 epochs, four of 20
    assert seconds_left(left, by_kind, slots=2) == pytest.approx(0.5 * (3 * 10 + 4 * 20) / 2)
    assert seconds_left(left, {}, slots=2) is None


def test_a_model_that_is_evaluated_in_several_ways_takes_the_time_of_all(tiny):
    experiment = Experiment(
        presets=("ubp",), seeds=(0, 1), options={"epochs": 10}, vary={"average": ("all", "1", "single")}, ridge=False
    )
    cells = experiment.cells(tiny)
    # the first way trains, the others take no time to speak of
    seconds = {cell.key: 5.0 if cell.average == "all" else 0.0 for cell in cells}
    assert set(seconds_by_kind(cells, seconds).values()) == {0.5}


def test_the_board_counts_cells_by_method(tiny):
    cells = SMALL.cells(tiny)
    board = Board(cells, [cells[0].key], lambda keys: float(len(keys)), quiet=True)
    board.started((cells[1], cells[2]))
    board.ended([Outcome(cells[1].key, failure="It failed.")])
    counts = board.counts()
    assert sum(row["all"] for row in counts.values()) == len(cells)
    states = {name: sum(row[name] for row in counts.values()) for name in ("done", "running", "failed")}
    assert states == {"done": 1, "running": 1, "failed": 1}
    assert board.table().caption == "0:00:08 left"
    assert list(counts) == ["ridge", "vanilla", "ubp"]


def test_without_ray_the_cells_run_here(whole, tiny_folder, tmp_path, common, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    few = dataclasses.replace(SMALL, subjects=("sub-01",), seeds=(0,), ridge=False)
    table = run_grid(tiny_folder, few, tmp_path / "grid", common=common)
    assert "Ray is not installed" in capsys.readouterr().out
    expected = whole[1].set_index("cell").loc[table["cell"], "top1"]
    assert table["top1"].tolist() == expected.tolist()
    with pytest.raises(UbpError, match="pip install"):
        run_grid(tiny_folder, few, tmp_path / "other", address="auto", common=common)


# The benchmark


def test_arithmetic_of_the_benchmark():
    assert benchmark.models_per_minute(0.1, epochs=50) == pytest.approx(12)
    seconds = {"eegproject": 0.01, "tsconv": 0.03}
    assert benchmark.projected_hours(seconds, models=4000, epochs=50) == pytest.approx(4000 * 50 * 0.02 / 3600)
    size = benchmark.Size("one batch", (1024, 17, 250), 1024, 1024)
    products = 2 * 1024 * 1024 * (2 * 4250 + 3 * 1024 + 2 * 1024)
    assert benchmark.limit(1e12, size, epochs=1) == pytest.approx(60 * 1e12 / products)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_the_gpu_mode_says_that_there_is_no_gpu():
    with pytest.raises(SystemExit, match="no CUDA device"):
        benchmark.gpu(2, "fp32", 1)


# Bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--vary", "epochs="), "The grid is empty, because epochs has no value"),
        (("--vary", "epoch=1,2"), "did you mean 'epochs'?"),
        (("--vary", "epochs"), "expected NAME=VALUE,VALUE"),
        (("--vary", "epochs=0"), "epochs is 0; expected at least 1"),
        (("--vary", "epochs=two"), "epochs is 'two'; expected a whole number"),
        (("--vary", "epochs=2,2"), "The value '2' of epochs is there 2 times"),
        (("--vary", "epochs=2,3", "--epochs", 4), "both varied and given one value"),
        (("--vary", "width=12"), "width"),
        (("--vary", "average=3"), "sub-01"),
        (("--vary", "average=none"), "expected all, single or a number"),
        (("--vary", "channels=c1+c9"), "c9"),
        (("--vary", "window=0:9"), "window"),
        (("--vary", "seed=1,2"), "give it with --seed"),
        (("--vary", "patience=3"), "patience needs validation concepts"),
        (("--vary", "validation_concepts=39"), "39 of 40 training concepts of sub-01 were to be taken out for valid"),
        (
            ("--vary", "calibration_concepts=0,39"),
            "39 of 40 training concepts of sub-01 were to be taken out for calib",
        ),
        (("--validation-concepts", 20, "--calibration-concepts", 19), "19 of 20 training concepts"),
        (("--method", "bravl", "--text", "absent.npz"), "absent.npz are missing"),
        (("--text", "TEXT"), "None of ubp learns from text"),
        (("--method", "ubp", "--preset", "ubp"), "'ubp' of methods and presets is there 2 times"),
        (("--method", "nise"), "did you mean 'nice'?"),
        (("--brain-encoder", "eegnet"), "EEGNet needs at least 95"),
        (("--brain-encoder", "eegproject", "deepnett"), "deepnet"),
        (("--subject", "sub-01", "sub-99"), "has no subject 'sub-99'"),
        (("--setting", "inter"), "did you mean 'inter-subject'?"),
        (("--seed", -1), "The seed is -1"),
        (("--together", "sometimes"), "expected one of auto, always, never"),
        (("--cpus", 0), "0 cores"),
        (("--gpus", 1.5), "1.5 GPUs"),
        (("--file", "nothing.toml"), "nothing.toml does not exist"),
        (("--address", "127.0.0.1:1"), "No Ray answers at '127.0.0.1:1'"),
        (("--address", "nonsense"), "'nonsense'"),
    ],
)
def test_an_impossible_grid_is_refused_before_any_work(tiny_folder, tmp_path, capsys, arguments, message):
    write_text_features(Study.open(tiny_folder), tmp_path / "text.npz")
    arguments = [tmp_path / "text.npz" if argument == "TEXT" else argument for argument in arguments]
    address = () if "--address" in arguments else ("--address", "here")
    sentence = refused(capsys, "grid", tiny_folder, "--out", tmp_path / "grid", *address, *arguments, "--quiet")
    assert message in sentence
    assert not (tmp_path / "grid").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("presets = ['ubp']", "did you mean 'preset'?"),
        ("seed = ['a']", "expected a whole number"),
        ("ridge = 1", "expected true or false"),
        ("preset = [", "cannot be read as TOML"),
        ("[vary]\nwidht = [1]", "did you mean 'width'?"),
    ],
)
def test_a_file_with_mistakes_is_refused(tiny_folder, tmp_path, capsys, text, message):
    (tmp_path / "grid.toml").write_text(text)
    sentence = refused(capsys, "grid", tiny_folder, "--out", tmp_path / "out", "--file", tmp_path / "grid.toml")
    assert message in sentence


def test_a_table_of_another_study_or_grid_is_refused_and_stays(whole, tiny_folder, tmp_path, capsys):
    out = Path(shutil.copytree(whole[0], tmp_path / "grid"))
    before = records(out) | {TABLE: (out / TABLE).read_bytes()}
    command = ("--out", out, "--address", "here", "--quiet", "--epochs", 3, "--batch-size", 20, "--width", 13)
    make_study(tmp_path / "other", seed=1)
    sentence = refused(capsys, "grid", tmp_path / "other", *command, "--learning-rate", 1e-3, "--preset", "ubp")
    assert "results of another study" in sentence
    sentence = refused(capsys, "grid", tiny_folder, *command, "--learning-rate", 2e-3, "--no-ridge")
    assert "results of another grid" in sentence
    (out / TABLE).write_bytes(before[TABLE][:-100])
    sentence = refused(capsys, "grid", tiny_folder, *command, "--learning-rate", 1e-3)
    assert "is not a table that `ubp grid` wrote" in sentence
    (out / TABLE).write_bytes(before[TABLE])
    # without its table the records tell
    (out / TABLE).unlink()
    with pytest.raises(InputError, match="of another study"):
        Plan.make(Study.open(tmp_path / "other"), SMALL, out)
    assert records(out) | {TABLE: before[TABLE]} == before


def test_two_grids_at_once_in_one_folder_are_refused(tiny_folder, tmp_path, common):
    with locked(tmp_path / ".lock"), pytest.raises(InputError, match="Another process is running a grid"):
        run_grid(tiny_folder, SMALL, tmp_path, address="here", common=common)
