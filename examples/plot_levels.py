"""
Which pairs the prior blurs more
================================

The prior calls a pair a bad fit when its similarity falls below an interval around the mean of its batch, and gives its image more blur; a
very good fit gets less. In a simulated study it is known what was wrong with each trial, so the levels can be held against the truth.
"""

# %%
# A study with one trial a pair
# -----------------------------
#
# ``truth.csv`` tells for each trial how wide the blur was that the brain saw, the gain of its response, and whether the mind was elsewhere (a
# lapse: the answer is to another image). One trial for each training image, so that a pair has one truth.

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from ubp.config import TrainOptions, preset
from ubp.data.forward import POSTERIOR
from ubp.data.simulated import Simulation, simulate
from ubp.experiment import train
from ubp.images.encoders import image_encoder
from ubp.images.features import FeatureStore
from ubp.job import Job

folder = tempfile.TemporaryDirectory()
work = Path(folder.name)
study = simulate(work / "study", Simulation(n_concepts=300, train_repetitions=1, n_test=50, snr=0.3), quiet=True)
truth = pd.read_csv(work / "study/sub-01/truth.csv").query("split == 'train'")
print(truth[["width", "gain", "lapse"]].describe(include="all").round(2).loc[["count", "mean", "min", "max"]])

# %%
# Training, with a look after every epoch
# ---------------------------------------
#
# ``after_epoch`` is called with the trainer. Its prior holds the smoothed similarity, the level of every pair, and the interval of
# the last batch.

blur = preset("ubp", width=13, step=6)
store = FeatureStore.build(study.image_folder, study.images(), image_encoder("gabor"), blur.ladder, work / "features")
job = Job("sub-01", blur, TrainOptions(epochs=24, batch_size=300, learning_rate=1e-3), channels=POSTERIOR)
levels, similarities, histories = [], [], []


def remember(trainer):
    """Keep what the prior knows now."""
    levels.append(trainer.prior.level.clone().numpy())
    similarities.append(trainer.prior.similarity.clone().numpy())
    histories.append(trainer.history[-1])


model_folder = train(study, store, job, work / "runs", after_epoch=remember)

# %%
# Levels over epochs
# ------------------
#
# At first nothing is known and every pair has the middle level. As training goes on a few per cent leave the interval on either side,
# about as many as its 95 % leave out: the rule is relative to the batch, so it always finds some.

from ubp.plots import similarity_figure, training_figure

figure = training_figure({"ubp": pd.DataFrame(histories)})

# %%
# Their similarities after the last epoch, and the interval of the last batch.

from ubp.model import Model

model = Model.load(model_folder)
low, high = model.prior["interval"].tolist()
figure = similarity_figure(similarities[-1], low, high, levels[-1])

# %%
# Held against the truth
# ----------------------
#
# :func:`ubp.uncertainty.uncertainty` gives the pairs with their images, the worst fit first. The shares below are of pairs that the prior
# gave less, base or more blur.

from ubp.uncertainty import uncertainty

pairs = uncertainty(model, study).merge(truth, on="image")
summary = pairs.groupby("level").agg(
    pairs=("image", "size"), lapses=("lapse", "mean"), gain=("gain", "mean"), width=("width", "mean")
)
summary.loc[["less", "base", "more"]].round(2)

# %%
# So the prior finds what it can find: trials in which the mind was elsewhere, and weak responses. Whether the *blur* of the
# brain's image was wider in a trial, which is what a wider kernel would suit, it can hardly tell: the mean width differs little between levels.

from ubp.plots.style import LEVEL_COLOURS, new_figure

with new_figure(3.2) as figure:
    left, middle, right = figure.subplots(1, 3)
    names = ["less", "base", "more"]
    colours = [LEVEL_COLOURS[name] for name in names]
    left.bar(names, [100 * summary.loc[name, "lapses"] for name in names], color=colours)
    left.set(title="mind elsewhere", ylabel="pairs of that level (%)", xlabel="level of blur")
    boxes = middle.boxplot(
        [pairs.loc[pairs.level == name, "gain"] for name in names], tick_labels=names, patch_artist=True, showfliers=False
    )
    for box, colour in zip(boxes["boxes"], colours):
        box.set_facecolor(colour)
    middle.set(title="strength of the response", ylabel="gain", xlabel="level of blur")
    bottom = np.zeros(3)
    for width, shade in zip((7, 13, 19), ("#D9D9D9", "#969696", "#525252")):
        share = np.array([100 * (pairs.loc[pairs.level == name, "width"] == width).mean() for name in names])
        right.bar(names, share, bottom=bottom, color=shade, label=f"{width} px")
        bottom += share
    right.set(title="blur that the brain saw", ylabel="pairs of that level (%)", xlabel="level of blur")
    right.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))

# %%
# How surely are trials without attention found? The area under the curve is the probability that a lapse has a lower
# similarity than another trial; 0.5 is chance.

from sklearn.metrics import roc_auc_score

print(f"lapses found by a low similarity: {roc_auc_score(pairs.lapse, -pairs.similarity):.2f}")
print(f"rank correlation with the gain: {pairs.similarity.corr(pairs.gain, method='spearman'):+.2f}")
print(f"and with the width of the blur: {pairs.similarity.corr(pairs.width, method='spearman'):+.2f}")
# sphinx_gallery_thumbnail_number = 3
