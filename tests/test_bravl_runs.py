"""BraVL from the command line to the results table, under both protocols; what it refuses."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from conftest import N_TEST, make_study
from ubp.bravl import BraVL, BraVLTrainer
from ubp.cli import main
from ubp.commands.evaluating import evaluate
from ubp.commands.training import train
from ubp.config import Common, TrainOptions
from ubp.data.study import Study
from ubp.errors import InputError
from ubp.experiment import train as train_one
from ubp.fit_together import TogetherTrainer
from ubp.images.encoders import image_encoder
from ubp.images.features import FeatureStore
from ubp.job import Job
from ubp.measures import measure
from ubp.methods import METHODS, method_preset
from ubp.model import Model
from ubp.pairs import Gallery, Pairs
from ubp.presets import preset
from ubp.saved import read_results

QUICK = {"epochs": 10, "batch_size": 30, "learning_rate": 3e-3}
FEW = {**QUICK, "epochs": 3, "batch_size": 60}
LABEL = "bravl (brain and image)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bravl") / "study"
    make_study(folder, n_train=120)
    return folder


@pytest.fixture(scope="module")
def common(tmp_path_factory):
    return Common(store=tmp_path_factory.mktemp("features"), quiet=True)


@pytest.fixture(scope="module")
def store(folder, common):
    study, ladder = Study.open(folder), preset("vanilla").ladder
    encoder = image_encoder("gabor")
    return FeatureStore.build(study.image_folder, study.images(), encoder, ladder, root=common.store, quiet=True)


@pytest.fixture(scope="module")
def text(folder, store, tmp_path_factory):
    """Text features that tell of each concept's image, as an archive."""
    trials = Study.open(folder).recording("sub-01").trials.drop_duplicates("concept")
    mixing = np.random.default_rng(0).standard_normal((store.dim, 7))
    words = store.vectors(preset("vanilla").base, list(trials["image"])) @ mixing
    path = tmp_path_factory.mktemp("text") / "text.npz"
    np.savez(path, concepts=np.array(trials["concept"], str), features=words.astype(np.float32))
    return path


def job(changes, subject="sub-01", **more):
    return Job(subject, method_preset("bravl"), METHODS["bravl"].train_options(**changes), **more)


