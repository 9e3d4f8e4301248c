"""Logs are read back with the libraries that wrote them, and hold what history.csv holds."""

import importlib
import struct
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ubp.cli import main
from ubp.config import TrainOptions
from ubp.data.study import Study
from ubp.described import settings_of
from ubp.description import Description
from ubp.errors import InputError, UbpError
from ubp.experiment import train
from ubp.images.encoders import image_encoder
from ubp.images.features import FeatureStore
from ubp.job import Job
from ubp.logging import LOGGERS, TrainingLog, open_loggers
from ubp.logging.base import Logger
from ubp.presets import preset

OPTIONS = TrainOptions(epochs=6, batch_size=20, learning_rate=1e-3, validation_concepts=8)
BLUR = preset("ubp", 13, 6)
JOB = Job("sub-01", BLUR, OPTIONS)
NOT_IN_THE_HISTORY = {"learning_rate", "temperature", "seconds"}


@pytest.fixture(scope="module")
def store(tiny_folder, tmp_path_factory):
    study = Study.open(tiny_folder)
    root = tmp_path_factory.mktemp("features")
    return FeatureStore.build(
        study.image_folder, study.images(), image_encoder("gabor"), BLUR.ladder, root=root, quiet=True
    )


@pytest.fixture(scope="module")
def unlogged(tiny_folder, store, tmp_path_factory):
    return train(Study.open(tiny_folder), store, JOB, tmp_path_factory.mktemp("unlogged"))


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")


class Stop(Exception):
    pass


def stop_after(epochs):
    def after_epoch(trainer):
        if trainer.epoch == epochs:
            raise Stop

    return after_epoch


def tensorboard_points(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (place,) = {path.parent for path in folder.rglob("events.out.tfevents.*")}
    assert place == folder / "tensorboard" / JOB.folder
    events = EventAccumulator(str(place)).Reload()
    for tag in ("settings/text_summary", "model/text_summary"):
        assert tag in events.Tags()["tensors"]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def mlflow_points(folder):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("ubp").experiment_id])
    assert run.info.run_name == JOB.folder.as_posix()
    assert run.info.status == "FINISHED"
    assert run.data.params["preset ladder"] == ", ".join(level.name for level in BLUR.ladder)
    assert Path(run.data.tags["ubp.model"]).name == "seed-0"
    history = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    return {name: [(point.step, point.value) for point in points] for name, points in history.items()}


