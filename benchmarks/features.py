"""The image pipeline beside what it cannot do without: a real tower, a cheap one, a GPU, and a hundred thousand images.

    python benchmarks/features.py tower    RN50 at 224, three levels: wall time beside the tower's forward alone
    python benchmarks/features.py cheap    gabor: decode and blur beside a loop of Pillow, cv2.GaussianBlur and NumPy
    python benchmarks/features.py gpu      RN50 on CUDA, 20 000 images: images per second beside the tower alone
    python benchmarks/features.py memory   peak memory of 10 000 and of 100 000 images, a fresh process each

Images are generated scenes as JPEG, RN50 has random weights. What is compared takes turns in the same process, and the
median of the turns is given, so that a busy machine slows both. `tower`: the time of the tower alone is that inside its
calls, with the same batches and nothing beside it; on a busy machine the time inside the tower's calls during a run of
the pipeline tells more. `gpu`: the tower alone gets random pixels that are on the device. `cheap`: both sides read,
decode and squash the same files with Pillow and give three blurred float32 images of each; the pipeline also hashes the
files and writes the store. `loop` lets OpenCV use all threads, `pooled loop` is the loop in as many Python threads.
"""

import argparse
import io
import itertools
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ubp.images.blur import fovea_weight
from ubp.images.encoders import ImageEncoder, image_encoder
from ubp.images.features import FeatureStore
from ubp.images.levels import apply_levels
from ubp.images.load import load_image
from ubp.images.scenes import scene
from ubp.presets import preset

LADDER = preset("ubp").ladder
BATCH = 32


