"""A grid on a Ray cluster of two nodes: a worker is killed, then its driver, and nothing is lost or run twice."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest
import torch
from safetensors.torch import load_file

from reproduced import small
from test_cli import refused
from ubp.config import Common
from ubp.errors import InputError, UbpError
from ubp.grid import Experiment, run_grid
from ubp.grid.jobs import Machines
from ubp.grid.table import TABLE
from ubp.reproduce.setup import Choices

EXPERIMENT = Experiment(
    presets=("blur", "ubp"),
    width=13,
    seeds=(0, 1, 2),
    options={"epochs": 25, "batch_size": 8, "learning_rate": 1e-3},
    ridge=False,
)
DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[5])
from test_grid_on_ray import EXPERIMENT
from ubp.config import Common
from ubp.grid import run_grid
study, out, address, store = sys.argv[1:5]
common = Common(store=Path(store), quiet=True, device="cpu")
run_grid(Path(study), EXPERIMENT, Path(out), address=address, cpus=1, checkpoint_every=0, common=common)
"""


def records(out):
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("cell.json")}


def wait_for(what, process, seconds=120):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert process.poll() is None, "the driver ended before it was killed"
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.02)
    return found


def kill_a_worker():
    """Kill a process that is at a unit, if there is one right now."""
    for process in psutil.Process().children(recursive=True):
        try:
            if process.name().startswith("ray::run_unit"):
                os.kill(process.pid, signal.SIGKILL)
                return process.pid
        except (psutil.Error, ProcessLookupError):
            continue
    return None


def test_killed_worker_and_driver(two_nodes, tiny_folder, tmp_path, monkeypatch):
    out, store = tmp_path / "grid", tmp_path / "features"

    def start():
        tests = os.path.dirname(__file__)  # noqa: PTH120
        arguments = [sys.executable, "-c", DRIVER, tiny_folder, out, two_nodes, store, tests]
        return subprocess.Popen(list(map(str, arguments)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    driver = start()
    try:
        wait_for(lambda: len(records(out)) >= 1, driver)
        assert wait_for(kill_a_worker, driver)
        wait_for(lambda: len(records(out)) >= 5, driver)
    finally:
        driver.kill()
        driver.wait()
    before = records(out)
    assert 5 <= len(before) < 12
    driver = start()
    assert driver.wait(300) == 0, driver.stderr.read().decode()
    after = records(out)
    assert len(after) == 12
    assert all(after[name] == content for name, content in before.items())
    table = pd.read_parquet(out / TABLE)
    assert len(table) == table["cell"].nunique() == 12
    common = Common(store=store, quiet=True, device="cpu")
    alone = run_grid(tiny_folder, EXPERIMENT, tmp_path / "here", address="here", cpus=1, common=common)
    assert table.drop(columns="seconds").equals(alone.drop(columns="seconds"))


def test_more_than_any_machine_has(two_nodes, tiny_folder, tmp_path, capsys):
    command = ("grid", tiny_folder, "--out", tmp_path / "grid", "--address", two_nodes, "--quiet")
    assert "has the 3 cores and 0 GPUs" in refused(capsys, *command, "--cpus", 3)
    assert "and 0.5 GPUs that a run asks for" in refused(capsys, *command, "--gpus", 0.5)
    assert not (tmp_path / "grid" / TABLE).exists()


def test_models_of_a_reproduction_are_those_of_one_process(two_nodes, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    choices = Choices(subjects=("sub-01",), seeds=(0, 1), methods=("vanilla", "ubp"))
    for name, machines in (("here", Machines()), ("ray", Machines(two_nodes))):
        small("table1", tmp_path / name, choices, machines=machines)
    weights = [sorted((tmp_path / name).rglob("model.safetensors")) for name in ("here", "ray")]
    assert len(weights[0]) == len(weights[1]) == 8
    for here, there in zip(*weights, strict=True):
        mine, theirs = load_file(here), load_file(there)
        for tensor in mine:
            torch.testing.assert_close(theirs[tensor], mine[tensor], rtol=1e-5, atol=1e-6)
    tables = [pd.read_csv(tmp_path / name / "table1.csv") for name in ("here", "ray")]
    pd.testing.assert_frame_equal(*tables)
    before = {path: path.stat().st_mtime_ns for path in weights[1]}
    small("table1", tmp_path / "ray", choices, machines=Machines(two_nodes))
    assert {path: path.stat().st_mtime_ns for path in weights[1]} == before


def test_a_model_that_fails_on_ray_is_named_and_the_others_stay(two_nodes, tmp_path):
    choices = Choices(subjects=("sub-01",), seeds=(0,), methods=("vanilla", "ubp"), settings=("intra-subject",))
    small("table1", tmp_path, choices, machines=Machines(two_nodes))
    broken = next(tmp_path.rglob("ubp/seed-0/model.safetensors"))
    broken.write_bytes(b"")
    (broken.parent / "model.json").unlink()
    (broken.parent / "checkpoint.safetensors").write_bytes(b"no tensors")
    with pytest.raises(UbpError, match=r"1 of 1 models failed, the first one, intra-subject/sub-01/ubp/seed-0, with: "):
        small("table1", tmp_path, choices, machines=Machines(two_nodes))
    assert next(tmp_path.rglob("vanilla/seed-0/model.safetensors")).exists()


@pytest.mark.parametrize(
    ("machines", "hint"),
    [({"address": "127.0.0.1:1"}, "No Ray answers at '127.0.0.1:1'"), ({"cpus": 1.5}, "1.5 cores")],
)
def test_machines_that_are_not_there(tmp_path, machines, hint):
    with pytest.raises(InputError, match=hint):
        small("figure3", tmp_path, Choices(subjects=("sub-01",)), machines=Machines(**machines))
