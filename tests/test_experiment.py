import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import N_CHANNELS, N_TEST, N_TIMES, N_TRAIN, make_study
from ubp.config import TrainOptions
from ubp.data.study import Study
from ubp.errors import InputError
from ubp.evaluate_runs import Evaluation
from ubp.experiment import CHECKPOINT, train
from ubp.images.encoders import image_encoder
from ubp.images.features import FeatureStore
from ubp.job import Job
from ubp.model import Model
from ubp.presets import preset
from ubp.results import find_runs
from ubp.training_data import image_pairs, scale_signals

OPTIONS = TrainOptions(epochs=8, batch_size=20, learning_rate=1e-3)
BLUR = preset("ubp", 13, 6)


@pytest.fixture(scope="module")
def store(tiny_folder, tmp_path_factory):
    study = Study.open(tiny_folder)
    ladder = [level for name in ("vanilla", "ubp") for level in preset(name, 13, 6).ladder]
    root = tmp_path_factory.mktemp("features")
    return FeatureStore.build(study.image_folder, study.images(), image_encoder("gabor"), ladder, root=root, quiet=True)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_a_model_folder_holds_all_that_using_it_needs(tiny, store, tmp_path):
    folder = train(tiny, store, Job("sub-01", BLUR, OPTIONS, 5), tmp_path)
    assert folder == tmp_path / "intra-subject/sub-01/ubp/seed-5"
    assert set(contents(folder)) == {"model.json", "model.safetensors", "history.csv"}
    model = Model.load(folder)
    about = model.description
    assert (about.n_pairs, about.n_images, about.trained_on) == (N_TRAIN, N_TRAIN, ("sub-01",))
    assert about.preset == BLUR
    assert about.channels == tuple(f"c{i}" for i in range(6))
    assert len(model.history) == OPTIONS.epochs
    assert model.prior["level"].shape == (N_TRAIN,)
    signals = tiny.recording("sub-01").load("test").signals
    mean, deviation = model.scale
    with torch.no_grad():
        expected = model.encoder.eval()((torch.from_numpy(signals) - mean) / deviation)
    assert model.embed(signals) == pytest.approx(expected.numpy(), abs=1e-6)


def test_scaling_is_fitted_on_training_trials_alone(tiny, store):
    trials = tiny.recording("sub-01").load("train")
    plain = trials.signals.copy()
    mean, deviation = scale_signals(trials, standardise=True)
    pairs = image_pairs(trials, store, Job("sub-01", BLUR, OPTIONS))
    assert mean[:, 0].numpy() == pytest.approx(plain.mean(axis=(0, 2)), abs=1e-5)
    assert deviation[:, 0].numpy() == pytest.approx(plain.std(axis=(0, 2)), rel=1e-4)
    assert pairs.signals.std(dim=(0, 2), correction=0).tolist() == pytest.approx([1] * 6, rel=1e-4)


def test_pairs_point_at_the_image_that_was_shown_and_shuffled_pairs_do_not(tiny, store):
    trials = tiny.recording("sub-01").load("train")
    pairs = image_pairs(trials, store, Job("sub-01", BLUR, OPTIONS))
    for level, blur in enumerate(BLUR.ladder):
        assert np.array_equal(pairs.ladder[level, pairs.image].numpy(), store.vectors(blur, trials.images))
    shuffled = image_pairs(trials, store, Job("sub-01", BLUR, replace(OPTIONS, shuffle_pairs=True)))
    assert sorted(shuffled.image.tolist()) == sorted(pairs.image.tolist())
    assert (shuffled.image == pairs.image).float().mean() < 0.2


def test_inter_subject_trains_on_the_others_and_tests_the_subject_left_out(tiny, store, tmp_path):
    job = Job("sub-02", BLUR, OPTIONS, setting="inter-subject")
    about = Model.load(train(tiny, store, job, tmp_path)).description
    assert about.trained_on == ("sub-01",)
    test = job.trials(tiny, "test")
    assert set(test.subjects) == {"sub-02"}
    assert np.array_equal(test.signals, tiny.recording("sub-02").load("test").signals)


