"""
Which times and which channels carry the image?
===============================================

``ubp ablate`` answers that for a study: it trains the decoder in sliding windows of time, and asks how much is lost
when a channel's signals are taken from other trials. Scores are of training concepts held out of all models, so the
test images are still unseen when a window or a set of channels is chosen.
"""

# %%
# A simulated study
# -----------------
#
# The sources of its signals lie in the visual cortex, at the back of the head, and answer from about 70 ms on.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

from ubp.ablation_plan import Asked
from ubp.commands.ablating import ablate
from ubp.config import Common
from ubp.data.simulated import Simulation, simulate

channels = (
    "Fp1",
    "Fp2",
    "F3",
    "F4",
    "C3",
    "Cz",
    "C4",
    "T7",
    "T8",
    "P7",
    "P3",
    "Pz",
    "P4",
    "P8",
    "PO7",
    "PO8",
    "O1",
    "O2",
)
simulation = Simulation(
    n_concepts=120,
    images_per_concept=2,
    n_test=2,
    test_repetitions=1,
    channels=channels,
    snr=0.3,
)
folder = Path(tempfile.mkdtemp())
study = simulate(folder / "study", simulation, quiet=True)

# %%
# Windows of time, and channels
# -----------------------------
#
# The same from the command line::
#
#     ubp ablate study --time-windows 0.1 0.1 --channels permute --preset blur --width 13 --epochs 10 ...

found = ablate(
    folder / "study",
    out=folder / "ablation",
    asked=Asked(time_windows=(0.1, 0.1), channels="permute"),
    preset="blur",
    width=simulation.true_width,
    metric="mean_percentile_rank",
    changes={
        "epochs": 10,
        "batch_size": 64,
        "learning_rate": 1e-3,
        "calibration_concepts": 40,
    },
    common=Common(store=folder / "features", quiet=True, device="cpu"),
)
print(found["windows"].summary[["part", "score", "low", "high"]])

# %%
# The figures it wrote
# --------------------

for name in ("windows", "channels"):
    picture = plt.imread(folder / "ablation" / f"{name}.png")
    fig = plt.figure(figsize=(9, 9 * picture.shape[0] / picture.shape[1]))
    fig.add_axes((0, 0, 1, 1)).imshow(picture)
    plt.axis("off")
plt.show()
