"""
A trained model and a new recording
===================================

A model carries its channels, window, rate and scaling. A recording that comes from elsewhere, with
its channels in another order and at another rate, is brought to these, or refused in a sentence.
"""

# %%
# A model
# -------

import tempfile
from pathlib import Path

from ubp.commands.training import plan_jobs, train_jobs
from ubp.config import Common, TrainOptions
from ubp.data.forward import POSTERIOR
from ubp.data.simulated import Simulation, simulate

folder = tempfile.TemporaryDirectory()
work = Path(folder.name)
study = simulate(
    work / "study",
    Simulation(n_concepts=180, images_per_concept=3, n_test=60),
    quiet=True,
)
quiet = Common(store=work / "features", quiet=True)
options = TrainOptions(
    epochs=12, batch_size=128, learning_rate=1e-3, calibration_concepts=60
)
jobs = plan_jobs(study, width=13, channels=POSTERIOR, options=options)
(model,) = train_jobs(study, jobs, work / "runs", common=quiet)

# %%
# A recording from elsewhere
# --------------------------
#
# The test trials become epochs of mne, as another laboratory might save them: all 63 channels
# shuffled, at 250 Hz instead of 100. The column ``image`` of the metadata says what was shown,
# which is used only to check the answer.

import numpy as np

from ubp.data.to_epochs import to_epochs

epochs = to_epochs(study.recording("sub-01"), split="test")
shuffled = epochs.copy().reorder_channels(
    list(np.random.default_rng(0).permutation(epochs.ch_names))
)
other_rate = shuffled.copy().resample(250.0, verbose="error")
shuffled.save(work / "shuffled-epo.fif", verbose="error")
other_rate.save(work / "other-rate-epo.fif", verbose="error")
print(
    other_rate.ch_names[:6],
    f"{other_rate.info['sfreq']:g} Hz",
    other_rate.get_data(copy=False).shape,
)

# %%
# Ask
# ---
#
# On the command line this is ``ubp retrieve MODEL --signals other-rate-epo.fif --average --figure
# found.png``. The gallery is by default the test images of the study the model was trained on; any
# folder of images serves.

from ubp.retrieve import Retriever

retriever = Retriever.load(model, common=quiet)
inside = retriever.retrieve(study.root, average=True)
again = retriever.retrieve(work / "shuffled-epo.fif", average=True)
elsewhere = retriever.retrieve(work / "other-rate-epo.fif", average=True)
for note in elsewhere.notes:
    print("-", note)

# %%
# The same answer
# ---------------
#
# Another order of channels changes nothing at all. Another rate has been filtered and interpolated
# twice, so a few ranks move.


def ranks_by_image(found):
    """Rank of the image seen, by its name."""
    return dict(zip(found.seen, found.rank(), strict=True))


first, second, third = map(ranks_by_image, (inside, again, elsewhere))
print(
    "shuffled channels: same rank for",
    sum(first[image] == second[image] for image in first),
    "of",
    len(first),
)
print(
    "another rate:      same rank for",
    sum(first[image] == third[image] for image in first),
    "of",
    len(first),
)
for name, found in (("in the study", inside), ("from the file", elsewhere)):
    print(
        f"{name}: top-1 {np.mean(found.rank() <= 1):.1%}, top-5 {np.mean(found.rank() <= 5):.1%}"
    )

# %%
# The best images of some queries, with the calibrated probability of each; the one that was seen
# has a frame.

from ubp.plots import PictureRow, picture_rows_figure
from ubp.plots.montage import choose_queries

TOP = 6
best = elsewhere.best(TOP)
rows = []
for query in choose_queries(elsewhere.rank(), 4):
    images = tuple(elsewhere.gallery[place] for place in best[query])
    shares = elsewhere.probability[query, best[query]]
    size = elsewhere.set_sizes[0.9][query]
    rows.append(
        PictureRow(
            f"rank {elsewhere.rank()[query]:g}",
            (f"90 % set: {size} image" + "s" * int(size != 1),),
            images,
            tuple(f"{share:.1%}" for share in shares),
            framed=elsewhere.seen[query],
        )
    )
figure = picture_rows_figure(
    study.image_folder, rows, header=[f"{place}." for place in range(1, TOP + 1)]
)

# %%
# What does not fit is refused
# ----------------------------
#
# Too few channels, another window, another unit: one sentence, and nothing is guessed.

from ubp.errors import InputError

try:
    retriever.retrieve(shuffled.copy().pick(["Oz", "O1", "Cz"]))
except InputError as error:
    print(error)