def write_scenes(folder: Path, n: int, side: int) -> list[str]:
    """Scenes as JPEG; beyond a thousand they are repeated with a different corner, so that no two files are equal."""
    names = [f"{i // 1000:03d}/{i:06d}.jpg" for i in range(n)]
    pictures = [scene(i, 0, side) for i in range(min(n, 1000))]
    for i, name in enumerate(names):
        if i % 1000 == 0:
            (folder / name).parent.mkdir(parents=True)
        pixels = pictures[i % 1000].copy()
        pixels[:8, :8] = np.array([i % 256, i // 256 % 256, i // 65536])
        Image.fromarray(pixels).save(folder / name, quality=90)
    return names


def rn50(folder: Path, device: str) -> ImageEncoder:
    """RN50 of open_clip with random weights, from a local file."""
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(0)
    visual = open_clip.CLIP(**open_clip.get_model_config("RN50")).visual
    save_file({name: value.contiguous() for name, value in visual.state_dict().items()}, folder / "rn50.safetensors")
    return image_encoder(f"open_clip:RN50/{folder / 'rn50.safetensors'}", device)


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def turns(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each function, or of what it says of itself; they take turns."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _, (name, function) in itertools.product(range(repeats), functions.items()):
        start = time.perf_counter()
        own = function()
        times[name].append(own if isinstance(own, float) else time.perf_counter() - start)
        print(f"  {name}: {times[name][-1]:.2f} s", flush=True)
    return {name: statistics.median(values) for name, values in times.items()}


def build(folder: Path, names: list[str], encoder: ImageEncoder, batch: int) -> None:
    with tempfile.TemporaryDirectory() as root:
        FeatureStore.build(folder, names, encoder, LADDER, Path(root), batch_size=batch, quiet=True)


class Timed:
    """An encoder that adds up the wall time of its calls."""

    def __init__(self, encoder: ImageEncoder):
        self.encoder, self.seconds = encoder, 0.0
        for name in ("name", "fingerprint", "interpolation", "size", "dim", "device"):
            setattr(self, name, getattr(encoder, name))

    def __call__(self, pixels: Tensor) -> Tensor:
        """The encoder's."""
        start = time.perf_counter()
        vectors = self.encoder(pixels)
        self.seconds += time.perf_counter() - start
        return vectors


def tower(n: int, repeats: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        names = write_scenes(folder / "images", n, 500)
        encoder = Timed(rn50(folder, "cpu"))
        crisp = torch.stack([load_image(folder / "images" / name, encoder.size) for name in names])

        def forward() -> float:
            encoder.seconds = 0.0
            for block in crisp.split(BATCH):
                for pixels in apply_levels(block, LADDER, [""] * len(block)):
                    encoder(pixels)
            return encoder.seconds

        encoder(crisp[:BATCH] / 255)
        found = turns(
            {
                "tower alone": forward,
                "pipeline": lambda: build(folder / "images", names, encoder, BATCH),
            },
            repeats,
        )
        rest = 1 - found["tower alone"] / found["pipeline"]
        encoder.seconds = 0.0
        wall = seconds(lambda: build(folder / "images", names, encoder, BATCH))
        print(
            f"RN50, {n} images, {len(LADDER)} levels: all but the tower's forward is {rest:.1%} of the wall time; "
            f"within one more run of the pipeline the tower is not at work for {1 - encoder.seconds / wall:.1%} of it"
        )


def gpu(n: int, repeats: int) -> None:
    if not torch.cuda.is_available():
        print("gpu: no CUDA device here; nothing measured.")
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        names = write_scenes(folder / "images", n, 500)
        encoder = rn50(folder, "cuda")
        batch = 128
        pixels = torch.rand(len(LADDER) * batch, 3, encoder.size, encoder.size, device="cuda")
        encoder(pixels)
        found = turns(
            {
                "tower alone": lambda: [encoder(pixels) for _ in range(n // batch)],
                "pipeline": lambda: build(folder / "images", names, encoder, batch),
            },
            repeats,
        )
        rate, alone = n / found["pipeline"], n // batch * batch / found["tower alone"]
        print(
            f"{torch.cuda.get_device_name()}: RN50, {n} images, {len(LADDER)} levels: {rate:.0f} images/s, "
            f"{rate / alone:.1%} of the tower alone ({alone:.0f} images/s)"
        )


def opencv_one(path: Path, size: int, weight: np.ndarray) -> list[np.ndarray]:
    """One image at every level: Pillow, OpenCV on uint8, NumPy blend in float32."""
    image = Image.open(io.BytesIO(path.read_bytes())).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    crisp = pixels.astype(np.float32)
    return [
        (weight * crisp + (1 - weight) * cv2.GaussianBlur(pixels, (level.width, level.width), 0)) / 255
        for level in LADDER
    ]


class Passing:
    """An encoder at the size of gabor that looks at a single pixel: all that is left is the pipeline."""

    name, fingerprint, interpolation, size, dim = "passing", "0" * 64, "bilinear", 96, 3

    def __init__(self, size: int):
        self.size = size

    def __call__(self, pixels: Tensor) -> Tensor:
        """(n, 3)."""
        return pixels[:, :, 0, 0] + 0.1


def cheap(n: int, repeats: int) -> None:
    threads = torch.get_num_threads()
    cv2.setNumThreads(threads)
    gabor = image_encoder("gabor")
    for side, size in ((500, gabor.size), (224, gabor.size), (500, 224)):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            names = write_scenes(folder, n, side)
            paths = [folder / name for name in names]
            weight = fovea_weight(size, size).numpy()[..., None]
            one = partial(opencv_one, size=size, weight=weight)

            def pooled(paths: list[Path] = paths, one: Callable[[Path], object] = one) -> None:
                cv2.setNumThreads(1)
                with ThreadPoolExecutor(threads) as pool:
                    for _ in pool.map(one, paths):
                        pass
                cv2.setNumThreads(threads)

            functions: dict[str, Callable[[], object]] = {
                "loop": lambda one=one, paths=paths: [one(path) is None for path in paths],
                "pooled loop": pooled,
                "pipeline but the tower": lambda f=folder, n=names, s=size: build(f, n, Passing(s), BATCH),
            }
            if size == gabor.size:
                functions["pipeline with gabor"] = lambda f=folder, n=names: build(f, n, gabor, BATCH)
            found = turns(functions, repeats)
            print(f"JPEG of {side} to {size} pixels, {len(LADDER)} levels, {threads} threads:")
            for name, value in found.items():
                ratios = ", ".join(f"{found[other] / value:.1f} x the {other}" for other in ("loop", "pooled loop"))
                print(f"  {name}: {n / value:.0f} images/s = {ratios}")


class Pooled:
    """A tower that costs nothing: colours of an 8 x 8 grid."""

    name, fingerprint, interpolation, size, dim = "pooled", "1" * 64, "bilinear", 32, 192

    def __call__(self, pixels: Tensor) -> Tensor:
        """(n, 192)."""
        return torch.nn.functional.adaptive_avg_pool2d(pixels, 8).flatten(1) + 0.01


def peak_of(folder: Path, names: list[str]) -> tuple[float, float]:
    duration = seconds(lambda: build(folder, names, Pooled(), BATCH))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    ) / 1e6, duration


def peak_of_first(folder: Path, n: int) -> tuple[float, float]:
    names = [f"{i // 1000:03d}/{i:06d}.jpg" for i in range(n)]
    return peak_of(folder, names)


def memory(n: int, repeats: int) -> None:
    del repeats
    fresh = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as place:
        with fresh.Pool(1) as pool:
            pool.apply(write_scenes, (Path(place), n, 32))
        peaks = {}
        for part in (n // 10, n):
            with fresh.Pool(1) as pool:
                peaks[part], duration = pool.apply(peak_of_first, (Path(place), part))
            print(f"{part} images: peak memory {peaks[part]:.0f} MB, {part / duration:.0f} images/s", flush=True)
        print(f"ten times the images take {peaks[n] / peaks[n // 10] - 1:+.1%} memory")


SECTIONS = {"tower": (tower, 300, 3), "cheap": (cheap, 300, 5), "gpu": (gpu, 20_000, 1), "memory": (memory, 100_000, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--images", type=int)
    parser.add_argument("--repeats", type=int)
    options = parser.parse_args()
    for name in options.sections:
        function, images, repeats = SECTIONS[name]
        function(options.images or images, options.repeats or repeats)


if __name__ == "__main__":
    main()
