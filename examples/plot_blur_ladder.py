"""
What the blur does to an image
==============================

The eye is sharp where it looks and blurred everywhere else. The prior gives that shape to the
images that brain signals are aligned with: a *foveated* blur, at three strengths.
"""

# %%
# A picture to look at
# --------------------
#
# The scenes of the simulated study need no download: objects of a concept on a textured ground.
# Images are tensors of shape ``(n, 3, height, width)``, in ``uint8``.

import numpy as np
import torch

from ubp.images.scenes import scene

pixels = np.stack(
    [
        scene(concept_seed=24, image_seed=0, size=192),
        scene(concept_seed=53, image_seed=1, size=192),
    ]
)
images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
print(images.shape, images.dtype)

# %%
# The ladder
# ----------
#
# Every level is a mixture of the crisp image :math:`x` and its Gaussian blur,
#
# .. math:: \tilde x = a \, x + (1 - a) \, (x * G), \qquad a = e^{-\lambda d / L},
#
# where :math:`d` is the distance from where the eye is fixed and :math:`L` the largest such
# distance. Near the middle the image stays crisp, whatever the width of the kernel. The presets of
# the method have three levels: ``preset("ubp").ladder``. Width 51 belongs to the 224 pixels of a
# CLIP tower; here the images have 192.

from ubp.plots import ladder_figure
from ubp.presets import preset

ladder = preset("ubp", width=43, step=20).ladder
print([level.name for level in ladder])
figure = ladder_figure(images, ladder)

# %%
# What an encoder loses
# ---------------------
#
# A frozen image encoder turns each level into a vector. How far the blurred vector is from the
# crisp one says how much of what the encoder codes is fine detail. ``gabor`` needs no weights and
# sees 96 pixels; with ``image_encoder("RN50")`` the same lines ask CLIP.

from ubp.images.blur import Blur
from ubp.images.encoders import image_encoder
from ubp.images.levels import apply_levels

encoder = image_encoder("gabor")
small = (
    torch.nn.functional.interpolate(images.float(), encoder.size, mode="area")
    .round()
    .to(torch.uint8)
)
widths = [Blur(width) for width in (1, 7, 13, 19, 31)]
levels = apply_levels(small, widths, keys=["", ""])
vectors = torch.stack([encoder(level) for level in levels])
cosines = torch.cosine_similarity(vectors, vectors[:1], dim=-1).T.numpy()
figure = ladder_figure(small, widths, cosines=cosines, names=["first", "second"])

# %%
# Another gaze, another curve
# ---------------------------
#
# The weight may be nothing anywhere (a uniform blur), fall along another curve, and the eye may
# look elsewhere. ``ubp blur photo.jpg --fixation 48 150 --curve linear`` draws the same from the
# command line.

others = [Blur(43, curve="uniform"), Blur(43, curve="linear", fixation=(48.0, 150.0))]
figure = ladder_figure(images[:1], others)

# %%
# In a training loop you need none of this: ``ubp.images.features.FeatureStore`` keeps the vectors
# of all images at all levels, and :class:`ubp.prior.BlurPrior` says which to take.
