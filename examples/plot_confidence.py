"""
How sure a model may be
=======================

A probability that means what it says, and a set of images that holds the seen one as often as
promised: both are fitted on concepts that were held out of training, and judged here on test
trials.
"""

# %%
# Train with calibration concepts
# -------------------------------
#
# ``calibration_concepts`` are taken out of training and used by nothing else: a third of them fits
# a temperature, the others calibrate the sets.

import tempfile
from pathlib import Path

import numpy as np

from ubp.commands.training import plan_jobs, train_jobs
from ubp.config import Common, TrainOptions
from ubp.data.forward import POSTERIOR
from ubp.data.simulated import Simulation, simulate

folder = tempfile.TemporaryDirectory()
work = Path(folder.name)
study = simulate(
    work / "study",
    Simulation(n_concepts=360, images_per_concept=2, n_test=150),
    quiet=True,
)
quiet = Common(store=work / "features", quiet=True)
options = TrainOptions(
    epochs=12, batch_size=128, learning_rate=1e-3, calibration_concepts=150
)
jobs = plan_jobs(study, width=13, channels=POSTERIOR, options=options)
(model_folder,) = train_jobs(study, jobs, work / "runs", common=quiet)

# %%
# Ask it about the test trials
# ----------------------------
#
# Single trials, as a new recording would give them: four for each of the 150 test images.

from ubp.retrieve import Retriever

retriever = Retriever.load(model_folder, common=quiet)
found = retriever.retrieve(study.root)
columns = ["seen", "rank", "place", "image", "probability", "set_80", "set_95"]
table = found.table(top=3)[columns].head(9).round(2)
table.assign(seen=table.seen.str.slice(-13, -4), image=table.image.str.slice(-13, -4))

# %%
# Is it honest?
# -------------
#
# On the left, how often the best image was the one seen, over the probability that was stated:
# before calibration the model is far too sure. On the right, how often sets held the seen image,
# over what was promised, with the mean number of images in a set.

from ubp.calibration import Calibration
from ubp.image_gallery import open_gallery
from ubp.job import Job
from ubp.judge import judge
from ubp.model import Model
from ubp.plots import reliability_diagram

model = Model.load(model_folder)
calibration = Calibration.load(model_folder, model.description)
gallery = open_gallery(study.root, model.description, common=quiet)
test = Job.of(model.description).trials(study, "test", average=False)
judgement = judge(model, calibration, test, gallery)
queries = judgement.queries
confidence = {name: queries[name].to_numpy() for name in ("before", "after")}
figure = reliability_diagram(
    confidence, queries["hit"].to_numpy(), judgement.coverage()
)

# %%
# One model has one calibration, here on 100 concepts, and its coverage is off to one side or the
# other: with n concepts it is distributed like Beta(n + 1 - k, k), where k = floor((1 - c)(n + 1)).
# The columns ``from`` and ``to`` are where 95 % of such models end. Over many models it is what was
# promised: :doc:`/honest-evaluation` has 50 simulated studies and a recording.

from scipy.stats import beta

coverage = judgement.coverage().set_index("nominal")
n = len(calibration.held.calibration)
k = np.floor((1 - coverage.index.to_numpy()) * (n + 1) + 1e-9)
coverage["from"], coverage["to"] = beta.interval(0.95, n + 1 - k, k)
coverage[["covered", "from", "to", "mean_size", "median_size"]].round(3)

# %%
# Sets say more than a probability
# --------------------------------
#
# How many images a set needs is another way to say how much a trial tells: with four trials
# averaged, sets are far smaller.

from ubp.plots.style import METHOD_COLOURS, new_figure

averaged = retriever.retrieve(study.root, average=True)
with new_figure(3.0) as figure:
    axes = figure.add_subplot()
    bins = np.arange(0, len(gallery.images) + 10, 6)
    for name, retrieval, colour in (
        ("single trials", found, "blur"),
        ("means of four trials", averaged, "ubp"),
    ):
        sizes = retrieval.set_sizes[0.9]
        label = f"{name}: mean {sizes.mean():.0f} images, seen one within {np.mean(retrieval.rank() <= sizes):.0%}"
        axes.hist(
            sizes,
            bins,
            weights=np.full(len(sizes), 100 / len(sizes)),
            color=METHOD_COLOURS[colour],
            alpha=0.6,
            label=label,
        )
    axes.set(
        xlabel="images in the set of 90 %, of 150",
        ylabel="queries (%)",
        xlim=(0, len(gallery.images)),
    )
    axes.legend(frameon=False)
