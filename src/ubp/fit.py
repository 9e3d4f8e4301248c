"""Contrastive training: arrays in, a fitted brain encoder out. Knows nothing of files or recordings."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from ubp.brain.base import SignalEncoder
from ubp.config import TrainOptions
from ubp.discrepancy import squared_discrepancy
from ubp.draw import SignalDraws
from ubp.encoder import Members, fit_images, make_encoder, side_by_side
from ubp.errors import InputError
from ubp.loss import LOSSES
from ubp.pairs import Gallery, Pairs, channel_scale
from ubp.position_prior import PositionPrior, between
from ubp.presets import Preset
from ubp.priors import make_prior
from ubp.randomness import derive_seed, seeded
from ubp.targets import batch_target
from ubp.trainer import BaseTrainer, HistoryRow, batches, embed, embed_images, inputs, under

__all__ = ["Gallery", "HistoryRow", "Pairs", "Trainer", "batches", "channel_scale", "embed", "embed_images"]


class Trainer(BaseTrainer):
    r"""Fits a brain encoder to image embeddings by a contrastive loss, with the blur prior where the preset has one.

    In the epochs of a warm-up (`options.warm_up`) what is minimised instead is

    .. math:: \sum_g \frac{n_g}{n} D^2\Big(\frac{h_g}{\|h_g\|}, \frac{y}{\|y\|}\Big)

    the discrepancy between the brain embeddings of each subject `g` and all image embeddings of the batch, see
    :func:`ubp.discrepancy.squared_discrepancy`, both of unit length whatever the loss is, as images are ranked by the
    cosine. Images are what is to be reached, so nothing is learned on their side, nor the temperature, and the prior is
    not told how well pairs fit. The column `loss` of the history is the contrastive loss in every epoch, also where it
    is not minimised; `discrepancy` is what a warm-up epoch minimised.

    Parameters and state are those of :class:`ubp.trainer.BaseTrainer`.
    """

    encoder: SignalEncoder
    temperature: nn.Parameter

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
        if options.subject_layers and not pairs.n_subjects:
            raise InputError("Subjects are to have layers of their own and the pairs have no subjects; give them.")
        self.draws = SignalDraws(self.pairs, options)
        self.generator = torch.Generator(self.device)
        with seeded("weights", seed):
            self.encoder = make_encoder(
                options,
                n_channels,
                n_times,
                pairs.ladder.shape[-1],
                preset.n_vectors,
                pairs.ladder.shape[1],
                n_subjects=pairs.n_subjects,
                sfreq=pairs.sfreq,
            )
        middle = pairs.ladder[len(pairs.ladder) // 2]
        fit_images(self.encoder, middle)
        self.encoder.to(self.device)
        self.loss = LOSSES[options.loss]
        self.temperature = nn.Parameter(torch.tensor(self.loss.temperature, device=self.device))
        second = self.loss.second
        self.second = None if second is None else nn.Parameter(torch.tensor(second, device=self.device))
        self.optimizer = torch.optim.AdamW(
            [*self.encoder.parameters(), *self.scalars],
            lr=options.learning_rate,
            betas=(options.beta1, 0.999),
            weight_decay=options.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )
        self.discrepancy = torch.zeros((), device=self.device)
        self.average = moving_average(self.encoder, options.weight_average) if options.weight_average else None
        self.prior = make_prior(preset, len(pairs), self.pairs.concept, self.device) if preset.dynamic else None

    @property
    def scalars(self) -> list[nn.Parameter]:
        """The learned numbers of the loss: the temperature, and a second one where it has that."""
        return [self.temperature] if self.second is None else [self.temperature, self.second]

    @property
    def warming_up(self) -> bool:
        """Whether the epoch that runs now, or comes next, is one of the warm-up."""
        return self.epoch < self.options.warm_up

    @property
    def final_encoder(self) -> SignalEncoder:
        """The encoder with the averaged weights, if they are averaged."""
        return self.average.module if self.average else self.encoder  # type: ignore[return-value]

    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """The one optimiser."""
        return {"optimizer": self.optimizer}

    def vision(self, batch: Tensor) -> Tensor:
        """Image vectors of pairs, each where on the ladder it is now."""
        images = self.pairs.image[batch]
        if not self.prior:
            return self.pairs.ladder[0, images]
        return between(self.pairs.ladder, self.prior.positions(batch), images)

    def run_epoch(self) -> None:
        """Train one epoch; what happens to signals is drawn apart from all else, so that the rest stays the same."""
        self.generator.manual_seed(derive_seed("signals", self.seed, self.epoch))
        self.discrepancy.zero_()
        super().run_epoch()

    def signals(self, batch: Tensor) -> tuple[Tensor, ...]:
        """What the encoder takes for pairs: their signals, drawn and changed as the options say, and subjects."""
        pairs = self.pairs
        if self.draws.off:
            return inputs(self.encoder, pairs.signals, pairs.subject, batch)
        drawn = self.draws(batch, self.generator)
        return inputs(self.encoder, drawn, None if pairs.subject is None else pairs.subject[batch], slice(None))

    def step(self, batch: Tensor) -> Tensor:
        """One step of the contrastive loss; it tells the prior how well the pairs fit. Or one of the warm-up."""
        options = self.options
        signals, vision = self.signals(batch), self.vision(batch)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.compute_type is torch.bfloat16):
            sides = list(self.sides(signals, vision))
            similarities = [self.loss(brain, images, self.temperature) for brain, images in sides]
        target = batch_target(
            self.pairs.image[batch], vision, options.positives, options.soft_targets, options.soft_temperature
        )
        losses = [self.loss.objective(matrix, target, self.temperature, self.second) for matrix in similarities]
        loss = torch.stack(losses).mean()
        minimised = self.apart(sides, batch) if self.warming_up else loss
        self.optimizer.zero_grad()
        minimised.backward()
        self.optimizer.step()
        if self.average:
            self.average.update_parameters(self.encoder)
        if self.warming_up:
            self.discrepancy += minimised.detach() * len(batch)
            return loss.detach()
        matched = torch.stack([similarity.diagonal() for similarity in similarities]).mean(0)
        self.tell_prior(batch, matched, [brain for brain, _ in sides])
        return loss.detach()

    def apart(self, sides: Sequence[tuple[Tensor, Tensor]], batch: Tensor) -> Tensor:
        """How far the brain embeddings of each subject are from the image embeddings of a batch; mean over members."""
        subject = None if self.pairs.subject is None else self.pairs.subject[batch]
        found = [squared_discrepancy(unit(brain), unit(images.detach()), subject) for brain, images in sides]
        return torch.stack(found).mean()

    @torch.no_grad()
    def tell_prior(self, batch: Tensor, matched: Tensor, brain: Sequence[Tensor]) -> None:
        """Let the prior know how well pairs fit: their matched similarities and every member's brain embeddings."""
        if not self.prior:
            return
        if not isinstance(self.prior, PositionPrior) or not self.prior.needs_levels:
            self.prior.update(batch, matched)
            return
        self.encoder.eval()  # dropout that differs between the levels would pass for a difference of them
        levels = [self.encoder.images(level.float()) for level in self.pairs.ladder[:, self.pairs.image[batch]]]
        self.encoder.train()
        self.prior.update(batch, matched, brain[0] if len(brain) == 1 else side_by_side(brain), torch.stack(levels))

    def sides(self, signals: tuple[Tensor, ...], vision: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Brain and image embeddings of a batch, by every member of the encoder."""
        if not isinstance(self.encoder, Members):
            yield self.encoder(*signals), self.encoder.images(vision)
            return
        for brain, member in zip(self.encoder.each(*signals), self.encoder.members, strict=True):
            yield brain, member.images(vision)  # type: ignore[operator]

    def more_history(self) -> HistoryRow:
        """What a warm-up epoch minimised, and the state of the prior."""
        if self.warming_up:
            counts = self.prior.counts() if self.prior else {}
            return {"discrepancy": self.discrepancy.item() / len(self.pairs), **counts}
        if not self.prior:
            return {}
        low, high = self.prior.interval.tolist()
        return {
            "similarity": self.prior.similarity.mean().item(),
            "low": low,
            "high": high,
            **self.prior.counts(),
        }

    def fitted(self) -> dict[str, Tensor]:
        """Encoder, temperature and prior."""
        tensors = {**super().fitted(), "temperature": self.temperature.detach()}
        if self.second is not None:
            tensors["second"] = self.second.detach()
        if self.average:
            tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        if self.prior:
            tensors |= {f"prior.{name}": tensor for name, tensor in self.prior.state_dict().items()}
        return tensors

    def load_fitted(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what :meth:`fitted` gave."""
        super().load_fitted(tensors)
        self.temperature.data.copy_(tensors["temperature"])
        if self.second is not None:
            self.second.data.copy_(tensors["second"])
        if self.average:
            self.average.load_state_dict(under("average.", tensors))
        if self.prior:
            self.prior.load_state_dict(under("prior.", tensors))


def unit(vectors: Tensor) -> Tensor:
    """Vectors (n, dim) of any floating type, in float32 and of unit length."""
    return functional.normalize(vectors.float(), dim=-1)


def moving_average(encoder: nn.Module, decay: float) -> AveragedModel:
    r"""A copy of an encoder that follows its weights.

    .. math:: \bar{w} \leftarrow d_t \bar{w} + (1 - d_t) w, \quad d_t = \min\Big(d, \frac{1 + t}{10 + t}\Big)

    so that the first steps, far from where training ends, are forgotten.

    Parameters
    ----------
    encoder : Module
    decay : float
        `d`.
    """

    def average(mean: Tensor, new: Tensor, steps: Tensor | int) -> Tensor:
        return torch.lerp(mean, new, 1 - min(decay, (1 + int(steps)) / (10 + int(steps))))

    return AveragedModel(encoder, avg_fn=average)