def test_a_finished_model_is_left_alone_and_another_study_or_option_is_refused(tiny, store, tmp_path):
    job = Job("sub-01", BLUR, OPTIONS)
    before = contents(train(tiny, store, job, tmp_path))
    stamp = (tmp_path / job.folder / "model.safetensors").stat().st_mtime_ns
    assert contents(train(tiny, store, job, tmp_path)) == before
    assert (tmp_path / job.folder / "model.safetensors").stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match="another study or of other options"):
        train(tiny, store, replace(job, options=replace(OPTIONS, epochs=9)), tmp_path)
    other = make_study(tmp_path / "other", seed=1)
    vectors = FeatureStore.build(
        other.image_folder, other.images(), image_encoder("gabor"), BLUR.ladder, root=tmp_path / "f", quiet=True
    )
    with pytest.raises(InputError, match="another study or of other options"):
        train(other, vectors, job, tmp_path)


class Stop(Exception):
    pass


def stop_after(epochs):
    def after_epoch(trainer):
        if trainer.epoch == epochs:
            raise Stop

    return after_epoch


@pytest.mark.parametrize("validation", [0, 8])
def test_a_stopped_run_continues_to_the_same_bytes(tiny, store, tmp_path, validation):
    job = Job("sub-01", BLUR, replace(OPTIONS, validation_concepts=validation, patience=2 if validation else 0))
    whole = contents(train(tiny, store, job, tmp_path / "whole"))
    for epochs in (1, 3):
        with pytest.raises(Stop):
            train(tiny, store, job, tmp_path / "stopped", checkpoint_every=0, after_epoch=stop_after(epochs))
    seen = []
    folder = train(tiny, store, job, tmp_path / "stopped", after_epoch=lambda trainer: seen.append(trainer.epoch))
    assert seen[0] == 4
    assert contents(folder) == whole


def test_a_damaged_or_foreign_checkpoint_is_named(tiny, store, tmp_path):
    job = Job("sub-01", BLUR, OPTIONS)
    with pytest.raises(Stop):
        train(tiny, store, job, tmp_path, checkpoint_every=0, after_epoch=stop_after(2))
    checkpoint = tmp_path / job.folder / CHECKPOINT
    data = checkpoint.read_bytes()
    foreign = replace(job, options=replace(OPTIONS, learning_rate=2e-3))
    with pytest.raises(InputError, match=f"{CHECKPOINT} belongs to another study or to other options"):
        train(tiny, store, foreign, tmp_path)
    checkpoint.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=f"{CHECKPOINT} is not a complete safetensors file"):
        train(tiny, store, job, tmp_path)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("model.safetensors", lambda data: data[:-100], "not a complete safetensors file"),
        ("model.json", lambda data: data[:-20], "cannot be read as"),
        ("model.json", lambda data: data.replace(b'"seed"', b'"sead"'), "unknown; expected one of"),
        ("model.json", lambda data: data.replace(b'"format": 1', b'"format": 2'), "update ubp"),
        ("model.json", lambda data: data.replace(b'"format": 1', b'"format": "1"'), "has the format '1'"),
        ("model.json", lambda data: data.replace(b'"n_times": 8', b'"n_times": 9'), "is damaged"),
        ("model.json", lambda data: data.replace(b'"n_times": 8', b'"n_times": 1000000'), "is damaged"),
        (
            "model.json",
            lambda data: data.replace(b'"n_times": 8', b'"n_times": 9e9'),
            "n_times = 9000000000.0; expected",
        ),
        (
            "model.json",
            lambda data: data.replace(b'"seed": 0', b'"seed": null'),
            "seed = None; expected a whole number",
        ),
        ("model.json", lambda data: b"[" * 100_000, "cannot be read as"),
    ],
)
def test_a_damaged_model_is_named(tiny, store, tmp_path, name, change, message):
    folder = train(tiny, store, Job("sub-01", BLUR, replace(OPTIONS, epochs=1)), tmp_path)
    (folder / name).write_bytes(change((folder / name).read_bytes()))
    with pytest.raises(InputError, match=message):
        Model.load(folder)


def test_a_model_from_before_the_format_had_a_number_still_loads(tiny, store, tmp_path):
    folder = train(tiny, store, Job("sub-01", BLUR, replace(OPTIONS, epochs=1)), tmp_path)
    content = json.loads((folder / "model.json").read_text())
    before = Model.load(folder)
    del content["format"], content["study_path"]
    (folder / "model.json").write_text(json.dumps(content))
    after = Model.load(folder)
    assert after.description == replace(before.description, study_path=None)
    signals = np.ones((2, N_CHANNELS, N_TIMES), np.float32)
    assert np.array_equal(before.embed(signals), after.embed(signals))


