"""How honest the confidence of models is on test trials: an evaluation, of which nothing goes back into a model."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from ubp.adapt import Queries
from ubp.calibration import Calibration
from ubp.conformal import COVERAGES, expected_calibration_error, probabilities
from ubp.data.study import Trials
from ubp.image_gallery import ImageGallery
from ubp.model import Model
from ubp.retrieve import Retriever

BEFORE, AFTER = "before", "after"


@dataclass(frozen=True, eq=False)
class Judgement:
    """Test queries of one model, or of several together.

    Parameters
    ----------
    queries : DataFrame
        One row a query: hit (1 where the seen image is best, alone), before and after (probability of the best image,
        by the loss's own scale and calibrated), likelihood_before and likelihood_after (probability of the seen
        image), gallery_size, and for each coverage size_80 and covered_80.
    """

    queries: pd.DataFrame

    def coverage(self) -> pd.DataFrame:
        """One row for each coverage: nominal, covered, Clopper-Pearson interval (low, high), mean and median size."""
        rows = []
        for nominal in COVERAGES:
            covered, size = (self.queries[f"{name}_{100 * nominal:g}"] for name in ("covered", "size"))
            interval = binomtest(int(covered.sum()), len(covered)).proportion_ci()
            rows.append(
                {
                    "nominal": nominal,
                    "covered": float(covered.mean()),
                    "low": interval.low,
                    "high": interval.high,
                    "mean_size": float(size.mean()),
                    "median_size": float(size.median()),
                }
            )
        return pd.DataFrame(rows)

    def summary(self) -> dict[str, Any]:
        """Queries, gallery, accuracy, calibration error and likelihood before and after, and coverage, in one row."""
        table = self.queries
        row: dict[str, Any] = {
            "queries": len(table),
            "gallery_size": float(table["gallery_size"].mean()),
            "top1": float(table["hit"].mean()),
        }
        for name in (BEFORE, AFTER):
            hit, confidence = table["hit"].to_numpy(), table[name].to_numpy()
            row[f"calibration_error_{name}"] = expected_calibration_error(confidence, hit)
            row[f"log_likelihood_{name}"] = float(table[f"likelihood_{name}"].mean())
        for about in self.coverage().to_dict("records"):
            nominal = f"{100 * about['nominal']:g}"
            row |= {f"covered_{nominal}": about["covered"], f"mean_size_{nominal}": about["mean_size"]}
        return row | {"protocol": "test trials, evaluation only"}


def judge(model: Model, calibration: Calibration, test: Trials, gallery: ImageGallery) -> Judgement:
    """Let a model answer its test trials and note how sure it was.

    Parameters
    ----------
    model : Model
    calibration : Calibration
    test : Trials
    gallery : ImageGallery
        Holds every test image.
    """
    retriever = Retriever(model, gallery, calibration)
    queries = Queries(test.signals, test.images, test.images, test.repetitions)
    found = retriever.rank(queries)
    brain_scale = model.sharpness(model.embed(test.signals))[:, None]
    before, after = probabilities(found.similarity * brain_scale, 1.0), found.probability
    assert after is not None
    row = {image: place for place, image in enumerate(gallery.images)}
    target = np.array([row[image] for image in test.images])
    best, rank = found.best(1)[:, 0], found.rank()
    every = np.arange(len(test))
    table = pd.DataFrame({"image": test.images, "hit": (rank <= 1).astype(int), "gallery_size": len(gallery.images)})
    for name, probability in ((BEFORE, before), (AFTER, after)):
        table[name] = probability[every, best]
        table[f"likelihood_{name}"] = np.log(np.maximum(probability[every, target], np.finfo(float).tiny))
    place = (found.similarity >= found.similarity[every, target][:, None]).sum(axis=1)
    for coverage, sizes in found.set_sizes.items():
        table[f"size_{100 * coverage:g}"] = sizes
        table[f"covered_{100 * coverage:g}"] = place <= sizes
    return Judgement(table)


def together(parts: list[Judgement]) -> Judgement:
    """All queries of several models."""
    return Judgement(pd.concat([part.queries for part in parts], ignore_index=True))
