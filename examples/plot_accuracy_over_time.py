"""
Accuracy over time
==================

When after an image appears can it be told from the brain's signals? One decoder is fitted for each sample, on all
channels, and tested on images of concepts that it never saw.
"""

# %%
# A simulated recording
# ---------------------
#
# :func:`ubp.data.simulated.simulate` writes a study whose truth is known: sources in the visual cortex answer from
# about 70 ms on. The image encoder `gabor` needs no download.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from mne.decoding import SlidingEstimator, cross_val_multiscore
from sklearn.model_selection import GroupKFold

from ubp.commands.images import build_store
from ubp.config import Common
from ubp.data.forward import POSTERIOR
from ubp.data.simulated import Simulation, simulate
from ubp.estimator import BrainImageRetriever
from ubp.presets import preset

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
blurred = preset("blur", width=simulation.true_width)
store = build_store(
    study, "gabor", blurred.ladder, Common(store=folder / "features", quiet=True)
)

trials = study.recording("sub-01").load("train")
image_features = store.vectors(blurred.base)
image = np.searchsorted(store.images, trials.images)
print(f"signals {trials.signals.shape}, image features {image_features.shape}")

# %%
# Three lines
# -----------
#
# mne's estimators take one number a trial, so `y` is the row of the trial's image in `image_features`. The folds are
# over concepts; in each, the gallery is the held-out images.

retriever = BrainImageRetriever(
    "ridge", image_features=image_features, ridge_alphas=(1000.0,)
)
sliding = SlidingEstimator(retriever, verbose="error")
scores = cross_val_multiscore(
    sliding, trials.signals, image, groups=trials.concepts, cv=GroupKFold(5)
)

# %%
# The figure
# ----------
#
# Accuracy leaves chance when the first sources answer. The band is the range over folds.

times = 1000 * (trials.tmin + np.arange(trials.signals.shape[2]) / trials.sfreq)
n_gallery = len(set(image)) // 5
fig, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
ax.fill_between(
    times, 100 * scores.min(axis=0), 100 * scores.max(axis=0), alpha=0.2, linewidth=0
)
ax.plot(times, 100 * scores.mean(axis=0))
ax.axhline(
    100 / n_gallery, color="grey", linestyle=":", label=f"chance, 1 of {n_gallery}"
)
ax.axvline(0, color="black", linewidth=1)
ax.set(
    xlabel="time after image onset (ms)",
    ylabel="top-1 accuracy (%)",
    title="One decoder for each sample",
)
ax.legend(frameon=False)
plt.show()