def test_an_address_is_not_taken_for_a_folder():
    with pytest.raises(InputError, match="run `ubp pull` on that address first"):
        Model.load("hf://owner/name")


def test_validation_concepts_are_taken_out_of_training(tiny, store, tmp_path):
    job = Job("sub-01", BLUR, replace(OPTIONS, validation_concepts=10))
    folder = train(tiny, store, job, tmp_path)
    about = Model.load(folder).description
    assert about.n_images == N_TRAIN - 10
    assert {"validation_top1", "validation_top5", "validation_mrr"} <= set(pd.read_csv(folder / "history.csv"))


def test_poisoned_test_trials_and_images_change_no_model(tiny_folder, tmp_path):
    """Rule 1: nothing of the test split reaches training."""
    shutil.copytree(tiny_folder, tmp_path / "tiny")
    study = Study.open(tmp_path / "tiny")
    root = tmp_path / "features"
    train_images = study.images("train")
    vectors = FeatureStore.build(
        study.image_folder, train_images, image_encoder("gabor"), BLUR.ladder, root=root, quiet=True
    )
    job = Job("sub-01", BLUR, replace(OPTIONS, validation_concepts=8))
    before = Model.load(train(study, vectors, job, tmp_path / "before"))
    signals = np.load(tmp_path / "tiny/sub-01/signals.npy", mmap_mode="r+")
    is_test = (study.recording("sub-01").trials["split"] == "test").to_numpy()
    signals[is_test] = np.nan
    signals.flush()
    for image in study.images("test"):
        study.image_path(image).write_bytes(b"poison")
    study = Study.open(tmp_path / "tiny")
    after = Model.load(train(study, vectors, job, tmp_path / "after"))
    assert all(torch.equal(before.encoder.state_dict()[n], t) for n, t in after.encoder.state_dict().items())
    with pytest.raises(InputError, match="sub-01"):
        job.trials(study, "test")


def evaluate(folder, store, **options):
    return Evaluation(lambda study, about: store, **options).run(find_runs(folder))


def test_evaluation_ranks_what_the_model_says(tiny, store, tmp_path):
    options = replace(OPTIONS, epochs=30)
    for seed in (0, 1):
        for subject in tiny.subjects:
            train(tiny, store, Job(subject, BLUR, options, seed), tmp_path)
    results = evaluate(tmp_path, store, n_way=(2, 5))
    table = results.table.set_index(["method", "subject", "seed"])
    assert len(table) == 2 * 2 + 2
    row = table.loc[("ubp", "sub-02", 1)]
    model = Model.load(tmp_path / "intra-subject/sub-02/ubp/seed-1")
    test = tiny.recording("sub-02").load("test")
    brain = model.embed(test.signals)
    vision = store.vectors(BLUR.base, test.images)
    brain /= np.linalg.norm(brain, axis=1, keepdims=True)
    similarity = brain @ vision.T
    rank = 1 + (similarity > np.diag(similarity)[:, None]).sum(axis=1)
    assert row["top1"] == pytest.approx((rank == 1).mean())
    assert row["top5"] == pytest.approx((rank <= 5).mean())
    assert row["mean_reciprocal_rank"] == pytest.approx((1 / rank).mean())
    assert row["matched_similarity"] == pytest.approx(np.diag(similarity).mean(), abs=1e-5)
    assert row["top1_of_2"] == pytest.approx(row["mean_percentile_rank"])
    assert (row["gallery_size"], row["repetitions"], row["protocol"]) == (N_TEST, 2, "inductive")
    assert row["gallery_level"] == "w13-exponential3"
    assert table["top1_chance"].unique() == pytest.approx([1 / N_TEST])
    ranks = pd.read_csv(tmp_path / "intra-subject/sub-02/ubp/seed-1/ranks.csv").set_index("image")
    assert ranks.loc[list(test.images), "rank"].tolist() == rank.tolist()
    assert (ranks.query("rank == 1")["best_1"] == ranks.query("rank == 1").index).all()
    summary = results.summary().set_index("method")
    assert summary.loc["ubp", "top1"] == pytest.approx(table.loc["ubp"]["top1"].mean())
    assert summary.loc["ubp", "top1_low"] <= summary.loc["ubp", "top1"] <= summary.loc["ubp", "top1_high"]
    assert list(summary.index) == ["ridge", "ubp"]
    comparison = results.comparisons().iloc[0]
    assert (comparison["method"], comparison["against"]) == ("ubp", "ridge")
    assert comparison["difference"] == pytest.approx(summary.loc["ubp", "top1"] - summary.loc["ridge", "top1"])


