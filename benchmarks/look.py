"""Look at a study of THINGS-EEG2 size: time of the numbers and of the page, and peak memory.

    python benchmarks/look.py [--scale 1.0] [--order grouped|shuffled] [--folder DIR]

Makes one subject of 16540 images x 4 repetitions x 63 channels x 250 samples in float16 (2.1 GB at scale 1); a fresh
process reads its numbers and then writes the whole page, once each. Peak memory is that of the process, imports
included.
"""

import argparse
import io
import multiprocessing
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from load_study import generate, peak
from ubp.data.forward import CHANNELS
from ubp.data.study import Study
from ubp.look import write_look
from ubp.look.summary import summarise


def measure(folder: Path) -> None:
    study = Study.open(folder)
    recording = study.recording("sub-01")
    print(f"file {recording.path.stat().st_size / 1e9:.2f} GB; imports {peak():.2f} GB")
    start = time.perf_counter()
    summarise(recording)
    print(f"numbers: {time.perf_counter() - start:.1f} s, peak memory {peak():.2f} GB")
    start = time.perf_counter()
    page = write_look(folder.parent / "look.html", study)
    seconds, size = time.perf_counter() - start, page.stat().st_size / 1e6
    print(f"page: {seconds:.1f} s with the numbers, peak memory {peak():.2f} GB, {size:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--order", choices=("grouped", "shuffled"), default="grouped")
    parser.add_argument("--folder", type=Path, help="where to put the generated study; default a temporary folder")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure)
        return
    pixels = io.BytesIO()
    Image.new("RGB", (64, 64), "grey").save(pixels, "png")
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        folder = Path(place) / "study"
        # in a process of its own: on Linux a child's peak memory starts from its parent's
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            pool.apply(generate, (folder, options.scale, options.order, CHANNELS, pixels.getvalue()))
        subprocess.run([sys.executable, __file__, "--measure", str(folder)], check=True)


if __name__ == "__main__":
    main()