def command(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code or 0, capsys.readouterr()


@pytest.fixture(scope="module")
def runs(folder, common, text, tmp_path_factory):
    """Trained models, with and without text and with shuffled pairs, beside a contrastive one."""
    out = tmp_path_factory.mktemp("runs")
    subject = ("sub-01",)
    for name, methods, words, changes in (
        ("alone", ("bravl", "vanilla"), None, QUICK),
        ("shuffled", ("bravl",), None, {**QUICK, "shuffle_pairs": True}),
        ("text", ("bravl",), text, QUICK),
    ):
        train(folder, out=out / name, methods=methods, subjects=subject, text=words, changes=changes, common=common)
    return out


@pytest.mark.parametrize("class_features", [False, True])
@pytest.mark.parametrize("name", ["alone", "text", "shuffled"])
def test_it_finds_unseen_images_and_classes_and_shuffled_pairs_do_not(runs, common, name, class_features):
    results = evaluate(runs / name, class_features=class_features, ridge=False, common=common)
    table = results.table.set_index("method")
    label = {"alone": LABEL, "text": "bravl", "shuffled": f"{LABEL}, shuffled"}[name]
    row = table.loc[label]
    assert row["protocol"] == ("inductive, class features" if class_features else "inductive")
    assert (row["gallery_size"], row["top1_chance"]) == (N_TEST, pytest.approx(1 / N_TEST))
    assert row["brain_encoder"] == "bravl"
    if name == "shuffled":
        assert row["top1"] <= 3 / N_TEST
        assert 0.2 < row["mean_percentile_rank"] < 0.8
    else:
        assert row["top1"] >= 4 / N_TEST
        assert row["mean_percentile_rank"] > 0.75


def test_the_two_protocols_stay_apart(runs, common):
    for class_features in (False, True):
        evaluate(runs / "alone", class_features=class_features, ridge=True, common=common)
    main_track, classes = (pd.read_csv(runs / "alone" / part / "results.csv") for part in (".", "class-features"))
    assert list(main_track["method"]) == list(classes["method"]) == ["ridge", "vanilla", LABEL]
    assert set(main_track["protocol"]) == {"inductive"}
    assert set(classes["protocol"]) == {"inductive, class features"}
    # a concept with one test image has that image's features, so a method that takes cosines ranks alike
    for name in ("top1", "top5", "mean_percentile_rank"):
        assert list(main_track[name][:2]) == list(classes[name][:2])
    top = measure("top1")
    assert len(read_results([runs / "alone" / "class-features"], top).hits) == 3
    with pytest.raises(InputError, match="evaluated differently: protocol inductive"):
        read_results([runs / "alone", runs / "alone" / "class-features"], top)


def test_class_features_of_the_text_are_used_and_must_be_the_same(runs, common, text, tmp_path, capsys):
    shared = (runs / "text", "--class-features", "--no-ridge", "--store", common.store, "--quiet")
    found = {path: np.load(text)[path] for path in ("concepts", "features")}
    back = slice(None, None, -1)  # the same features in another order and form
    np.save(tmp_path / "words.npy", found["features"][back])
    pd.DataFrame({"concept": found["concepts"][back]}).to_csv(tmp_path / "words.csv", index=False)
    assert command(capsys, "evaluate", *shared)[0] == 0
    first = (runs / "text/class-features/results.csv").read_text()
    assert command(capsys, "evaluate", *shared, "--text", tmp_path / "words.npy")[0] == 0
    assert (runs / "text/class-features/results.csv").read_text() == first
    np.save(tmp_path / "words.npy", found["features"])
    code, printed = command(capsys, "evaluate", *shared, "--text", tmp_path / "words.npy")
    assert (code, printed.err.count("\n")) == (2, 1)
    assert "holds other text features than the model of sub-01" in printed.err
    code, printed = command(capsys, "evaluate", runs / "text", "--text", text, "--quiet")
    assert (code, printed.err.count("\n")) == (2, 1)
    assert "add --class-features" in printed.err


def test_a_model_is_a_folder_of_plain_files(runs):
    folder = runs / "text/intra-subject/sub-01/bravl/seed-0"
    assert sorted(p.name for p in folder.iterdir() if p.suffix != ".csv") == ["model.json", "model.safetensors"]
    tensors, about = load_file(folder / "model.safetensors"), json.loads((folder / "model.json").read_text())
    assert "temperature" not in tensors
    assert tensors["encoder.features.image.axes"].shape[0] == 100
    assert about["text_dim"] == 7
    model = Model.load(folder)
    assert isinstance(model.encoder, BraVL)
    vectors = np.random.default_rng(0).standard_normal((4, about["embed_dim"])).astype(np.float32)
    assert model.embed_images(vectors).shape == model.embed(np.zeros((4, 6, 8), np.float32)).shape == (4, 32)
    with torch.no_grad():
        expected = model.encoder.images(torch.from_numpy(vectors)).numpy()
    np.testing.assert_allclose(model.embed_images(vectors), expected, atol=1e-5)
    history = pd.read_csv(folder / "history.csv")
    assert list(history["divergence_weight"]) == pytest.approx([0.01 * epoch for epoch in range(QUICK["epochs"])])
    assert history["log_likelihood"].iloc[-1] > history["log_likelihood"].iloc[0]
    plain = runs / "alone/intra-subject/sub-01/vanilla/seed-0"
    assert "text" not in json.loads((plain / "model.json").read_text())
    assert np.array_equal(Model.load(plain).embed_images(vectors), vectors)


class Stop(Exception):
    pass


def stop(trainer):
    if trainer.epoch == 2:
        raise Stop


@pytest.mark.parametrize("held_out", [0, 20])
def test_a_stopped_run_continues_to_the_same_bytes_and_a_seed_gives_one_result(folder, store, text, tmp_path, held_out):
    study, changes = Study.open(folder), {**FEW, "validation_concepts": held_out}
    given = job(changes, "sub-02", setting="inter-subject", text=text)
    whole = train_one(study, store, given, tmp_path / "whole")
    with pytest.raises(Stop):
        train_one(study, store, given, tmp_path / "stopped", checkpoint_every=0, after_epoch=stop)
    assert not (tmp_path / "stopped" / given.folder / "model.json").exists()
    stopped = train_one(study, store, given, tmp_path / "stopped")
    for name in ("model.safetensors", "history.csv", "model.json"):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes()
    assert not (stopped / "checkpoint.safetensors").exists()
    assert ("validation_mrr" in pd.read_csv(whole / "history.csv")) == bool(held_out)
    if held_out:
        return
    other = train_one(study, store, dataclasses.replace(given, seed=1), tmp_path / "whole")
    assert (other / "model.safetensors").read_bytes() != (whole / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match="another study or of other options"):
        train_one(study, store, dataclasses.replace(given, text=None), tmp_path / "whole")


def test_features_are_fitted_on_training_images_alone(folder, store, tmp_path):
    study = Study.open(folder)
    model = Model.load(train_one(study, store, job({**FEW, "epochs": 1}), tmp_path))
    vectors = store.vectors(preset("vanilla").base, study.images("train"))
    np.testing.assert_allclose(model.encoder.features["image"].mean.numpy(), vectors.mean(axis=0), atol=1e-6)
    few = store.vectors(preset("vanilla").base, study.images())
    assert np.abs(few.mean(axis=0) - vectors.mean(axis=0)).max() > 1e-4


def test_two_pairs_of_one_image_train_without_negatives():
    vision = torch.nn.functional.normalize(torch.ones(1, 1, 4), dim=-1)
    pairs = Pairs(torch.randn(4, 2, 1, generator=torch.Generator().manual_seed(0)), torch.zeros(4).long(), vision)
    trainer = BraVLTrainer(pairs, preset("vanilla"), METHODS["bravl"].train_options(epochs=1))
    trainer.run()
    assert trainer.history[0]["mismatched_log_likelihood"] == 0
    assert all(parameter.isfinite().all() for parameter in trainer.encoder.parameters())


def test_a_single_time_point_without_a_sampling_rate_serves_and_a_window_is_refused(common, tmp_path, capsys):
    make_study(tmp_path / "point", n_subjects=1, n_times=1)
    about = json.loads((tmp_path / "point/dataset.json").read_text())
    (tmp_path / "point/dataset.json").write_text(json.dumps({**about, "sfreq": None, "tmin": None}))
    arguments = ("train", tmp_path / "point", "--method", "bravl", "--epochs", 2, "--store", common.store, "--quiet")
    code, printed = command(capsys, *arguments, "--window", 0.07, 0.4, "--out", tmp_path / "runs")
    assert (code, printed.err.count("\n")) == (2, 1)
    assert "sfreq" in printed.err or "sampling rate" in printed.err
    assert not (tmp_path / "runs").exists()
    code, printed = command(capsys, *arguments, "--out", tmp_path / "runs")
    assert code == 0
    assert "brain and image features alone" in printed.out
    assert len(evaluate(tmp_path / "runs", ridge=False, common=common).table) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "bravl", "--preset", "vanilla", "--text", "lacking.npz"), "no text features of the concept"),
        (("--method", "bravl", "--text", "absent.npz"), "absent.npz are missing; expected an .npz file"),
        (("--method", "nice", "--text", "lacking.npz"), "None of nice learns from text"),
        (
            ("--method", "bravl", "--brain-encoder", "atm-s"),
            "'atm-s' and the loss 'bravl'; the model bravl has its own",
        ),
        (("--preset", "vanilla", "--loss", "bravl"), "give bravl for both or for neither"),
        (("--method", "bravl", "--precision", "bf16"), "bravl is trained in fp32 only"),
        (("--preset", "ubp", "--loss", "bravl", "--brain-encoder", "bravl"), "learns from images at one level"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(folder, tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    np.savez("lacking.npz", concepts=np.array(["concept-001"]), features=np.ones((1, 3)))
    shared = ("--store", tmp_path / "features", "--out", tmp_path / "runs", "--quiet")
    code, printed = command(capsys, "train", folder, *arguments, *shared)
    assert (code, printed.err.count("\n")) == (2, 1)
    assert message in printed.err
    assert [path.name for path in tmp_path.iterdir()] == ["lacking.npz"]


def test_a_text_file_is_refused_for_a_contrastive_job_and_bravl_for_fitting_together(text):
    with pytest.raises(InputError, match="'vanilla' does not learn from text"):
        Job("sub-01", preset("vanilla"), TrainOptions(), text=text)
    with pytest.raises(InputError, match="bravl learns from one vector of an image and the preset 'bank' has 5"):
        Job("sub-01", preset("bank"), METHODS["bravl"].train_options())
    pairs = Pairs(torch.randn(6, 2, 3), torch.arange(6), torch.nn.functional.normalize(torch.randn(1, 6, 4), dim=-1))
    gallery = Gallery(pairs.signals, np.arange(6), pairs.ladder[0].numpy())
    options = METHODS["bravl"].train_options(epochs=1)
    trainers = [BraVLTrainer(pairs, preset("vanilla"), options, seed, gallery) for seed in range(2)]
    with pytest.raises(InputError, match="the kind bravl is trained by itself"):
        TogetherTrainer(trainers)
    with pytest.raises(InputError, match="need the concept of each pair"):
        dataclasses.replace(pairs, text=torch.ones(2, 3))
