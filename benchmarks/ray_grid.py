"""A grid of 200 small cells by a Ray cluster of two nodes on this machine, whose worker and driver are killed midway.

`ray start` is called twice, then `ubp grid` as a user would. One worker is killed by SIGKILL when 30 cells are done,
the command itself when 80 are; it is then run again, and its table is compared with that of one process.

Run: python benchmarks/ray_grid.py
"""

import argparse
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import psutil

from ray_store import UBP, ray, stop_ray
from ubp.data.simulated import Simulation, simulate
from ubp.grid.record import RECORD
from ubp.grid.table import TABLE

PRODUCT = (
    *("--preset", "vanilla", "grayscale", "uniform-blur", "blur", "ubp", "--width", "13", "--no-ridge"),
    *("--seed", *map(str, range(10)), "--epochs", "5", "--batch-size", "64", "--vary", "learning_rate=1e-3,3e-4"),
)
CELLS = 5 * 10 * 2 * 2


def records(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob(RECORD)}


def kill_a_worker() -> int:
    """Kill a process at a unit; 0 when there is none right now."""
    for process in psutil.process_iter(["name"]):
        if (process.info["name"] or "").startswith("ray::run_unit"):
            os.kill(process.pid, signal.SIGKILL)
            return process.pid
    return 0


def grid(study: Path, out: Path, *options: str) -> "subprocess.Popen[bytes]":
    store = ("--store", str(out.parent / "features"))
    command = [UBP, "grid", str(study), "--out", str(out), *store, "--device", "cpu", "--cpus", "1", "--quiet"]
    return subprocess.Popen([*command, *PRODUCT, *options], stdout=subprocess.DEVNULL)


def finish(run: "subprocess.Popen[bytes]") -> None:
    if run.wait():
        sys.exit("ubp grid failed")


def until(out: Path, number: int, run: "subprocess.Popen[bytes]") -> None:
    while len(records(out)) < number:
        if run.poll() is not None:
            sys.exit("ubp grid ended before it was killed")
        time.sleep(0.02)


def with_kills(study: Path, out: Path, address: str) -> None:
    run = grid(study, out, "--address", address)
    until(out, 30, run)
    while not (worker := kill_a_worker()):
        time.sleep(0.01)
    print(f"killed worker {worker} when {len(records(out))} of {CELLS} cells were done", flush=True)
    until(out, 80, run)
    run.kill()
    run.wait()
    before = records(out)
    print(f"killed the driver when {len(before)} were done", flush=True)
    start = time.perf_counter()
    finish(grid(study, out, "--address", address))
    after = records(out)
    print(f"the rest by the same command: {time.perf_counter() - start:.1f} s", flush=True)
    kept = sum(after.get(name) == content for name, content in before.items())
    print(f"records of finished cells that are the same bytes: {kept} of {len(before)}")


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    # the cluster asks everyone for a token that is made here and forgotten with it
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    port = "46380"
    with tempfile.TemporaryDirectory() as place:
        study = Path(place) / "study"
        sizes = Simulation(n_subjects=2, n_concepts=40, images_per_concept=2, n_test=20)
        simulate(study, sizes, quiet=True)
        session = tempfile.mkdtemp(prefix="ray")
        common = ("--num-cpus", "1", "--object-store-memory", "200000000")
        ray("start", "--head", "--port", port, "--include-dashboard", "false", "--temp-dir", session, *common)
        try:
            ray("start", "--address", f"127.0.0.1:{port}", *common)
            with_kills(study, Path(place) / "ray", f"127.0.0.1:{port}")
        finally:
            stop_ray(session)
            shutil.rmtree(session, ignore_errors=True)
        start = time.perf_counter()
        finish(grid(study, Path(place) / "here", "--address", "here"))
        print(f"one process: {time.perf_counter() - start:.1f} s", flush=True)
        found, alone = (pd.read_parquet(Path(place) / name / TABLE).drop(columns="seconds") for name in ("ray", "here"))
        print(
            f"{len(found)} rows, {found['cell'].nunique()} different cells; equal to one process: {found.equals(alone)}"
        )


if __name__ == "__main__":
    main()
