"""Many models trained together beside one by one, on this CPU or on a GPU, and what a large experiment would take.

`python benchmarks/fit_together.py cpu` trains 20 models of several sizes and encoders both ways; the grid's rule
(`ubp.grid.units.pays`) is made from what it prints. `... cpu --full` takes whole epochs of 16540 x 17 x 250 -> 1024.

`python benchmarks/fit_together.py gpu` takes EEGProject at that size: models of 50 epochs per minute single and
together, beside what the products alone would take at the measured rate of a matrix product; then each of the paper's
five brain encoders, and from these the hours of 4 000 models, 800 of each.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from train_speed import epoch_arithmetic, product_rate
from ubp.config import TrainOptions
from ubp.fit import Trainer
from ubp.fit_together import TogetherTrainer
from ubp.grid.estimate import probe, timed_epochs
from ubp.grid.units import pays
from ubp.presets import preset

ENCODERS = ("eegproject", "shallownet", "deepnet", "eegnet", "tsconv")
EPOCHS = 50
MODELS = 4000
FULL = (16540, 17, 250)
DIM, BATCH = 1024, 1024

Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "process": time.process_time}


@dataclass(frozen=True)
class Size:
    """Shape of the training signals, batch size and embedding length."""

    name: str
    shape: tuple[int, int, int]
    batch_size: int
    dim: int


SIZES = (
    Size("tiny", (200, 6, 160), 50, 64),
    Size("small", (512, 17, 100), 128, 256),
    Size("demo", (1024, 17, 80), 256, 972),
    Size("medium", (1024, 17, 100), 512, 512),
    Size("full", (2048, 17, 250), BATCH, DIM),
)


def trainers(number: int, encoder: str, size: Size, precision: str, device: str) -> list[Trainer]:
    """Models of other seeds on the same pairs."""
    options = TrainOptions(encoder, batch_size=size.batch_size, precision=precision)
    first = probe(preset("ubp"), options, size.shape, size.dim, device)
    others = [Trainer(first.pairs, first.preset, first.options, seed, device=device) for seed in range(1, number)]
    return [first, *others]


def alone(number: int, encoder: str, size: Size, precision: str, device: str, repeats: int, clock: Clock) -> float:
    """Seconds of an epoch of one model, each of several models training alone."""
    runs = trainers(number, encoder, size, precision, device)

    def epoch() -> None:
        for run in runs:
            run.run_epoch()

    return min(timed_epochs(epoch, device, repeats, clock)) / number


def together(number: int, encoder: str, size: Size, precision: str, device: str, repeats: int, clock: Clock) -> float:
    """Seconds of an epoch of one model, all training together."""
    run = TogetherTrainer(trainers(number, encoder, size, precision, device))
    return min(timed_epochs(run.run_epoch, device, repeats, clock)) / number


def models_per_minute(seconds_per_epoch: float, epochs: int = EPOCHS) -> float:
    """Models of so many epochs in a minute."""
    return 60 / (epochs * seconds_per_epoch)


def limit(rate: float, size: Size, epochs: int = EPOCHS) -> float:
    """Models of EEGProject in a minute, if their matrix products were all there is; `rate` in operations a second."""
    n_pairs, n_channels, n_times = size.shape
    return models_per_minute(epoch_arithmetic(n_pairs, n_channels * n_times, size.dim, size.batch_size) / rate, epochs)


def projected_hours(seconds_per_epoch: Mapping[str, float], models: int = MODELS, epochs: int = EPOCHS) -> float:
    """Hours of so many models on one device, the same number of each encoder."""
    each = models / len(seconds_per_epoch)
    return sum(each * epochs * seconds for seconds in seconds_per_epoch.values()) / 3600


def cpu(models: int, encoders: Sequence[str], sizes: Sequence[Size], repeats: int, clock: str) -> None:
    print(
        f"{models} models, {torch.get_num_threads()} threads, milliseconds ({clock}) of a model's epoch, "
        f"best of {repeats}"
    )
    for size in sizes:
        for encoder in encoders:
            arguments = models, encoder, size, "fp32", "cpu", repeats, CLOCKS[clock]
            single, stacked = alone(*arguments), together(*arguments)
            chosen = pays("cpu", encoder, size.shape, size.dim)
            print(
                f"{size.name:7s} {'x'.join(map(str, size.shape)):13s} batch {size.batch_size:4d} -> {size.dim:4d} "
                f"{encoder:11s} alone {1e3 * single:9.2f}, together {1e3 * stacked:9.2f}: {single / stacked:5.2f} x; "
                f"the grid trains them {'together' if chosen else 'alone'}",
                flush=True,
            )


def gpu(models: int, precision: str, repeats: int) -> None:
    if not torch.cuda.is_available():
        sys.exit("There is no CUDA device here; run this mode on a machine with a GPU, or the mode `cpu`.")
    device, size = "cuda", Size("full", FULL, BATCH, DIM)
    print(f"{torch.cuda.get_device_name()}, {precision}, {models} models together, {EPOCHS} epochs")
    rate = product_rate(BATCH * models, FULL[1] * FULL[2], DIM, torch.device(device))
    best: dict[str, float] = {}
    for encoder in ENCODERS:
        single = alone(2, encoder, size, precision, device, repeats, time.perf_counter)
        stacked = together(models, encoder, size, precision, device, repeats, time.perf_counter)
        best[encoder] = min(single, stacked)
        print(
            f"{encoder:11s} alone {models_per_minute(single):7.1f} models a minute, together "
            f"{models_per_minute(stacked):7.1f}: {single / stacked:.2f} x",
            flush=True,
        )
        if encoder == "eegproject":
            print(f"float32 products alone, at {rate / 1e12:.1f} TFLOP/s: {limit(rate, size):.1f} models a minute")
    print(
        f"{MODELS} models, {MODELS // len(ENCODERS)} of each encoder: {projected_hours(best):.2f} hours, training alone"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=("cpu", "gpu"))
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--encoder", nargs="*", default=ENCODERS)
    parser.add_argument("--size", nargs="*", default=[size.name for size in SIZES])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall", help="process: own time, on a busy machine")
    options = parser.parse_args()
    if options.mode == "gpu":
        gpu(options.models, options.precision, options.repeats)
        return
    sizes = [Size("full", FULL, BATCH, DIM)] if options.full else [s for s in SIZES if s.name in options.size]
    cpu(options.models, options.encoder, sizes, options.repeats, options.clock)


if __name__ == "__main__":
    main()
