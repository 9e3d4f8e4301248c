"""Folders as `ubp evaluate` leaves them, written from hits alone."""

import numpy as np
import pandas as pd

IMAGES = tuple(f"test/{number:03d}.png" for number in range(40))


def ranks_of(hits, n_gallery, random):
    """Ranks that hit where asked for, and lie anywhere below the first otherwise."""
    return np.where(hits, 1.0, random.integers(2, n_gallery + 1, len(hits)).astype(float))


def write(folder, methods, images=IMAGES, repetitions=4.0, setting="intra-subject", **columns):
    """Write results.csv and the ranks of every run.

    Parameters
    ----------
    folder : Path
    methods : dict of method -> dict of (subject, seed) -> hits of shape (n_images,)
    """
    random, rows = np.random.default_rng(0), []
    for method, scores in methods.items():
        for (subject, seed), hits in scores.items():
            run = f"{setting}/{subject}/{method}/seed-{seed}"
            rank = ranks_of(np.asarray(hits, bool), len(images), random)
            (folder / run).mkdir(parents=True)
            table = pd.DataFrame({"image": images, "rank": rank, "similarity": 0.5, "repetitions": repetitions})
            table.to_csv(folder / run / "ranks.csv", index=False)
            row = {"study": "made", "setting": setting, "subject": subject, "method": method, "seed": seed, "run": run}
            row |= {"gallery_size": len(images), "gallery_level": "w1-exponential3", "query": "mean of repetitions"}
            row |= {"repetitions": repetitions, "protocol": "inductive", "top1": float(np.mean(hits)), "epochs": 5}
            rows.append(row | columns)
    pd.DataFrame(rows).to_csv(folder / "results.csv", index=False)
    return folder


def planted(n_subjects, n_seeds, accuracies, seed=0, images=IMAGES):
    """Hits of every method at its accuracy; the same images are easy for all subjects and methods."""
    random = np.random.default_rng(seed)
    easy = random.normal(0, 0.1, len(images))
    return {
        method: {
            (f"sub-{subject + 1:02d}", number): random.random(len(images)) < accuracy + easy
            for subject in range(n_subjects)
            for number in range(n_seeds)
        }
        for method, accuracy in accuracies.items()
    }
