"""How fast an epoch is at full THINGS-EEG2 size, against the matrix-product rate of this machine in the same run.

`python benchmarks/train_speed.py` prints: the float32 rate of the products an epoch consists of, the epoch's useful
arithmetic as a share of it, the gain of bf16, the share of time the prior takes, and the peak memory.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import torch

from ubp.config import TrainOptions
from ubp.device import pick_device
from ubp.fit import Pairs, Trainer
from ubp.presets import Preset, preset


def epoch_arithmetic(n_pairs: int, n_features: int, embed_dim: int, batch_size: int) -> float:
    """Floating-point operations of the matrix products of an EEGProject epoch.

    First layer: forward and weight gradient. Second layer: forward, weight and input gradient. Similarity matrix:
    forward and the gradient of the brain side. The image side is frozen and the signals need no gradient.
    """
    full, last = divmod(n_pairs, batch_size)
    squares = full * batch_size**2 + last**2
    return 2 * (n_pairs * embed_dim * (2 * n_features + 3 * embed_dim) + 2 * squares * embed_dim)


def product_rate(rows: int, inner: int, columns: int, device: torch.device, seconds: float = 1.0) -> float:
    """Floating-point operations a second of one float32 matrix product."""
    a, b = torch.randn(rows, inner, device=device), torch.randn(inner, columns, device=device)
    out = torch.empty(rows, columns, device=device)
    rates = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(rates) < 3:
        rates.append(2 * rows * inner * columns / timed(lambda: torch.mm(a, b, out=out), device))
    return median(rates)


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that `work` takes, the device's queue included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=16540)
    parser.add_argument("--channels", type=int, default=17)
    parser.add_argument("--times", type=int, default=250)
    parser.add_argument("--embed-dim", type=int, default=1024)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--encoder", default="eegproject")
    parser.add_argument("--device")
    parser.add_argument("--precision", nargs="*", default=["fp32", "bf16"])
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.peak:  # first, because a child's peak memory starts from its parent's
        for precision in arguments.precision:
            command = [sys.executable, __file__, "--peak", precision, *sys.argv[1:]]
            print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="")
    device = pick_device(arguments.device)
    random = torch.Generator().manual_seed(0)
    shape = arguments.pairs, arguments.channels, arguments.times
    ladder = torch.randn(3, arguments.pairs, arguments.embed_dim, generator=random)
    ladder /= ladder.norm(dim=-1, keepdim=True)
    pairs = Pairs(torch.randn(shape, generator=random), torch.arange(arguments.pairs), ladder)
    options = TrainOptions(arguments.encoder, batch_size=arguments.batch_size, epochs=1)

    def trainer(blur: Preset, precision: str, data: Pairs) -> Trainer:
        return Trainer(data, blur, replace(options, precision=precision, epochs=10**6), device=device)

    if arguments.peak:
        run = trainer(preset("ubp"), arguments.peak, pairs)
        if arguments.peak == "bf16":
            del pairs, ladder
        run.run_epoch()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"ubp   {arguments.peak}: peak memory of a process that makes the data and trains an epoch: {peak:.2f} GB"
        )
        return
    inner = arguments.channels * arguments.times
    ubp, fixed = preset("ubp"), preset("blur")
    fixed_pairs = Pairs(pairs.signals, pairs.image, pairs.ladder[1:2])
    runs = {
        (name, precision): trainer(blur, precision, data)
        for precision in arguments.precision
        for name, blur, data in (("ubp", ubp, pairs), ("fixed", fixed, fixed_pairs))
    }
    times: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    rates = []
    for _ in range(arguments.epochs + 1):
        rates.append(product_rate(arguments.batch_size, inner, arguments.embed_dim, device))
        for key, run in runs.items():
            times[key].append(timed(run.run_epoch, device))
    seconds = {key: median(values[1:]) for key, values in times.items()}
    rate = median(rates)
    arithmetic = epoch_arithmetic(arguments.pairs, inner, arguments.embed_dim, arguments.batch_size)
    print(
        f"device {device}, {torch.get_num_threads()} threads, {arguments.pairs} x {arguments.channels} x "
        f"{arguments.times} -> {arguments.embed_dim}, batch {arguments.batch_size}, {arguments.encoder}"
    )
    print(
        f"float32 matrix product ({arguments.batch_size} x {inner} by {arguments.embed_dim}): {rate / 1e9:.0f} GFLOP/s"
    )
    for (name, precision), value in seconds.items():
        share = f", {arithmetic / value / rate:.0%} of the float32 rate" if arguments.encoder == "eegproject" else ""
        print(f"{name:5s} {precision}: {value:.2f} s an epoch{share}")
    if {"fp32", "bf16"} <= set(arguments.precision):
        print(f"bf16 is {seconds['ubp', 'fp32'] / seconds['ubp', 'bf16']:.2f} x faster")
    for precision in arguments.precision:
        steps = -(-arguments.pairs // arguments.batch_size)
        prior = runs["ubp", precision].prior
        assert prior is not None
        batch = torch.randperm(arguments.pairs, generator=random)[: arguments.batch_size].to(device)
        values = torch.randn(len(batch), device=device)
        cost = median(
            timed(lambda b=batch, v=values, p=prior: (p.levels(b), p.update(b, v)), device) for _ in range(50)
        )
        print(f"prior {precision}: {steps * cost / seconds['ubp', precision]:.2%} of an epoch (its own calls)")


if __name__ == "__main__":
    main()
