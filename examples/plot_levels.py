"""
Which pairs the prior blurs more
================================

The prior calls a pair a bad fit when its similarity falls below an interval around the mean of its
batch, and gives its image more blur; a very good fit gets less. In a simulated study it is known
what was wrong with each trial, so the levels can be held against the truth.
"""

# %%
# A study with one trial a pair
# -----------------------------
#
# ``truth.csv`` tells for each trial how wide the blur was that the brain saw, the gain of its
# response, and whether the mind was elsewhere (a lapse: the answer is to another image). One trial
# for each training image, so that a pair has one truth.

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from ubp.config import TrainOptions
from ubp.data.forward import POSTERIOR
from ubp.data.simulated import Simulation, simulate
from ubp.experiment import train
from ubp.images.encoders import image_encoder
from ubp.images.features import FeatureStore
from ubp.job import Job
from ubp.presets import preset

folder = tempfile.TemporaryDirectory()
work = Path(folder.name)
study = simulate(
    work / "study",
    Simulation(n_concepts=200, train_repetitions=1, n_test=2, snr=0.3),
    quiet=True,
)
truth = pd.read_csv(work / "study/sub-01/truth.csv").query("split == 'train'")
print(f"{len(truth)} trials, {truth['lapse'].mean():.0%} of them lapses")
print(truth["width"].value_counts().sort_index())

# %%
# Training, with a look after every epoch
# ---------------------------------------
#
# ``after_epoch`` is called with the trainer. Its prior holds the smoothed similarity, the level of
# every pair, and the interval of the last batch.

blur = preset("ubp", width=13, step=6)
store = FeatureStore.build(
    study.image_folder,
    study.images(),
    image_encoder("gabor"),
    blur.ladder,
    work / "features",
)
job = Job(
    "sub-01",
    blur,
    TrainOptions(epochs=24, batch_size=200, learning_rate=2e-4),
    channels=POSTERIOR,
)
levels, similarities, intervals, histories = [], [], [], []


def remember(trainer):
    """Keep what the prior knows now."""
    levels.append(trainer.prior.level.clone().numpy())
    similarities.append(trainer.prior.similarity.clone().numpy())
    intervals.append(trainer.prior.interval.tolist())
    histories.append(trainer.history[-1])


model_folder = train(study, store, job, work / "runs", after_epoch=remember)

# %%
# Levels over epochs
# ------------------
#
# At first nothing is known and every pair has the middle level. Then a few per cent leave the
# interval on either side, about as many as its 95 % leave out: the rule is relative to the batch,
# so it always finds some.

from ubp.plots import similarity_figure, training_figure

figure = training_figure({"ubp": pd.DataFrame(histories)})

# %%
# The similarities after the eighth epoch. Levels are set batch by batch, each with an interval of
# its own, so they mix near the ends.

EARLY, LATE = 8, 24
low, high = intervals[EARLY - 1]
figure = similarity_figure(similarities[EARLY - 1], low, high, levels[EARLY - 1])

# %%
# Held against the truth
# ----------------------
#
# Of the pairs that get more blur, how many were lapses? After eight epochs nearly all of them. (Most
# lapses stay inside the interval, which leaves out a few per cent only.) Whether the *blur* that the
# brain saw was wider, which is what a wider kernel would suit, the prior can hardly tell.

trials = job.trials(study, "train")
truth = truth.set_index("image").loc[list(trials.images)]


def by_level(epoch):
    """What was true of the pairs at each level after an epoch."""
    names = np.array(["less", "base", "more"])[levels[epoch - 1]]
    grouped = truth.groupby(names)
    return grouped.agg(
        pairs=("width", "size"),
        lapses=("lapse", "mean"),
        gain=("gain", "mean"),
        width=("width", "mean"),
    )


by_level(EARLY).loc[["less", "base", "more"]].round(2)

# %%
# After 24 epochs that is gone.

by_level(LATE).loc[["less", "base", "more"]].round(2)

# %%
# What training does to it
# ------------------------
#
# The area under the curve is the probability that a lapse has a lower similarity than another pair;
# one half is chance.

from sklearn.metrics import roc_auc_score

from ubp.plots.style import GREY, LEVEL_COLOURS, new_figure, write

epochs = np.arange(1, LATE + 1)
found = [roc_auc_score(truth["lapse"], -values) for values in similarities]
shares = {
    name: [100 * by_level(epoch)["lapses"].get(name, np.nan) for epoch in epochs]
    for name in ("less", "more")
}
with new_figure(3.2) as figure:
    left, right = figure.subplots(1, 2)
    left.plot(epochs, found, marker="o", markersize=4, color=LEVEL_COLOURS["more"])
    left.axhline(0.5, color=GREY, linestyle=":")
    write(left, 1, 0.505, "chance", color=GREY, va="bottom")
    left.set(
        title="Lapses told by a low similarity",
        xlabel="epoch",
        ylabel="area under the curve",
        ylim=(0.45, 1.02),
    )
    for name, values in shares.items():
        right.plot(
            epochs,
            values,
            marker="o",
            markersize=4,
            color=LEVEL_COLOURS[name],
            label=f"{name} blur",
        )
    right.axhline(100 * truth["lapse"].mean(), color=GREY, linestyle=":")
    write(
        right,
        LATE,
        100 * truth["lapse"].mean() + 1,
        "all pairs",
        color=GREY,
        ha="right",
        va="bottom",
    )
    right.set(
        title="Lapses among the pairs at a level",
        xlabel="epoch",
        ylabel="lapses (%)",
        ylim=(-3, 103),
    )
    right.legend(frameon=False)

# %%
# A network with a million weights learns its training pairs by heart, the wrong ones too, and then
# every pair fits. So the similarity of a training pair tells how reliable it is early in training,
# and less and less later. That agrees with what the recordings say: the fixed blur carries the gain,
# and the rule that adapts it adds little (:doc:`/method`).
# sphinx_gallery_thumbnail_number = 3
