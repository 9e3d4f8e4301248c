"""
A brain encoder of your own
===========================

A brain encoder maps a trial, ``(n_channels, n_times)``, to a vector. One class and one line in a
table, and it trains, continues after a stop, is evaluated, compared and put to use like those that
come with the package.
"""

# %%
# The class
# ---------
#
# A subclass of :class:`ubp.brain.BrainEncoder` says the shortest window it can serve, how many
# features it gives, and how to compute them. The last stage, a residual head with dropout, is made
# for it. This one looks at the mean of each channel in windows of 80 ms, and at how channels move
# together.

from typing import ClassVar

import torch
from torch import nn

from ubp.brain import BRAIN_ENCODERS, BrainEncoder

STEP, N_MIXED = 8, 24


class WindowMeans(BrainEncoder):
    """Mixtures of channels, averaged over windows of 8 samples that do not overlap."""

    minimum_times: ClassVar[int] = STEP

    def __init__(self, n_channels, n_times, embed_dim=1024, dropout=0.5):
        super().__init__(n_channels, n_times, embed_dim, dropout)
        self.mix = nn.Conv1d(n_channels, N_MIXED, kernel_size=1)
        self.norm = nn.BatchNorm1d(N_MIXED)

    @staticmethod
    def feature_count(n_channels, n_times):
        """Number of features for the head."""
        return N_MIXED * (n_times // STEP)

    def features(self, signals):
        """Signals (batch, n_channels, n_times) to features (batch, n_mixed, n_windows)."""
        return nn.functional.avg_pool1d(self.norm(self.mix(signals)), STEP)


BRAIN_ENCODERS["window-means"] = WindowMeans
print(WindowMeans(17, 80, embed_dim=972)(torch.zeros(4, 17, 80)).shape)

# %%
# Train it beside the others
# --------------------------
#
# ``TrainOptions`` takes its name. The same study, images, seed and number of epochs for all three;
# every encoder might want a learning rate of its own, to be chosen on validation concepts
# (``validation_concepts``), never on the test images.

import tempfile
from pathlib import Path

import pandas as pd

from ubp.commands.evaluating import evaluate_models
from ubp.commands.training import plan_jobs, train_jobs
from ubp.config import Common, TrainOptions
from ubp.data.forward import POSTERIOR
from ubp.data.simulated import Simulation, simulate

folder = tempfile.TemporaryDirectory()
work = Path(folder.name)
study = simulate(work / "study", Simulation(n_concepts=100, n_test=100), quiet=True)
quiet = Common(store=work / "features", quiet=True)
summaries = {}
for name in ("eegproject", "tsconv", "window-means"):
    options = TrainOptions(
        brain_encoder=name, epochs=12, batch_size=128, learning_rate=1e-3
    )
    jobs = plan_jobs(
        study, presets=("blur",), width=13, channels=POSTERIOR, options=options
    )
    models = train_jobs(study, jobs, work / name, common=quiet)
    summaries[name] = evaluate_models(
        models, work / name, ridge=False, common=quiet
    ).summary()

# %%
# Compare
# -------
#
# The figures of the package take plain tables.

from ubp.plots import accuracy_figure

summary = pd.concat(
    [table.assign(method=name) for name, table in summaries.items()], ignore_index=True
)
figure = accuracy_figure(summary)

# %%
# How many weights each has.

from ubp.brain import brain_encoder

counts = {
    name: sum(p.numel() for p in brain_encoder(name, 17, 80, 972).parameters())
    for name in summaries
}
pd.DataFrame(
    {"weights": pd.Series(counts), "top-1 %": 100 * summary.set_index("method")["top1"]}
)

# %%
# A saved model knows its encoder by name, so the class must be registered before it is loaded: put
# it in a module, and import that first. Any model of braindecode is there already, as
# ``braindecode:NAME``.
