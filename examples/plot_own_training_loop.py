"""
The prior in your own training loop
===================================

:class:`ubp.prior.BlurPrior` needs torch alone, and three calls: ask for levels, take the images'
embeddings at these, say how well the pairs fit. Here is a whole training loop around it.
"""

# %%
# Signals and a ladder of embeddings
# ----------------------------------
#
# Any arrays serve. Here they are those of a simulated study: the mean trial of every training
# image, and the unit vectors of the images at three levels of increasing blur.

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ubp.data.forward import POSTERIOR
from ubp.data.simulated import Simulation, simulate
from ubp.images.encoders import image_encoder
from ubp.images.features import FeatureStore
from ubp.presets import preset

folder = tempfile.TemporaryDirectory()
work = Path(folder.name)
study = simulate(
    work / "study", Simulation(n_concepts=150, n_test=100, snr=0.3), quiet=True
)
levels = preset("ubp", width=13, step=6).ladder
store = FeatureStore.build(
    study.image_folder,
    study.images(),
    image_encoder("gabor"),
    levels,
    work / "features",
)

train = study.recording("sub-01").load("train", channels=POSTERIOR)
test = study.recording("sub-01").load("test", channels=POSTERIOR)
ladder = torch.from_numpy(
    np.stack([store.vectors(level, train.images) for level in levels])
)
gallery = torch.from_numpy(store.vectors(levels[1], test.images))
signals, new_signals = (
    torch.as_tensor(part.signals, dtype=torch.float32).flatten(1)
    for part in (train, test)
)
print(
    "signals",
    tuple(signals.shape),
    "ladder",
    tuple(ladder.shape),
    "gallery",
    tuple(gallery.shape),
)

# %%
# The loop
# --------
#
# A level found in one epoch is used in the next. ``prior.update`` takes the diagonal of the
# similarity matrix, detached: no gradient flows through the prior.

from ubp.prior import BlurPrior

torch.manual_seed(0)
encoder = nn.Sequential(
    nn.Linear(signals.shape[1], 512),
    nn.LayerNorm(512),
    nn.GELU(),
    nn.Dropout(0.5),
    nn.Linear(512, ladder.shape[2]),
)
optimizer = torch.optim.AdamW(encoder.parameters(), lr=5e-4, weight_decay=1e-2)
prior = BlurPrior(n_pairs=len(signals))
history = []
for epoch in range(1, 21):
    encoder.train()
    losses = []
    for pairs in torch.randperm(len(signals)).split(150):
        images = ladder[prior.levels(pairs), pairs]
        similarity = encoder(signals[pairs]) @ images.T
        matched = torch.arange(len(pairs))
        loss = (
            F.cross_entropy(similarity, matched)
            + F.cross_entropy(similarity.T, matched)
        ) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        prior.update(pairs, similarity.diagonal())
        losses.append(loss.item())
    history.append({"epoch": epoch, "loss": np.mean(losses), **prior.counts()})

# %%
# What came of it
# ---------------
#
# The ranks of the test images, and two figures of the package, which take plain tables. Nothing was
# chosen by looking at the test images: the number of epochs was fixed beforehand.

import pandas as pd

from ubp.metrics import chance, cosine_similarity, ranks, top_k
from ubp.plots import training_figure

encoder.eval()
with torch.no_grad():
    brain = encoder(new_signals).numpy()
rank = ranks(cosine_similarity(brain, gallery.numpy()), np.arange(len(gallery)))
for k in (1, 5):
    hits = top_k(rank, k, len(gallery))
    print(
        f"top-{k}: {100 * hits.mean():.1f} %, chance {100 * chance(len(gallery), k):.1f} %"
    )

# %%
figure = training_figure({"own loop": pd.DataFrame(history)})

# %%
# Where the ladder comes from photographs of your own: :func:`ubp.images.blur.blur_ladder` makes the
# blurred images of a batch, and any encoder makes vectors of them. Give these length 1, as the loss
# of the method expects.
