"""Which class a brain latent belongs to, by a support vector machine on latents drawn given class features."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.svm import SVC

from ubp.bravl.network import BraVL
from ubp.randomness import seeded

GAMMA = 1e-3
PENALTY = 1.0
N_DRAWS = 80


@dataclass(frozen=True)
class LatentClassifier:
    """A classifier of latents, fitted without any brain signal.

    Parameters
    ----------
    machine : SVC
        Its classes are the rows of the class features.
    """

    machine: SVC

    @classmethod
    @torch.no_grad()
    def fit(
        cls, model: BraVL, vision: np.ndarray, text: np.ndarray | None, seed: int, n_draws: int = N_DRAWS
    ) -> "LatentClassifier":
        """Draw latents given each class's image and text features, and fit the machine to tell classes apart.

        Each class gets as many draws, of each subset's posterior an equal share: image alone, and with text also text
        alone and both.

        Parameters
        ----------
        model : BraVL
        vision : array of shape (n_classes, vision_dim), float32
        text : array of shape (n_classes, text_dim), float32, optional
        seed : int
        n_draws : int
            Latents of each class; 80 are the repetitions of a test image that the released program draws one each for.
        """
        device = next(model.parameters()).device
        given = {"image": vision} | ({} if text is None else {"text": text})
        features = {name: model.features[name](torch.from_numpy(x).float().to(device)) for name, x in given.items()}
        posteriors = model.posteriors(features)
        share = -(-n_draws // len(posteriors))
        with seeded("class features", seed, device=device):
            drawn = torch.cat([posterior.sample(share) for posterior in posteriors]).cpu()
        rows = np.tile(np.arange(len(vision)), len(drawn))
        machine = SVC(gamma=GAMMA, C=PENALTY, decision_function_shape="ovr")
        return cls(machine.fit(drawn.flatten(0, 1).numpy(), rows))

    def scores(self, latents: np.ndarray, block: int = 1024) -> np.ndarray:
        """How well each latent (n, 32) fits each class, shape (n, n_classes), float32."""
        parts = [self.machine.decision_function(latents[i : i + block]) for i in range(0, len(latents), block)]
        scores = np.concatenate(parts).astype(np.float32)
        # of two classes the machine gives one margin
        return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores
