"""A feature store by a Ray cluster of two nodes on this machine, one worker killed midway, beside that of one process.

`ray start` is called twice, then `ubp features --ray` twice as a user would (once whole, once with a worker killed by
SIGKILL when a quarter of the images is merged), then without Ray; the three stores are compared byte by byte.

Run: python benchmarks/ray_store.py [--images 5000]
"""

import argparse
import io
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from PIL import Image

from ubp.data.study import RecordingData, StudyInfo, create_study
from ubp.images.scenes import scene

RAY = str(Path(sys.executable).with_name("ray"))
UBP = str(Path(sys.executable).with_name("ubp"))
SIDE = 64


def jpeg(concept: int, image: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(scene(concept, image, SIDE)).save(buffer, "jpeg")
    return buffer.getvalue()


def make_study(folder: Path, n: int) -> None:
    names = [f"{i:05d}.jpg" for i in range(n)]
    trials = pd.DataFrame(
        {
            "image": names,
            "concept": [f"concept{i:05d}" for i in range(n)],
            "split": ["train"] * (n - 1) + ["test"],
            "repetition": 1,
            "session": 1,
        }
    )
    channels = pd.DataFrame({"name": ["C0"], "type": "eeg"})
    signals = np.zeros((n, 1, 2), np.float32)
    info = StudyInfo("benchmark", "simulated", sfreq=250.0, tmin=0.0)
    create_study(
        folder, info, [RecordingData("sub-01", signals, trials, channels)], lambda name: jpeg(int(name[:5]), 0)
    )


def merged(store: Path) -> int:
    """Images that the driver has merged so far."""
    for record in store.rglob("progress.json"):
        try:
            return min(json.loads(record.read_text()).values())
        except (OSError, ValueError):
            return 0
    return 0


def kill_a_worker() -> int:
    """Kill a process at the task; 0 when there is none right now."""
    for process in psutil.process_iter(["name"]):
        if (process.info["name"] or "").startswith("ray::_compute"):
            os.kill(process.pid, signal.SIGKILL)
            return process.pid
    return 0


def features(study: Path, store: Path, n: int, *options: str, kill: bool = False) -> float:
    start = time.perf_counter()
    command = [UBP, "features", str(study), "--store", str(store), "--device", "cpu", "--quiet", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as run:
        while kill and run.poll() is None:
            done = merged(store)
            if done >= n / 4 and (pid := kill_a_worker()):
                print(f"  killed worker {pid} when {done} of {n} images were merged", flush=True)
                break
            time.sleep(0.02)
        if run.wait():
            sys.exit("ubp features failed")
    return time.perf_counter() - start


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def ray(*arguments: str) -> None:
    subprocess.run([RAY, *arguments], check=True, stdout=subprocess.DEVNULL)


def stop_ray(session: str) -> None:
    """End the processes of this session; `ray stop` would end those of everybody."""
    ours = [p for p in psutil.process_iter(["cmdline"]) if any(session in word for word in p.info["cmdline"] or ())]
    for process in ours:
        process.terminate()
    _, left = psutil.wait_procs(ours, timeout=10)
    for process in left:
        process.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--port", default="46379")
    options = parser.parse_args()
    # the cluster asks everyone for a token that is made here and forgotten with it
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with tempfile.TemporaryDirectory() as place:
        study, stores = Path(place) / "study", Path(place)
        make_study(study, options.images)
        session = tempfile.mkdtemp(prefix="ray")
        common = ("--num-cpus", "1", "--object-store-memory", "200000000")
        ray("start", "--head", "--port", options.port, "--include-dashboard", "false", "--temp-dir", session, *common)
        try:
            ray("start", "--address", f"127.0.0.1:{options.port}", *common)
            address = ("--ray", f"127.0.0.1:{options.port}")
            for name, arguments, kill in (
                ("two nodes", address, False),
                ("two nodes, a worker killed", address, True),
                ("one process", (), False),
            ):
                took = features(study, stores / name, options.images, *arguments, kill=kill)
                print(f"{name}: {took:.1f} s", flush=True)
        finally:
            stop_ray(session)
            shutil.rmtree(session, ignore_errors=True)
        whole = contents(stores / "one process")
        for name in ("two nodes", "two nodes, a worker killed"):
            print(f"{name}: byte-identical to one process: {contents(stores / name) == whole}")
        print(f"{len(whole)} files, {sum(map(len, whole.values())) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
