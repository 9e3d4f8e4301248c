"""Training of BraVL: auxiliary networks and autoencoder in turn, on every batch."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ubp.bravl.network import N_COMPONENTS, BraVL, auxiliary
from ubp.bravl.objective import N_SAMPLES, broken_matches, intra_information, lower_bound, upper_bound, warm_up
from ubp.config import TrainOptions
from ubp.pairs import Gallery, Pairs
from ubp.presets import Preset
from ubp.randomness import seeded
from ubp.trainer import BaseTrainer, HistoryRow, under

INTRA_WEIGHT = INTER_WEIGHT = 1e-3
CHUNK_VALUES = 2**24


class BraVLTrainer(BaseTrainer):
    r"""Fits BraVL to pairs of signals and images, and the text features of their concepts where there are any.

    .. math:: L = -ELBO(x) - \lambda_1 I(z; \tilde x) + \lambda_2 \Bigl( -ELBO(x) + \frac1C \sum_c CUBO(x'_c) \Bigr)

    with :math:`x'_c` batches whose modalities do not belong together. Before each step of the autoencoder the networks
    of the second term, which see reconstructions, take one of their own.

    Parameters and state are those of :class:`ubp.trainer.BaseTrainer`.
    """

    encoder: BraVL

    def __init__(
        self,
        pairs: Pairs,
        preset: Preset,
        options: TrainOptions,
        seed: int = 0,
        validation: Gallery | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(pairs, preset, options, seed, validation, device)
        _, n_channels, n_times = pairs.signals.shape
        _, n_images, vision_dim = pairs.ladder.shape
        text_dim = 0 if pairs.text is None else pairs.text.shape[1]
        with seeded("weights", seed):
            size = n_components(n_images, vision_dim)
            self.encoder = BraVL(n_channels, n_times, vision_dim, size, text_dim)
            self.auxiliary = nn.ModuleDict({name: auxiliary(size) for name, size in self.encoder.sizes.items()})
        self.encoder.fit_features(pairs.ladder[0], pairs.text)
        self.encoder.to(self.device)
        self.auxiliary.to(self.device)
        self.optimizer = self._adam(self.encoder)
        self.auxiliary_optimizer = self._adam(self.auxiliary)
        self.sums: dict[str, Tensor] = {}

    def _adam(self, module: nn.Module) -> torch.optim.Optimizer:
        options = self.options
        return torch.optim.AdamW(
            module.parameters(),
            lr=options.learning_rate,
            betas=(options.beta1, 0.999),
            weight_decay=options.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )

    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """One of the autoencoder, one of the auxiliary networks."""
        return {"optimizer": self.optimizer, "auxiliary_optimizer": self.auxiliary_optimizer}

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        """Features of the pairs in these rows, by modality."""
        pairs, maps = self.pairs, self.encoder.features
        found = {
            "brain": pairs.signals[batch].flatten(1),
            "image": maps["image"](pairs.ladder[0, pairs.image[batch]]),
        }
        if pairs.text is not None and pairs.concept is not None:
            found["text"] = maps["text"](pairs.text[pairs.concept[batch]])
        return found

    def matches(self, batch: Tensor) -> dict[str, Tensor]:
        """What each modality of the pairs in these rows shows: the image, or for text its concept."""
        image = self.pairs.image[batch]
        shown = {"brain": image, "image": image}
        text, concept = self.pairs.text, self.pairs.concept
        return shown if text is None or concept is None else shown | {"text": concept[batch]}

    def step(self, batch: Tensor) -> Tensor:
        """One step of the auxiliary networks, then one of the autoencoder; the loss of the latter."""
        features, weight = self.features(batch), warm_up(self.epoch)
        with torch.no_grad():
            bound = lower_bound(self.encoder, features)
        self.auxiliary_optimizer.zero_grad()
        (-intra_information(self.auxiliary, bound.reconstructed, bound.z)).backward()
        self.auxiliary_optimizer.step()

        self.optimizer.zero_grad()
        bound = lower_bound(self.encoder, features)
        intra = intra_information(self.auxiliary, bound.reconstructed, bound.z)
        loss = (1 + INTER_WEIGHT) * bound.loss(weight) - INTRA_WEIGHT * intra
        loss.backward()
        negative = self._learn_from_negatives(features, batch)
        self.optimizer.step()
        loss = loss.detach() + INTER_WEIGHT * negative
        parts = {"log_likelihood": bound.log_likelihood, "divergence": bound.divergence, "intra_information": intra}
        for name, value in {**parts, "mismatched_log_likelihood": negative}.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach() * len(batch)
        return loss

    def _learn_from_negatives(self, features: Mapping[str, Tensor], batch: Tensor) -> Tensor:
        """Add the gradient of the weighted mean upper bound over all kinds of negatives; that mean itself."""
        kinds = [(rows, len(kept)) for _, rows, kept in broken_matches(self.matches(batch)) if len(kept)]
        total = torch.zeros((), device=self.device)
        # few rows at a time, because every row is decoded for many draws of its latent
        size = max(1, CHUNK_VALUES // (N_SAMPLES * sum(x.shape[1] for x in features.values())))
        for rows, n in kinds:
            for start in range(0, n, size):
                part = {name: x[rows[name][start : start + size].to(self.device)] for name, x in features.items()}
                bound = upper_bound(self.encoder, part).sum() / (n * len(kinds))
                (INTER_WEIGHT * bound).backward()
                total += bound.detach()
        return total

    def more_history(self) -> HistoryRow:
        """Means over the epoch's pairs of the terms of the objective, and the weight of the divergence."""
        row: HistoryRow = {name: total.item() / len(self.pairs.signals) for name, total in self.sums.items()}
        self.sums = {}
        return row | {"divergence_weight": warm_up(self.epoch)}

    def fitted(self) -> dict[str, Tensor]:
        """Autoencoder and auxiliary networks."""
        auxiliary = {f"auxiliary.{name}": tensor for name, tensor in self.auxiliary.state_dict().items()}
        return super().fitted() | auxiliary

    def load_fitted(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what :meth:`fitted` gave."""
        super().load_fitted(tensors)
        self.auxiliary.load_state_dict(under("auxiliary.", tensors))


def n_components(n_images: int, vision_dim: int) -> int:
    """Principal components that so many distinct training images of such vectors have, 100 at most."""
    return min(N_COMPONENTS, n_images, vision_dim)