def test_single_trials_and_a_choice_of_repetitions(tiny, store, tmp_path):
    train(tiny, store, Job("sub-01", BLUR, OPTIONS), tmp_path)
    single = evaluate(tmp_path, store, average=False, ridge=False).table.iloc[0]
    assert (single["queries"], single["gallery_size"], single["repetitions"]) == (2 * N_TEST, N_TEST, 1)
    one = evaluate(tmp_path, store, repetitions=1, ridge=False).table.iloc[0]
    assert (one["queries"], one["repetitions"]) == (N_TEST, 1)
    with pytest.raises(InputError, match="sub-01"):
        evaluate(tmp_path, store, repetitions=3)


def test_k_or_n_larger_than_the_gallery_is_refused(tiny, store, tmp_path):
    train(tiny, store, Job("sub-01", BLUR, OPTIONS), tmp_path)
    with pytest.raises(InputError, match="k is 13, but the gallery has 12 images"):
        evaluate(tmp_path, store, k=13)
    with pytest.raises(InputError, match="n is 50, but the gallery has 12 images"):
        evaluate(tmp_path, store, n_way=(50,))


def test_evaluating_with_another_study_or_without_models_is_refused(tiny, store, tmp_path):
    with pytest.raises(InputError, match="holds no trained model"):
        find_runs(tmp_path)
    train(tiny, store, Job("sub-01", BLUR, OPTIONS), tmp_path / "runs")
    other = make_study(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match="not the one the model of sub-01 was trained on"):
        evaluate(tmp_path / "runs", store, study=other)


COMMANDS = """
import sys
from pathlib import Path
from ubp.commands.training import train
from ubp.config import Common, TrainOptions
from ubp.cli import main
print("ready", flush=True)
out = Path(sys.argv[2])
options = TrainOptions(epochs=60, batch_size=8, learning_rate=1e-3)
train(Path(sys.argv[1]), out=out / "runs", presets=("ubp", "blur"), width=13, subjects=("sub-01",), options=options,
      checkpoint_every=0, common=Common(store=Path(sys.argv[3]), quiet=True))
main(["evaluate", str(out / "runs"), "--store", sys.argv[3], "--quiet"])
"""


def test_kill_9_ten_times_ends_in_the_same_bytes(tiny_folder, tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    store = str(tmp_path / "features")

    def start(out):
        arguments = [sys.executable, "-c", COMMANDS, str(tiny_folder), str(tmp_path / out), store]
        return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def work(process):
        assert process.stdout.readline() == b"ready\n", process.stderr.read().decode()
        return time.monotonic()

    process = start("whole")
    begin = work(process)
    assert process.wait(300) == 0, process.stderr.read().decode()
    duration = time.monotonic() - begin
    random.seed(0)
    for _ in range(10):
        process = start("killed")
        work(process)
        time.sleep(random.uniform(0.02, 0.18) * duration)
        assert process.poll() is None, "it finished before it was killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
    process = start("killed")
    assert process.wait(300) == 0, process.stderr.read().decode()
    whole, killed = contents(tmp_path / "whole"), contents(tmp_path / "killed")
    assert set(killed) == set(whole)
    assert all(killed[name] == whole[name] for name in whole)
    assert "checkpoint" not in "".join(whole)
    assert json.loads(whole["runs/intra-subject/sub-01/ubp/seed-0/model.json"])["options"]["epochs"] == 60


def test_training_on_single_trials_takes_every_trial_and_is_another_model(tiny, store, tmp_path):
    single = Job("sub-01", BLUR, replace(OPTIONS, epochs=1, average_training=False))
    folder = train(tiny, store, single, tmp_path)
    assert Model.load(folder).description.n_pairs == 2 * N_TRAIN
    trials = single.trials(tiny, "train")
    assert (trials.repetitions == 1).all()
    assert len(single.trials(tiny, "test")) == N_TEST  # queries are averaged as the evaluation asks
    with pytest.raises(InputError, match="of other options"):
        train(tiny, store, replace(single, options=replace(OPTIONS, epochs=1)), tmp_path)
