"""Time of one blur level per image beside OpenCV's, and the largest difference; one thread each, runs interleaved.

OpenCV blurs the uint8 image at width 51, then NumPy blends in float32. The differences, in grey levels, are from OpenCV
on float32 images and, in brackets, on uint8 images, where OpenCV rounds its kernel to 1/256.

Run: python benchmarks/blur.py
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import torch

from ubp.images.blur import Blur, blur_ladder, fovea_weight
from ubp.presets import preset

WIDTH = 51
LADDER = {1: (Blur(WIDTH),), 3: preset("ubp").ladder}


def photographs(n: int, size: int, seed: int = 0) -> np.ndarray:
    """uint8 images (n, size, size, 3) of overlapping discs, slightly blurred like a photograph."""
    rng = np.random.default_rng(seed)
    images = np.zeros((n, size, size, 3), np.uint8)
    for image in images:
        for radius in size / rng.uniform(3, 50, 400):
            centre = tuple(int(x) for x in rng.integers(0, size, 2))
            cv2.circle(image, centre, max(1, int(radius)), tuple(int(x) for x in rng.integers(0, 256, 3)), -1)
        image[:] = cv2.GaussianBlur(image, (3, 3), 0)
    return images


def opencv(images: np.ndarray, crisp: np.ndarray, weight: np.ndarray, rest: np.ndarray) -> None:
    """uint8 blur, then the blend in float32; the crisp float32 image and both weights are given."""
    for pixels, image in zip(images, crisp, strict=True):
        weight * image + rest * cv2.GaussianBlur(pixels, (WIDTH, WIDTH), 0)


def measure(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each function; the functions take turns, so that a busy machine slows all alike."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(repeats + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def difference(images: np.ndarray, as_float: bool) -> float:
    """Largest difference in grey levels from OpenCV and the float32 blend, over the levels of the paper's ladder."""
    height, width = images.shape[1:3]
    weight = fovea_weight(height, width).numpy()[..., None]
    ours = blur_ladder(torch.from_numpy(images).permute(0, 3, 1, 2), preset("ubp").ladder).permute(0, 1, 3, 4, 2) * 255
    worst = 0.0
    for level, batch in zip(preset("ubp").ladder, ours.numpy(), strict=True):
        for pixels, result in zip(images, batch, strict=True):
            source = pixels.astype(np.float32) if as_float else pixels
            blurred = cv2.GaussianBlur(source, (level.width, level.width), 0)
            worst = max(worst, float(np.abs(weight * pixels + (1 - weight) * blurred - result).max()))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    print(
        f"{'pixels':>6} {'levels':>6} {'OpenCV ms':>9} {'ours ms/level':>13} {'ratio':>6} "
        f"{'max diff':>8} {'(uint8)':>8}"
    )
    for size in (224, 96):
        images = photographs(options.images, size)
        crisp = images.astype(np.float32)
        weight = fovea_weight(size, size).numpy()[..., None]
        tensor = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255).contiguous()
        functions: dict[str, Callable[[], object]] = {"opencv": partial(opencv, images, crisp, weight, 1 - weight)}
        for n, ladder in LADDER.items():
            functions[str(n)] = partial(blur_ladder, tensor, ladder)
        times = measure(functions, options.repeats)
        reference = times["opencv"] / options.images * 1e3
        for n in LADDER:
            ours = times[str(n)] / options.images / n * 1e3
            print(
                f"{size:>6} {n:>6} {reference:>9.3f} {ours:>13.3f} {ours / reference:>6.3f} "
                f"{difference(images, True):>8.3f} {difference(images, False):>8.3f}"
            )


if __name__ == "__main__":
    main()
