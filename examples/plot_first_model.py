"""
A first model, and how good it is
=================================

Simulate a study whose gaps are known, train on crisp images, on a fixed blur and with the adaptive
prior, and compare the three on images of concepts that no training trial showed.
"""

# %%
# A study
# -------
#
# The simulated brain answers to a *blurred* image, each trial with another strength and attention.
# So it is known here that blur should help. Everything goes to a folder that is removed at the end.

import tempfile
from pathlib import Path

from ubp.data.forward import POSTERIOR
from ubp.data.simulated import Simulation, simulate

folder = tempfile.TemporaryDirectory()
work = Path(folder.name)
simulation = Simulation(n_concepts=100, images_per_concept=4, n_test=100)
study = simulate(work / "study", simulation, quiet=True)
recording = study.recording("sub-01")
print(
    f"{len(recording.trials)} trials of {len(recording.channel_names)} channels, {study.info.sfreq:g} Hz"
)
print(recording.trials.groupby("split")[["image", "concept"]].nunique())

# %%
# What the signals look like
# --------------------------
#
# The 17 posterior channels are taken, as in the paper. The mean over all training trials is the
# evoked response.

import numpy as np

from ubp.plots.style import SPLIT_COLOURS, new_figure

trials = recording.load("train", channels=POSTERIOR)
times = np.arange(trials.signals.shape[2]) / study.info.sfreq
with new_figure(2.8) as figure:
    axes = figure.add_subplot()
    axes.plot(
        times,
        trials.signals.mean(axis=0).T,
        color=SPLIT_COLOURS["train"],
        alpha=0.4,
        linewidth=1,
    )
    axes.set(
        xlabel="time from the image's onset (s)",
        ylabel="signal (deviations of noise)",
        title="17 posterior channels",
    )
    axes.set_xlim(times[0], times[-1])

# %%
# Training
# --------
#
# ``train_jobs`` embeds all images at the levels that are needed, and trains a model for every
# preset and seed. Kernel 13 with a step of 6 is what the simulation blurs with, in the 96 pixels that
# ``gabor`` sees.

from ubp.commands.evaluating import evaluate_models
from ubp.commands.training import plan_jobs, train_jobs
from ubp.config import Common, TrainOptions
from ubp.model import Model

quiet = Common(store=work / "features", quiet=True)
jobs = plan_jobs(
    study,
    presets=("vanilla", "blur", "ubp"),
    width=13,
    step=6,
    seeds=(0, 1),
    channels=POSTERIOR,
    options=TrainOptions(epochs=10, batch_size=128, learning_rate=5e-4),
)
models = train_jobs(study, jobs, work / "runs", common=quiet)

# %%
# Evaluation
# ----------
#
# Every test image is looked for among all 100, by the mean of its four test trials. Ridge
# regression and chance stand beside the models, and the intervals are over images and seeds.

results = evaluate_models(models, work / "runs", common=quiet)
summary = results.summary().set_index("method")
(100 * summary[["top1", "top1_low", "top1_high", "top5", "top1_chance"]]).round(1)

# %%
# Per cent, with the interval at 95 %. As a figure:

from ubp.plots import accuracy_figure, montage_figure, training_figure

figure = accuracy_figure(summary.reset_index())

# %%
# Intervals overlap, although all methods were asked about the *same* images. So differences are
# taken image by image, and have intervals of their own; one that leaves out 0 is a difference.

comparisons = results.comparisons().set_index(["method", "against"])
(100 * comparisons[["difference", "low", "high"]]).round(1)

# %%
# The rank of every image, good queries and bad ones; the image that was seen has a frame.

import pandas as pd

ranks = pd.read_csv(work / "runs/intra-subject/sub-01/ubp/seed-0/ranks.csv")
figure = montage_figure(study.image_folder, ranks, n_queries=4)

# %%
# How training went, and how many pairs the prior gave less or more blur.

histories = {
    name: pd.DataFrame(Model.load(path).history)
    for name, path in zip(("vanilla", "blur", "ubp"), models[::2])
}
figure = training_figure(histories)
# sphinx_gallery_thumbnail_number = 2
