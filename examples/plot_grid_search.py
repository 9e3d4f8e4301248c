"""
Cross-validation and grid search over concepts
==============================================

:class:`ubp.estimator.BrainImageRetriever` is a scikit-learn estimator: the tools that choose and judge models work with
it. Folds are over concepts, so a score always speaks of images of concepts that were not trained on.
"""

# %%
# Signals, and the features of the image of each trial
# ----------------------------------------------------

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score

from ubp.commands.images import build_store
from ubp.config import Common
from ubp.data.forward import POSTERIOR
from ubp.data.simulated import Simulation, simulate
from ubp.estimator import BrainImageRetriever
from ubp.presets import preset
from ubp.retrieval_scores import RetrievalScorer

folder = Path(tempfile.mkdtemp())
simulation = Simulation(
    n_concepts=80,
    images_per_concept=2,
    n_test=1,
    test_repetitions=1,
    channels=POSTERIOR,
    snr=0.3,
)
study = simulate(folder / "study", simulation, quiet=True)
ladder = preset("ubp", width=simulation.true_width, step=simulation.width_step).ladder
store = build_store(
    study, "gabor", ladder, Common(store=folder / "features", quiet=True)
)

trials = study.recording("sub-01").load("train")
X, concepts = trials.signals, trials.concepts
three_levels = store.ladder(ladder, trials.images).numpy().swapaxes(0, 1)
features = three_levels[:, 1]
print(
    f"signals {X.shape}, features {features.shape}, at three levels of blur {three_levels.shape}"
)
folds = GroupKFold(4)

# %%
# Cross-validation
# ----------------
#
# A linear decoder, a trained one, and one whose images are blurred more for pairs that fit badly and less for pairs
# that fit well, which takes the features at three levels.

training = {
    "epochs": 12,
    "batch_size": 64,
    "learning_rate": 1e-3,
    "device": "cpu",
    "metric": "top5",
}
decoders = {
    "ridge": (BrainImageRetriever("ridge", metric="top5"), features),
    "fixed blur": (BrainImageRetriever(**training), features),
    "blur prior": (BrainImageRetriever(**training), three_levels),
}
scores = {
    name: cross_val_score(one, X, y, groups=concepts, cv=folds)
    for name, (one, y) in decoders.items()
}
for name, values in scores.items():
    print(f"{name}: top-5 accuracy {100 * values.mean():.1f} %")

# %%
# Grid search
# -----------
#
# Any parameter can be searched. Several scores at once are asked for by scorers.

search = GridSearchCV(
    BrainImageRetriever("ridge"),
    {"ridge_alphas": [(alpha,) for alpha in np.logspace(0, 6, 7)]},
    scoring={metric: RetrievalScorer(metric) for metric in ("top1", "top5")},
    refit="top5",
    cv=folds,
).fit(X, features, groups=concepts)
print(
    f"best penalty {search.best_params_['ridge_alphas'][0]:g}, top-5 accuracy {100 * search.best_score_:.1f} %"
)

# %%
# The figure
# ----------

n_gallery = len(set(trials.images)) // 4
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for place, values in enumerate(scores.values()):
    left.plot(
        np.full(len(values), place), 100 * values, "o", color="tab:blue", alpha=0.4
    )
    left.plot(place, 100 * values.mean(), "_", color="black", markersize=30)
left.set_xticks(range(len(scores)), list(scores))
left.set(
    ylabel="top-5 accuracy (%)",
    title="Each fold, and their mean (dotted: chance)",
    xlim=(-0.6, 2.6),
    ylim=(0, None),
)
left.axhline(500 / n_gallery, color="grey", linestyle=":")
alphas = [alpha for (alpha,) in search.cv_results_["param_ridge_alphas"]]
for metric, chance in (("top5", 5), ("top1", 1)):
    (line,) = right.plot(
        alphas,
        100 * search.cv_results_[f"mean_test_{metric}"],
        marker="o",
        label=metric,
    )
    right.axhline(100 * chance / n_gallery, color=line.get_color(), linestyle=":")
right.set(
    xscale="log",
    xlabel="penalty of ridge regression",
    title="Grid search (dotted: chance)",
    ylim=(0, None),
)
right.legend(frameon=False)
plt.show()
