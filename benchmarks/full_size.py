"""What the methods take at the full size of THINGS-EEG2: time of an epoch, and memory, projected to the whole run.

`python benchmarks/full_size.py` makes 16540 random trials of 63 channels and 250 samples and image embeddings of 1024
numbers, lets each method take a few of its published steps in a process of its own, and prints the time of an epoch
(best of the steps, times their number), of all published epochs, and the peak memory. `--subjects 9` is the
inter-subject setting, `--channels 17` the posterior channels. Nothing is learned from random numbers; only the cost is
real. Reading the study and embedding the images come on top, see load_study.py and features.py.
"""

import argparse
import math
import resource
import subprocess
import sys
import time

import torch
from rich.console import Console

from ubp.config import SETTINGS
from ubp.device import pick_device
from ubp.fit import Pairs, Trainer
from ubp.methods import METHODS, method, method_preset
from ubp.tables import table

N_IMAGES, N_TIMES, EMBED_DIM = 16540, 250, 1024


def measure(name: str, n_channels: int, n_subjects: int, n_steps: int, device: torch.device) -> tuple[float, ...]:
    """Seconds an epoch, published epochs, parameters, and peak memory in GB of this process."""
    options, preset = method(name).train_options(SETTINGS[n_subjects > 1]), method_preset(name)
    ladder = torch.nn.functional.normalize(torch.randn(len(preset.ladder), N_IMAGES, EMBED_DIM), dim=-1)
    signals = torch.empty(n_subjects * N_IMAGES, n_channels, N_TIMES).normal_()
    image = torch.arange(N_IMAGES).repeat(n_subjects)
    subject = torch.arange(n_subjects).repeat_interleave(N_IMAGES)
    trainer = Trainer(Pairs(signals, image, ladder, subject, 250.0), preset, options, device=device)
    trainer.encoder.train()
    seconds = []
    for number in range(n_steps + 1):  # the first one warms up
        batch = torch.randint(len(image), (options.batch_size,), device=device)
        start = time.perf_counter()
        float(trainer._step(batch))
        seconds.append(time.perf_counter() - start if number else math.inf)
    epoch = min(seconds) * len(image) / options.batch_size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated() / 1e9
    return epoch, options.epochs, sum(weights.numel() for weights in trainer.encoder.parameters()), peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--channels", type=int, default=63)
    parser.add_argument("--subjects", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--device")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    device = pick_device(arguments.device)
    if arguments.one:
        print(*measure(arguments.methods[0], arguments.channels, arguments.subjects, arguments.steps, device))
        return
    rows = []
    for name in arguments.methods:
        command = [sys.executable, __file__, *sys.argv[1:], "--methods", name, "--one"]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        epoch, epochs, count, peak = map(float, found)
        minutes = f"{epoch * epochs / 60:.0f}"
        rows.append((name, f"{count:,.0f}", f"{epoch:.1f}", f"{epochs:.0f}", minutes, f"{peak:.1f}"))
    header = ("method", "parameters", "s an epoch", "epochs", "min a model", "memory GB")
    title = f"{arguments.subjects} x {N_IMAGES} x {arguments.channels} x {N_TIMES} on {device}"
    Console(width=100).print(table(f"{title}, {torch.get_num_threads()} threads", header, rows))


if __name__ == "__main__":
    main()
