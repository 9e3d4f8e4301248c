"""How long one query takes among 10 000 images, once model and gallery are loaded; beside a plain loop of NumPy.

A query is one trial of 63 channels and 250 samples: it is scaled, embedded, compared with every image, and the five
best images, all probabilities and the sets of 80, 90 and 95 % come back as a table. The loop takes the same embedding
and the same vectors, computes one cosine after the other, and sorts them; it gives no probability and no set. Weights
and vectors are random, which changes no time. Median and 95th percentile are over queries, after some to warm up.

Run: python benchmarks/retrieve.py [--gallery 10000] [--queries 200] [--threads 2]
"""

import argparse
import time

import numpy as np
import torch

from ubp.adapt import Queries
from ubp.brain import brain_encoder
from ubp.calibration import Answers, Calibration
from ubp.config import TrainOptions
from ubp.description import Description
from ubp.held_out import HeldOut
from ubp.image_gallery import ImageGallery
from ubp.loss import INITIAL_TEMPERATURE
from ubp.metrics import unit
from ubp.model import Model
from ubp.presets import preset
from ubp.retrieve import Retriever

N_CHANNELS, N_TIMES, DIM, N_CALIBRATION = 63, 250, 1024, 60
WARM_UP, LOOPS = 10, 10


def make_model() -> Model:
    about = Description(
        preset("ubp"),
        TrainOptions(calibration_concepts=2 * N_CALIBRATION),
        seed=0,
        vision_encoder="random",
        vision_fingerprint="",
        store_key="",
        study="random",
        study_path="",
        study_fingerprint="",
        setting="intra-subject",
        subject="sub-01",
        trained_on=("sub-01",),
        n_pairs=1,
        n_images=1,
        channels=tuple(f"c{i}" for i in range(N_CHANNELS)),
        sfreq=250.0,
        tmin=0.0,
        n_times=N_TIMES,
        embed_dim=DIM,
    )
    torch.manual_seed(0)
    scale = torch.zeros(N_CHANNELS, 1), torch.ones(N_CHANNELS, 1)
    encoder = brain_encoder("eegproject", N_CHANNELS, N_TIMES, DIM)
    return Model(about, encoder, scale, {}, torch.tensor(INITIAL_TEMPERATURE), [])


def make_calibration(random: np.random.Generator) -> Calibration:
    n = N_CALIBRATION
    pairs = tuple(("sub-01", f"image {i}") for i in range(n))
    answers = Answers(*(random.normal(size=shape) for shape in ((n,), (n, n), (n,), (n, n))))
    held = HeldOut(pairs, pairs, tuple((image, image) for _, image in pairs))
    return Calibration({1: answers}, ~np.eye(n, dtype=bool), unit(random.normal(size=(n, DIM))), held)


def loop(brain: np.ndarray, vectors: np.ndarray) -> list[int]:
    """The five best images by a cosine at a time."""
    cosines = [float(brain @ row / (np.linalg.norm(brain) * np.linalg.norm(row))) for row in vectors]
    return sorted(range(len(cosines)), key=lambda i: -cosines[i])[:5]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gallery", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    random = np.random.default_rng(0)
    vectors = unit(random.normal(size=(options.gallery, DIM)))
    names = tuple(f"{i:05d}.jpg" for i in range(options.gallery))
    model = make_model()
    retriever = Retriever(model, ImageGallery(names, vectors), make_calibration(random))
    signals = random.normal(size=(options.queries + WARM_UP, N_CHANNELS, N_TIMES)).astype(np.float32)
    seconds, found = [], []
    for number, trial in enumerate(signals):
        start = time.perf_counter()
        query = Queries(trial[None], ("query",), ("",), np.ones(1, int))
        table = retriever.rank(query).table(5)
        if number >= WARM_UP:
            seconds.append(time.perf_counter() - start)
            found.append(table["image"].tolist())
    slow, equal = [], True
    for number in range(LOOPS):
        start = time.perf_counter()
        brain = model.embed(signals[WARM_UP + number][None])[0]
        best = loop(brain, vectors)
        slow.append(time.perf_counter() - start)
        equal &= [names[row] for row in best] == found[number]
    middle, late = 1000 * np.median(seconds), 1000 * np.quantile(seconds, 0.95)
    print(f"{options.gallery} images x {DIM}, {options.queries} queries, {options.threads} threads")
    print(f"retrieve: median {middle:.1f} ms, 95th percentile {late:.1f} ms")
    print(f"loop: median {1000 * np.median(slow):.1f} ms, {1000 * np.median(slow) / middle:.1f} times as long")
    print(f"the five best images are equal on {LOOPS} queries: {equal}")
    raise SystemExit(0 if middle < 20 and equal else 1)


if __name__ == "__main__":
    main()
