"""Do sets of 80, 90 and 95 % hold the seen image that often? On simulated studies, each with a model of its own.

`python benchmarks/coverage.py --out FOLDER` simulates studies one after the other, trains a model in each with 89
calibration concepts (30 fit the temperature, 59 the sets), and judges it on test trials of concepts that nobody has
seen. Training and test images are shown equally often, so that calibration and test queries are exchangeable. Run
again, it continues; `queries.csv` of each study is kept.

With n = 59 the promised coverages are exact: k / (n + 1) is .2, .1 and .05. Coverage in one study still varies, as
Beta(n + 1 - k, k) does, because 59 concepts are few; the last column is the range in which theory puts the pooled
coverage of so many studies with 95 %. The interval beside it is binomial over all queries, which leaves that out. The
program fails where the pooled coverage is outside the range.

A second table has one random query of each study: independent, so a plain binomial interval is exact there.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from scipy.stats import binomtest

from ubp.calibration import Calibration
from ubp.config import TrainOptions
from ubp.conformal import COVERAGES, allowed_misses
from ubp.data.forward import POSTERIOR
from ubp.data.simulated import Simulation, simulate
from ubp.data.study import Study
from ubp.evaluate_runs import gallery
from ubp.experiment import train
from ubp.files import write_text
from ubp.image_gallery import ImageGallery
from ubp.images.encoders import image_encoder
from ubp.images.features import FeatureStore
from ubp.job import Job
from ubp.judge import Judgement, judge, together
from ubp.model import Model
from ubp.presets import preset
from ubp.tables import table

N_CALIBRATION, N_SETS = 89, 59
OPTIONS = TrainOptions(epochs=15, batch_size=128, learning_rate=1e-3, calibration_concepts=N_CALIBRATION)
QUERIES = "queries.csv"
DRAWS = 100_000


def simulation(seed: int) -> Simulation:
    return Simulation(
        n_concepts=N_CALIBRATION + 111,
        images_per_concept=2,
        n_test=100,
        train_repetitions=2,
        test_repetitions=2,
        image_size=48,
        true_width=7,
        width_step=2,
        snr=1.0,
        channels=POSTERIOR,
        seed=seed,
    )


def run(folder: Path, seed: int) -> Judgement:
    """Simulate, train and judge one study, or read what was found before."""
    path = folder / QUERIES
    if not path.exists():
        place = folder / "study"
        study = Study.open(place) if place.exists() else simulate(place, simulation(seed), quiet=True)
        blur = preset("blur", 13, 6)
        store = FeatureStore.build(
            study.image_folder,
            study.images(),
            image_encoder("gabor"),
            blur.ladder,
            root=folder / "features",
            quiet=True,
        )
        job = Job("sub-01", blur, OPTIONS)
        where = train(study, store, job, folder / "runs")
        model = Model.load(where)
        calibration = Calibration.load(where, model.description)
        assert calibration is not None
        test = job.trials(study, "test")
        vectors, images = gallery(store, test, blur.base)
        found = judge(model, calibration, test, ImageGallery(images, vectors))
        write_text(path, found.queries.to_csv(index=False))
    return Judgement(pd.read_csv(path))


def expected_range(n_studies: int, n_queries: int, coverage: float) -> tuple[float, float, float]:
    """Mean and 95 % range of the pooled coverage of studies whose sets are calibrated on their own."""
    k = allowed_misses(N_SETS, coverage)
    random = np.random.default_rng(0)
    share = random.beta(N_SETS + 1 - k, k, (DRAWS // n_studies + 1, n_studies))
    pooled = random.binomial(n_queries, share).mean(axis=1) / n_queries
    return 1 - k / (N_SETS + 1), *np.quantile(pooled, [0.025, 0.975])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path("coverage"))
    arguments = parser.parse_args()
    parts = []
    for seed in range(arguments.studies):
        parts.append(run(arguments.out / f"{seed:03d}", seed))
        row = parts[-1].summary()
        shares = " ".join(f"{row[f'covered_{100 * coverage:g}']:.2f}" for coverage in COVERAGES)
        print(f"{seed}: top-1 {row['top1']:.2f}, covered {shares}", flush=True)
    pooled, console = together(parts), Console(width=120)
    row = pooled.summary()
    rows, good = [], True
    for about in pooled.coverage().to_dict("records"):
        mean, low, high = expected_range(len(parts), len(parts[0].queries), about["nominal"])
        good &= low <= about["covered"] <= high
        rows.append(
            (
                f"{100 * about['nominal']:g} %",
                f"{about['covered']:.4f}",
                f"{about['low']:.4f} to {about['high']:.4f}",
                f"{mean:.4f} ({low:.4f} to {high:.4f})",
                f"{about['mean_size']:.1f}",
            )
        )
    header = ("promised", "covered", "binomial interval", "expected (95 % range)", "mean size")
    title = f"{len(parts)} studies, {row['queries']} queries, {row['gallery_size']:g} images, top-1 {row['top1']:.3f}"
    console.print(table(title, header, rows))
    random = np.random.default_rng(0)
    one = [part.queries.iloc[random.integers(len(part.queries))] for part in parts]
    rows = []
    for coverage in COVERAGES:
        hits = int(sum(query[f"covered_{100 * coverage:g}"] for query in one))
        found = binomtest(hits, len(one), coverage)
        interval = found.proportion_ci()
        cells = f"{hits / len(one):.2f}", f"{interval.low:.3f} to {interval.high:.3f}", f"{found.pvalue:.2f}"
        rows.append((f"{100 * coverage:g} %", *cells))
    console.print(table("One query of each study", ("promised", "covered", "binomial interval", "p"), rows))
    errors = [
        (name, f"{100 * row[f'calibration_error_{name}']:.1f}", f"{row[f'log_likelihood_{name}']:.3f}")
        for name in ("before", "after")
    ]
    console.print(table("Probabilities", ("", "expected calibration error %", "mean log likelihood"), errors))
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
