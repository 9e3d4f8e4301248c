"""The table of methods, the published figures, and methods from the command line to the results table."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import N_TEST, make_study
from ubp import config
from ubp.cli import main
from ubp.commands.evaluating import evaluate
from ubp.commands.training import plan_jobs, train
from ubp.config import SETTINGS, Common, TrainOptions
from ubp.data.study import Study
from ubp.description import FIRST_OPTIONS
from ubp.errors import InputError
from ubp.experiment import train as train_one
from ubp.files import digest
from ubp.images.encoders import image_encoder
from ubp.images.features import FeatureStore
from ubp.job import Job
from ubp.loss import LOSSES
from ubp.methods import METHODS, method, method_preset
from ubp.model import Model
from ubp.presets import preset
from ubp.published import published, published_tables

SHARED = Path(__file__).parents[2] / "shared/published"
V4 = Path(__file__).parents[2] / "shared/data/v4"
N_TIMES, N_TRAIN = 90, 120
QUICK = {"epochs": 15, "batch_size": 40, "learning_rate": 1e-3, "validation_concepts": 0}


@pytest.fixture(scope="module")
def long_folder(tmp_path_factory):
    """Three subjects whose windows are long enough for a temporal convolution."""
    folder = tmp_path_factory.mktemp("long") / "long"
    make_study(folder, n_subjects=3, n_times=N_TIMES, n_train=N_TRAIN)
    return folder


@pytest.fixture(scope="module")
def common(tmp_path_factory):
    return Common(store=tmp_path_factory.mktemp("features"), quiet=True)


@pytest.fixture(scope="module")
def store(long_folder, common):
    study = Study.open(long_folder)
    ladder = preset("vanilla").ladder
    return FeatureStore.build(
        study.image_folder, study.images(), image_encoder("gabor"), ladder, root=common.store, quiet=True
    )


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_complete(name, setting):
    about = method(name)
    options = about.train_options(setting)
    assert method_preset(name, 13, 6) == replace(preset(about.preset, 13, 6), name=name)
    assert about.train_options(setting, epochs=3) == replace(options, epochs=3)
    assert "arXiv" in about.citation
    assert all(sentence.endswith(".") for sentence in about.differs)
    assert any("chosen on the test trials" in sentence for sentence in about.differs)
    if about.row and about.row[0] in published_tables():
        assert 0 < about.published_accuracy(setting)[0] < about.published_accuracy(setting)[1] < 100


@pytest.mark.parametrize("name", METHODS)
def test_options_of_an_intermediate_layer_are_added_where_there_is_one(name):
    about = method(name)
    layer = "RN50/none,layer=layer3,pool=grid2"
    assert about.train_options("intra-subject", "RN50/none") == about.train_options()
    assert about.train_options("intra-subject", layer) == about.train_options(**about.intermediate_layer)
    changes = {key: 24 for key in about.intermediate_layer if key == "components"}
    expected = replace(about.train_options("intra-subject", layer), **changes)
    assert about.train_options("intra-subject", layer, **changes) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"members": 3},
        {"adapter": "linear"},
        {"components": 9},
        {"weight_average": 0.9},
        {"warm_up": 1},
        {"soft_temperature": 0.2},
    ],
)
def test_bravl_refuses_options_it_would_ignore(changes):
    (name,) = changes
    with pytest.raises(InputError, match=f"{name} is .*; bravl is not trained by contrast"):
        METHODS["bravl"].train_options(**changes)


def test_ubp_plus_maps_an_intermediate_layer_and_leaves_the_last_as_it_is(tiny_folder):
    study = Study.open(tiny_folder)
    components = {}
    for encoder in ("onnx:encoder.onnx", "onnx:encoder.onnx,layer=relu_3"):
        job, *_ = plan_jobs(study, encoder=encoder, methods=("ubp-plus",), width=13)
        components[encoder] = job.options.components
    assert list(components.values()) == [0, 256]


def test_published_settings():
    nice, atms, ours = (METHODS[name].train_options() for name in ("nice", "atm-s", "ubp"))
    assert (nice.brain_encoder, nice.loss, nice.epochs, nice.batch_size) == ("tsconv", "clip", 200, 1000)
    assert (nice.learning_rate, nice.beta1, nice.weight_decay, nice.validation_concepts) == (2e-4, 0.5, 0, 74)
    for variant in ("nice-sa", "nice-ga"):
        assert METHODS[variant].train_options() == replace(nice, brain_encoder=variant)
    assert (atms.brain_encoder, atms.loss, atms.epochs, atms.batch_size) == ("atm-s", "atm-s", 40, 64)
    assert (atms.learning_rate, atms.weight_decay) == (3e-4, 0.01)
    bravl = METHODS["bravl"].train_options()
    assert (bravl.epochs, bravl.batch_size, bravl.learning_rate, bravl.weight_decay) == (100, 1024, 1e-4, 0)
    assert ours == TrainOptions()
    assert METHODS["ubp"].train_options("inter-subject") == TrainOptions(learning_rate=1e-5)


def test_published_averages_are_those_the_papers_print():
    expected = {"ubp": (50.9, 79.7), "nice": (16.1, 43.6), "nice-sa": (14.7, 41.7), "nice-ga": (15.6, 42.8)}
    for name, pair in expected.items():
        assert METHODS[name].published_accuracy() == pytest.approx(pair, abs=0.06)
    assert METHODS["atm-s"].published_accuracy() == pytest.approx((27.1, 58.1), abs=0.06)
    assert METHODS["bravl"].published_accuracy() == pytest.approx((5.8, 17.5), abs=0.06)
    assert METHODS["nice"].published_accuracy("inter-subject") == pytest.approx((6.2, 21.4), abs=0.06)
    assert METHODS["official"].published_accuracy() is None


def test_published_tables_are_complete():
    eeg, meg = published("things_eeg_retrieval"), published("things_meg_retrieval")
    assert (eeg.groupby(["setting", "method"])["subject"].nunique() == 10).all()
    assert (meg.groupby(["setting", "method"])["subject"].nunique() == 4).all()
    for table in (eeg, meg):
        assert (table["top1"] < table["top5"]).all()
        assert table["top5"].between(0, 100).all()
    assert published("variability_correlation").drop(columns="method").abs().max().max() < 1
    with pytest.raises(InputError, match=r"no published table 'things'; choose one of .*things_eeg_retrieval"):
        published("things")


@pytest.mark.parametrize("name", ["things_eeg_retrieval", "things_meg_retrieval", "variability_correlation"])
def test_packaged_tables_are_the_collected_ones(name):
    if not SHARED.exists():
        pytest.skip("the collected tables are not beside this clone")
    pd.testing.assert_frame_equal(published(name), pd.read_csv(SHARED / f"{name}.csv"))


def test_unknown_method_and_loss_name_the_nearest():
    with pytest.raises(InputError, match=r"method 'atms' is unknown; expected one of .* did you mean 'atm-s'"):
        method("atms")
    with pytest.raises(
        InputError,
        match="loss 'klip' is unknown; expected one of ubp, clip, atm-s, siglip, two-temperatures, bravl; did you mean",
    ):
        TrainOptions(loss="klip")
    with pytest.raises(InputError, match=r"beta1 is 1\.0"):
        TrainOptions(beta1=1.0)
    assert tuple(LOSSES) == config.LOSS_NAMES


@pytest.mark.parametrize("shuffled", [False, True])
def test_rivals_find_images_of_unseen_concepts_and_shuffled_pairs_do_not(long_folder, common, tmp_path, shuffled):
    names = ("nice", "atm-s")
    changes = {**QUICK, "shuffle_pairs": shuffled}
    folders = train(long_folder, out=tmp_path, methods=names, subjects=("sub-01",), changes=changes, common=common)
    mark = "-shuffled" if shuffled else ""
    assert [folder.parent.name for folder in folders] == [f"{name}{mark}" for name in names]
    table = evaluate(tmp_path, ridge=False, common=common).table.set_index("method")
    assert list(table.index) == [f"{name}, shuffled" if shuffled else name for name in names]
    if shuffled:
        assert table["top1"].mean() <= 3 / N_TEST
        assert table["mean_percentile_rank"].between(0.2, 0.8).all()
    else:
        assert (table["top1"] >= 0.5).all()
    assert list(table["brain_encoder"]) == ["tsconv", "atm-s"]


def test_subjects_known_and_unseen_take_their_own_path(long_folder, store, tmp_path):
    study = Study.open(long_folder)
    options = METHODS["atm-s"].train_options("inter-subject", **{**QUICK, "epochs": 3})
    job = Job("sub-02", method_preset("atm-s"), options, setting="inter-subject")
    model = Model.load(train_one(study, store, job, tmp_path))
    assert model.description.trained_on == ("sub-01", "sub-03")
    assert model.encoder.own.shape == (2, N_TIMES)
    assert (model.encoder.own.abs().amax(1) > 0).all()
    model.encoder.eval()
    test = job.trials(study, "test")
    scaled = (torch.from_numpy(test.signals) - model.scale[0]) / model.scale[1]
    with torch.no_grad():
        unseen = model.encoder(scaled).numpy()
        third = model.encoder(scaled, torch.ones(len(scaled), dtype=torch.int64)).numpy()
    np.testing.assert_allclose(model.embed(test.signals), unseen, atol=1e-5)
    np.testing.assert_allclose(model.embed(test.signals, "sub-03"), third, atol=1e-5)
    assert np.abs(third - unseen).max() > 1e-4

    alone = Job("sub-02", method_preset("atm-s"), options)
    model = Model.load(train_one(study, store, alone, tmp_path))
    model.encoder.eval()
    first = torch.zeros(len(scaled), dtype=torch.int64)
    scaled = (torch.from_numpy(test.signals) - model.scale[0]) / model.scale[1]
    with torch.no_grad():
        expected = model.encoder(scaled, first).numpy()
    np.testing.assert_allclose(model.embed(test.signals), expected, atol=1e-5)
    assert np.abs(model.embed(test.signals, "sub-01") - expected).max() > 1e-4


class Stop(Exception):
    pass


def stop(trainer):
    if trainer.epoch == 2:
        raise Stop


def test_a_stopped_run_over_several_subjects_continues_to_the_same_bytes(long_folder, store, tmp_path):
    study = Study.open(long_folder)
    options = METHODS["atm-s"].train_options(**{**QUICK, "epochs": 4, "validation_concepts": 20})
    job = Job("sub-02", method_preset("atm-s"), options, setting="inter-subject")
    whole = train_one(study, store, job, tmp_path / "whole")
    with pytest.raises(Stop):
        train_one(study, store, job, tmp_path / "stopped", checkpoint_every=0, after_epoch=stop)
    stopped = train_one(study, store, job, tmp_path / "stopped")
    for name in ("model.safetensors", "history.csv", "model.json"):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes()


def test_runs_from_before_the_newer_options_still_load_and_count_as_the_same(long_folder, store, tmp_path):
    study = Study.open(long_folder)
    options = TrainOptions(**{**QUICK, "epochs": 2})
    folder = train_one(study, store, Job("sub-01", preset("vanilla"), options), tmp_path)
    content = json.loads((folder / "model.json").read_text())
    identity = Model.load(folder).description.identity()
    later = {name: content["options"].pop(name) for name in [*content["options"]] if name not in FIRST_OPTIONS}
    assert TrainOptions(**later) == TrainOptions()
    (folder / "model.json").write_text(json.dumps(content))
    old = {k: v for k, v in content.items() if k not in ("study_path", "vision_encoder", "versions")}
    assert Model.load(folder).description.identity() == identity == digest(json.dumps(old, sort_keys=True))
    assert train_one(study, store, Job("sub-01", preset("vanilla"), options), tmp_path) == folder
    other = Job("sub-01", preset("vanilla"), replace(options, loss="clip"))
    with pytest.raises(InputError, match="of other options"):
        train_one(study, store, other, tmp_path)


def command(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code or 0, capsys.readouterr()


def options_of(folder):
    return json.loads((folder / "seed-0/model.json").read_text())["options"]


def test_options_given_on_the_command_line_go_over_those_of_a_method(long_folder, common, tmp_path, capsys):
    shared = ("--store", common.store, "--quiet", "--subject", "sub-01", "--out", tmp_path)
    given = ("--epochs", 1, "--learning-rate", "1e-4", "--validation-concepts", 0)
    arguments = ("train", long_folder, *shared, "--method", "nice", "vanilla", "--preset", "blur", "--width", 13)
    assert command(capsys, *arguments, *given)[0] == 0
    runs = tmp_path / "intra-subject/sub-01"
    assert {path.name for path in runs.iterdir()} == {"nice", "vanilla", "blur"}
    nice = METHODS["nice"].train_options(epochs=1, learning_rate=1e-4, validation_concepts=0)
    assert options_of(runs / "nice") == json.loads(json.dumps(vars(nice)))  # 1e-4 is the default, yet it was given
    for name in ("vanilla", "blur"):
        assert options_of(runs / name) == json.loads(json.dumps(vars(TrainOptions(epochs=1))))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "nicer"), "method 'nicer' is unknown"),
        (("--method", "ubp", "--preset", "ubp"), "'ubp' is asked for 2 times"),
        (("--method", "nice", "--beta1", "2"), "beta1 is 2"),
        (("--method", "nice", "--loss", "mse"), "loss 'mse' is unknown"),
        (("--method", "nice", "--window", "0", "0.5"), "but TSConv needs at least 75"),
        (("--method", "nice", "--brain-encoder", "braindecode:EEGNot"), "did you mean 'braindecode:EEGNet'"),
    ],
)
def test_what_a_method_cannot_do_is_one_sentence(long_folder, common, tmp_path, capsys, arguments, message):
    shared = ("--store", common.store, "--quiet", "--subject", "sub-01", "--out", tmp_path / "runs")
    code, printed = command(capsys, "train", long_folder, *shared, "--validation-concepts", 0, *arguments)
    assert code == 2
    assert message in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_window_that_is_too_short_is_refused_before_images_are_embedded(tiny_folder, tmp_path, capsys):
    arguments = ("train", tiny_folder, "--method", "vanilla", "atm-s", "--store", tmp_path / "features")
    code, printed = command(capsys, *arguments, "--out", tmp_path / "runs", "--quiet")
    assert (code, printed.err.count("\n")) == (2, 1)
    assert "has 8 samples, but ATMS needs at least 75" in printed.err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def instant_folder(tmp_path_factory):
    """A study with one sample a window, like spike counts."""
    folder = tmp_path_factory.mktemp("instant") / "instant"
    make_study(folder, n_subjects=1, n_times=1)
    return folder


@pytest.mark.parametrize("name", METHODS)
def test_one_time_point_trains_or_is_refused_before_any_work(name, instant_folder, tmp_path, capsys):
    arguments = ("train", instant_folder, "--method", name, "--width", 13, "--store", tmp_path / "features", "--quiet")
    code, printed = command(capsys, *arguments, "--epochs", 1, "--out", tmp_path / "runs")
    if METHODS[name].options.get("brain_encoder", "eegproject") in ("eegproject", "bravl"):
        assert code == 0
        assert Model.load(tmp_path / "runs/intra-subject/sub-01" / name / "seed-0").description.n_times == 1
    else:
        assert (code, printed.err.count("\n")) == (2, 1)
        assert "has 1 samples, but " in printed.err
        assert list(tmp_path.iterdir()) == []


def test_methods_that_need_time_refuse_the_v4_recordings(tmp_path, capsys):
    if not V4.exists():
        pytest.skip("the V4 recordings are not beside this clone")
    for name in ("nice", "nice-sa", "nice-ga", "atm-s"):
        arguments = ("train", V4, "--method", name, "--store", tmp_path / "features", "--out", tmp_path / "runs")
        code, printed = command(capsys, *arguments)
        assert (code, printed.err.count("\n")) == (2, 1)
        assert "has 1 samples, but" in printed.err
    code, printed = command(capsys, "train", V4, "--setting", "inter-subject", *arguments[4:])
    assert (code, printed.err.count("\n")) == (2, 1)
    assert "do not have the same channels" in printed.err
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_braindecode_is_trained_saved_and_evaluated(long_folder, common, tmp_path, capsys):
    shared = ("--store", common.store, "--quiet", "--subject", "sub-01", "--out", tmp_path)
    more = ("--epochs", 20, "--batch-size", 40, "--learning-rate", "1e-3", "--brain-encoder", "braindecode:CTNet")
    assert command(capsys, "train", long_folder, *shared, "--method", "vanilla", *more)[0] == 0
    table = evaluate(tmp_path, ridge=False, common=common).table.iloc[0]
    assert table["brain_encoder"] == "braindecode:CTNet"
    assert table["top1"] > 3 / N_TEST


def test_methods_are_printed_with_what_is_done_differently(capsys):
    code, printed = command(capsys, "methods")
    assert code == 0
    for name, about in METHODS.items():
        assert f"\n{name}: {about.citation}" in printed.out
        assert all(sentence in printed.out for sentence in about.differs)
    assert "16.1 / 43.6" in printed.out
