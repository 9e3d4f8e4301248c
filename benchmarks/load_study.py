"""Load a study of THINGS-EEG2 size: time against reading the file, and peak memory.

    python benchmarks/load_study.py [--scale 1.0] [--order grouped|shuffled] [--cold] [--folder DIR]

Makes 16540 images x 4 repetitions x 63 channels x 250 samples in float16 (2.1 GB at scale 1), and a fresh process
opens the study and loads the averages of 17 channels. `read` is the file read into a 1 MiB buffer and dropped, with
one thread and with two, which is as fast as memory is; then the file is read into memory, as a program that uses it
must. Wall clock, best of three; peak memory is that of the whole process before that last step,
imports included, after all loads.
"""

import argparse
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from ubp.data.study import RecordingData, Study, StudyInfo, create_study

IMAGES, REPETITIONS, CHANNELS, TIMES = 16540, 4, 63, 250
N_TEST = 4
CHOICES = {
    "last 17 channels": [f"C{i:02d}" for i in range(46, 63)],
    "17 channels spread over 63": [f"C{i:02d}" for i in np.linspace(0, 62, 17).astype(int)],
}


def generate(
    folder: Path, scale: float, order: str, names: Sequence[str] | None = None, image_file: bytes = b"no pixels"
) -> None:
    rng = np.random.default_rng(0)
    n_images = max(8, round(IMAGES * scale))
    image = np.repeat(np.arange(n_images), REPETITIONS)
    repetition = np.tile(np.arange(REPETITIONS), n_images)
    if order == "shuffled":
        mixed = rng.permutation(len(image))
        image, repetition = image[mixed], repetition[mixed]
    trials = pd.DataFrame(
        {
            "image": [f"{i % 100:02d}/{i:05d}.png" for i in image],
            "concept": [f"concept{i:05d}" for i in image],
            "split": np.where(image < n_images - N_TEST, "train", "test"),
            "repetition": repetition,
            "session": 1,
        }
    )
    channels = pd.DataFrame({"name": names or [f"C{i:02d}" for i in range(CHANNELS)], "type": "eeg"})
    block = rng.standard_normal((1000, CHANNELS, TIMES)).astype(np.float16)

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(trials), len(block)):
            yield block[: len(trials) - start]

    info = StudyInfo("benchmark", "simulated", sfreq=250.0, tmin=0.0)
    create_study(folder, info, [RecordingData("sub-01", blocks(), trials, channels)], lambda name: image_file)


def read_file(path: Path, n_threads: int) -> None:
    size = path.stat().st_size
    edges = np.linspace(0, size, n_threads + 1).astype(int).tolist()

    def work(start: int, stop: int) -> None:
        buffer = memoryview(bytearray(1 << 20))
        with path.open("rb", buffering=0) as handle:
            handle.seek(start)
            while start < stop:
                start += handle.readinto(buffer[: stop - start]) or stop

    if n_threads == 1:
        work(0, size)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(work, edges[:-1], edges[1:]))


def forget(path: Path) -> None:
    """Drop the file from the page cache."""
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
        os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def best(run: Callable[[], object], before: Callable[[], object] | None = None) -> float:
    times = []
    for _ in range(3):
        if before:
            before()
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def measure(folder: Path, cold: bool) -> None:
    import_peak = peak()
    start = time.perf_counter()
    study = Study.open(folder)
    opened = time.perf_counter() - start
    recording = study.recording("sub-01")
    path = recording.path
    before = (lambda: forget(path)) if cold else None
    n_threads = 2  # the loader uses one to read and one to convert and sum
    read_file(path, 1)
    reading = {n: best(lambda n=n: read_file(path, n), before) for n in sorted({1, n_threads})}
    print(f"file {path.stat().st_size / 1e9:.2f} GB, {'cold' if cold else 'in the page cache'}; open {opened:.2f} s")
    print("; ".join(f"read and dropped, {n} threads: {seconds:.3f} s" for n, seconds in reading.items()))
    for name, channels in CHOICES.items():
        seconds = best(lambda channels=channels: recording.load(channels=channels), before)
        ratios = ", ".join(f"{seconds / value:.2f} x read with {n} threads" for n, value in reading.items())
        print(f"load {name}: {seconds:.3f} s = {ratios}")
    print(f"peak memory {peak():.2f} GB, of which imports {import_peak:.2f} GB")
    seconds_load = best(lambda: recording.load(channels=CHOICES["last 17 channels"]), before)
    seconds_read = best(lambda: np.fromfile(path, np.uint8), before)
    print(
        f"read into memory (np.fromfile): {seconds_read:.3f} s; load last 17 channels = "
        f"{seconds_load / seconds_read:.2f} x that"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--order", choices=("grouped", "shuffled"), default="grouped")
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--folder", type=Path, help="where to put the generated study; default a temporary folder")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.cold)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        folder = Path(place) / "study"
        start = time.perf_counter()
        # in a process of its own: on Linux a child's peak memory starts from its parent's
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            pool.apply(generate, (folder, options.scale, options.order))
        print(f"generated in {time.perf_counter() - start:.1f} s")
        arguments = ["--measure", str(folder)] + (["--cold"] if options.cold else [])
        subprocess.run([sys.executable, __file__, *arguments], check=True)


if __name__ == "__main__":
    main()