def records(path):
    """Protocol buffers of a .wandb file, which is a log in the format of LevelDB behind a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    data, place, part = path.read_bytes(), 7, b""
    while place < len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        part += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield wandb_internal_pb2.Record.FromString(part)
            part = b""


def wandb_points(folder):
    import json

    found, identifiers = {}, set()
    for path in sorted(folder.rglob("*.wandb"), key=lambda path: path.stat().st_mtime):
        identifiers.add(path.stem)
        for record in records(path):
            if record.WhichOneof("record_type") != "history":
                continue
            values = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            assert values["epoch"] == record.history.step.num
            for name, value in values.items():
                if name != "epoch" and not name.startswith("_"):
                    found.setdefault(name, []).append((values["epoch"], value))
    assert len(identifiers) == 1
    assert not list(folder.rglob("*.json"))
    return found


READERS = {
    "tensorboard": (tensorboard_points, np.float32),
    "mlflow": (mlflow_points, float),
    "wandb": (wandb_points, float),
}


def check(folder, model, name, first_whole=1):
    """All epochs once, with the values of history.csv; what the history lacks, from `first_whole` on."""
    reader, kind = READERS[name]
    points, history = reader(folder), pd.read_csv(model / "history.csv")
    epochs = history["epoch"].tolist()
    assert {"loss", "less", "base", "more", "validation_mrr"} <= set(history)
    assert set(points) == set(history) - {"epoch"} | NOT_IN_THE_HISTORY
    for column in set(history) - {"epoch"}:
        assert points[column] == [(e, float(kind(value))) for e, value in zip(epochs, history[column], strict=True)]
    assert points["learning_rate"] == [(epoch, float(kind(1e-3))) for epoch in epochs]
    for column in ("temperature", "seconds"):
        assert [epoch for epoch, _ in points[column]] == [epoch for epoch in epochs if epoch >= first_whole]
        assert all(value > 0 for _, value in points[column])


def same_model(one, other):
    for name in ("model.safetensors", "history.csv", "model.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_every_logger_has_a_reader_here():
    assert set(LOGGERS) == set(READERS)
    assert all(logger.name == name for name, logger in LOGGERS.items())


@pytest.mark.parametrize("name", LOGGERS)
def test_a_log_holds_the_history_though_it_ran_ahead_of_the_checkpoint(name, tiny, store, unlogged, tmp_path):
    """Stopped after 2 epochs with a checkpoint, then after 5 without one, then finished; the model is the same."""
    for epochs, every in ((2, 0), (5, 1e9)):
        log = open_loggers([name], None, tmp_path)
        with pytest.raises(Stop):
            train(tiny, store, JOB, tmp_path, checkpoint_every=every, after_epoch=stop_after(epochs), log=log)
    model = train(tiny, store, JOB, tmp_path, log=open_loggers([name], None, tmp_path))
    check(tmp_path / "logs", model, name)
    same_model(model, unlogged)


def test_epochs_before_the_log_was_asked_for_are_told_too(tiny, store, unlogged, tmp_path):
    with pytest.raises(Stop):
        train(tiny, store, JOB, tmp_path / "runs", checkpoint_every=0, after_epoch=stop_after(3))
    log = open_loggers(["tensorboard"], str(tmp_path / "there"), tmp_path / "runs")
    model = train(tiny, store, JOB, tmp_path / "runs", log=log)
    check(tmp_path / "there", model, "tensorboard", first_whole=4)
    same_model(model, unlogged)
    assert not (tmp_path / "runs" / "logs").exists()


def test_the_same_run_made_anew_has_a_log_of_its_own(tiny, store, tmp_path):
    import shutil

    for _ in range(2):
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
        log = open_loggers(["tensorboard", "wandb"], str(tmp_path / "there"), tmp_path / "runs")
        model = train(tiny, store, JOB, tmp_path / "runs", log=log)
    check(tmp_path / "there", model, "tensorboard")
    assert len({path.stem for path in tmp_path.rglob("*.wandb")}) == 2


class Failing(Logger):
    name, fails_in = "failing", 3

    def load(self):
        self.calls, self.begun = [], 0

    def begin(self, run):
        self.begun += 1
        return 1

    def __call__(self, epoch, values):
        self.calls.append(epoch)
        if epoch == self.fails_in:
            raise ConnectionError("the server is away.\nReally")

    def end(self, model):
        raise AssertionError("it is not called again")


def test_a_logger_that_fails_warns_once_and_training_goes_on(tiny, store, unlogged, tmp_path, capsys):
    failing = Failing(tmp_path)
    log = TrainingLog([failing, *open_loggers(["tensorboard"], None, tmp_path).loggers])
    model = train(tiny, store, JOB, tmp_path, log=log)
    train(tiny, store, replace(JOB, seed=1), tmp_path, log=log)
    printed = capsys.readouterr().out
    assert printed.count("Logging to failing failed (the server is away); training goes on without it.\n") == 1
    assert len(printed.splitlines()) == 1
    assert (failing.calls, failing.begun) == ([1, 2, 3], 1)
    same_model(model, unlogged)
    assert (tmp_path / "logs/tensorboard" / replace(JOB, seed=1).folder).is_dir()


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_server_that_is_away_costs_a_warning(name, tiny, store, unlogged, tmp_path, capsys, monkeypatch):
    """MLflow's does not answer, and that of W&B was never logged in to."""
    import wandb

    wandb.teardown()  # it reads the environment once
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("WANDB_API_KEY", "NETRC"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    model = train(tiny, store, JOB, tmp_path, log=open_loggers([name], "http://127.0.0.1:9", tmp_path))
    wandb.teardown()
    printed = capsys.readouterr().out
    assert printed.count(f"Logging to {name} failed (") == 1
    assert printed.endswith("; training goes on without it.\n")
    assert len(printed.splitlines()) == 1
    same_model(model, unlogged)


def test_a_log_in_an_unwritable_place_costs_a_warning(tiny, store, unlogged, tmp_path, capsys):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/tensorboard").write_text("a file")
    same_model(train(tiny, store, JOB, tmp_path, log=open_loggers(["tensorboard"], None, tmp_path)), unlogged)
    assert "Logging to tensorboard failed (" in capsys.readouterr().out


def test_the_command_logs_every_model_and_nothing_unless_asked(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("UBP_CACHE", str(tmp_path / "features"))
    options = ["--preset", "vanilla", "ubp", "--epochs", "2", "--batch-size", "20", "--width", "13", "--quiet"]
    for out, more in (("plain", []), ("logged", ["--log", "tensorboard", "--log-to", str(tmp_path / "there")])):
        with pytest.raises(SystemExit) as stop:
            main(["train", str(tiny_folder), "--subject", "sub-01", "--out", str(tmp_path / out), *options, *more])
        assert not stop.value.code
    folders = {path.parent for path in tmp_path.rglob("events.out.tfevents.*")}
    where = tmp_path / "there/tensorboard/intra-subject/sub-01"
    assert folders == {where / "vanilla/seed-0", where / "ubp/seed-0"}
    for preset_name in ("vanilla", "ubp"):
        run = Path("intra-subject/sub-01", preset_name, "seed-0")
        same_model(tmp_path / "plain" / run, tmp_path / "logged" / run)


def test_settings_are_flat_and_hold_no_place_of_this_machine(unlogged, tiny_folder):
    settings = settings_of(Description.read(unlogged))
    assert settings["learning rate"] == 1e-3
    assert settings["preset name"] == "ubp"
    assert {"trained with ubp", "trained with torch", "seed", "channels"} <= set(settings)
    assert not any(isinstance(value, dict) for value in settings.values())
    assert str(tiny_folder) not in str(settings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--log", "tensorbord"], "did you mean 'tensorboard'?"),
        (["--log-to", "there"], "--log-to there is given without a logger"),
        (
            ["--log", "tensorboard", "--log-to", "http://there"],
            "tensorboard cannot log to http://there; give --log-to a",
        ),
        (["--log", "wandb", "--log-to", "sqlite:///x.db"], "an address that begins with one of http, https"),
        (["--log", "mlflow", "--log-to", "FILE"], "is a file; expected a folder for logs"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_is_made(arguments, message, tiny_folder, tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("x")
    given = [str(file) if word == "FILE" else word for word in arguments]
    with pytest.raises(SystemExit) as stop:
        main(["train", str(tiny_folder), "--out", str(tmp_path / "runs"), *given])
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.startswith("ubp: ")
    assert message in error
    assert len(error.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


@pytest.mark.parametrize("name", LOGGERS)
def test_a_missing_library_is_an_error_with_the_extra(name, tmp_path, monkeypatch):
    library = "torch.utils.tensorboard" if name == "tensorboard" else name
    importlib.import_module(library)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UbpError, match=rf"pip install 'ubp\[{name}\]'\.$") as error:
        open_loggers([name], None, tmp_path)
    assert not isinstance(error.value, InputError)
    assert not list(tmp_path.iterdir())
