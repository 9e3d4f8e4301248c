"""Training: arrays in, a fitted brain encoder out. Knows nothing of files, recordings or the command line."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ubp.brain import BrainEncoder, brain_encoder
from ubp.config import Preset, TrainOptions
from ubp.errors import InputError, UbpError
from ubp.loss import INITIAL_TEMPERATURE, LOSSES, contrastive_loss
from ubp.metrics import cosine_similarity, mean_reciprocal_rank, ranks, top_k
from ubp.prior import BlurPrior
from ubp.randomness import seeded

HistoryRow = dict[str, float | int]


@dataclass(frozen=True)
class Pairs:
    """The training pairs, resident on the device that trains.

    Parameters
    ----------
    signals : Tensor of shape (n_pairs, n_channels, n_times), float32
    image : Tensor of shape (n_pairs,), int64
        Row of each pair's image in the ladder.
    ladder : Tensor of shape (n_levels, n_images, embed_dim), float32
        Unit image embeddings by increasing blur; one level or three.
    subject : Tensor of shape (n_pairs,), int64, optional
        Number of each pair's subject, from 0, for brain encoders that want to know.
    sfreq : float, optional
        Sampling rate in Hz, for brain encoders that want to know.

    Raises
    ------
    InputError
        When the shapes do not belong together.
    """

    signals: Tensor
    image: Tensor
    ladder: Tensor
    subject: Tensor | None = None
    sfreq: float | None = None

    def __post_init__(self) -> None:
        if self.signals.ndim != 3 or self.ladder.ndim != 3 or self.image.shape != (len(self.signals),):
            raise InputError(
                f"Signals {tuple(self.signals.shape)}, image rows {tuple(self.image.shape)} and ladder "
                f"{tuple(self.ladder.shape)} do not belong together; expected (n, channels, times), (n,) and "
                "(levels, images, d)."
            )
        if self.subject is not None and self.subject.shape != self.image.shape:
            raise InputError(f"There are {len(self.subject)} subjects for {len(self.signals)} training pairs.")
        if len(self.signals) < 2:
            raise InputError(f"There are {len(self.signals)} training pairs; the contrastive loss needs at least 2.")

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Pairs":
        """Copy to a device and floating type, where they are not there already."""
        subject = None if self.subject is None else self.subject.to(device)
        return replace(
            self,
            signals=self.signals.to(device, dtype),
            image=self.image.to(device),
            ladder=self.ladder.to(device, dtype),
            subject=subject,
        )

    @property
    def n_subjects(self) -> int:
        """Number of subjects; 0 when nobody said whose signals they are."""
        return 0 if self.subject is None else int(self.subject.max()) + 1


@dataclass(frozen=True)
class Gallery:
    """Held-out signals and the image of each, for retrieval.

    Parameters
    ----------
    signals : Tensor of shape (n_queries, n_channels, n_times), float32
    target : integer array of shape (n_queries,)
        Row of `vision` that each query saw.
    vision : array of shape (n_gallery, embed_dim), float32
    subject : Tensor of shape (n_queries,), int64, optional
        As in the training pairs.
    """

    signals: Tensor
    target: np.ndarray
    vision: np.ndarray
    subject: Tensor | None = None


@dataclass
class Best:
    """The best epoch so far by validation: its number, its score, and encoder, temperature and prior after it."""

    epoch: int = 0
    score: float = -math.inf
    tensors: dict[str, Tensor] = field(default_factory=dict)


class Trainer:
    """The state of one training run; :meth:`run` advances it, :meth:`state_dict` saves it.

    All randomness is a function of the seed and the epoch, so a run continued from a saved state gives what an
    uninterrupted run gives, bit for bit on a CPU.

    Parameters
    ----------
    pairs : Pairs
    preset : Preset
    options : TrainOptions
    seed : int
    validation : Gallery, optional
        Needed when `options.validation_concepts` is not 0; the epoch with the best mean reciprocal rank is kept.
    device : torch.device or str

    Raises
    ------
    InputError
        When the ladder has another number of levels than the preset.
    """

    def __init__(
        self,
        pairs: Pairs,
        preset: Preset,
        options: TrainOptions,
        seed: int = 0,
        validation: Gallery | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if len(pairs.ladder) != len(preset.ladder):
            raise InputError(
                f"The ladder has {len(pairs.ladder)} levels; preset {preset.name!r} expects {len(preset.ladder)}."
            )
        self.preset, self.options, self.seed, self.validation = preset, options, seed, validation
        self.device = torch.device(device)
        self.compute_type = torch.bfloat16 if options.precision == "bf16" else torch.float32
        self.pairs = pairs.to(self.device, self.compute_type)
        _, n_channels, n_times = pairs.signals.shape
        with seeded("weights", seed):
            self.encoder = brain_encoder(
                options.brain_encoder,
                n_channels,
                n_times,
                pairs.ladder.shape[-1],
                n_subjects=pairs.n_subjects,
                sfreq=pairs.sfreq,
            )
        self.encoder.to(self.device)
        self.similarity = LOSSES[options.loss]
        self.temperature = nn.Parameter(torch.tensor(INITIAL_TEMPERATURE, device=self.device))
        self.optimizer = torch.optim.AdamW(
            [*self.encoder.parameters(), self.temperature],
            lr=options.learning_rate,
            betas=(options.beta1, 0.999),
            weight_decay=options.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )
        self.prior = (
            BlurPrior(len(pairs.signals), preset.confidence, preset.weight, preset.compare, self.device)
            if preset.dynamic
            else None
        )
        self.history: list[HistoryRow] = []
        self.best = Best()

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return len(self.history)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or validation has stopped improving."""
        patience = self.options.patience
        return self.epoch >= self.options.epochs or 0 < patience <= self.epoch - self.best.epoch

    def run(self, after_epoch: Callable[["Trainer"], None] | None = None) -> None:
        """Train until finished; `after_epoch` is called with the trainer after every epoch."""
        while not self.finished:
            self.run_epoch()
            if after_epoch:
                after_epoch(self)
        self.restore_best()

    def restore_best(self) -> None:
        """Go back to the best epoch by validation, if there is one."""
        if self.best.tensors:
            self._load_fitted(self.best.tensors)

    def order(self, generator: torch.Generator) -> Tensor:
        """Order of the pairs in an epoch."""
        return torch.randperm(len(self.pairs.signals), generator=generator).to(self.device)

    def vision(self, batch: Tensor) -> Tensor:
        """Image embeddings of pairs, each at the level that it uses now."""
        level: Tensor | int = self.prior.levels(batch) if self.prior else 0
        return self.pairs.ladder[level, self.pairs.image[batch]]

    def run_epoch(self) -> None:
        """Train one epoch."""
        loss_sum = torch.zeros((), device=self.device)
        self.encoder.train()
        with seeded("epoch", self.seed, self.epoch, device=self.device) as generator:
            for batch in batches(self.order(generator), self.options.batch_size):
                loss_sum += self._step(batch) * len(batch)
        self.end_epoch(loss_sum)

    def end_epoch(self, loss_sum: Tensor) -> None:
        """Validate and write the epoch's row of the history; `loss_sum` is over pairs."""
        loss = loss_sum.item() / len(self.pairs.signals)
        if not math.isfinite(loss):
            raise UbpError(
                f"The loss became {loss} in epoch {self.epoch + 1} with learning rate {self.options.learning_rate}; "
                "try a lower learning rate."
            )
        row: HistoryRow = {"epoch": self.epoch + 1, "loss": loss}
        if self.prior:
            low, high = self.prior.interval.tolist()
            row |= {"similarity": self.prior.similarity.mean().item(), "low": low, "high": high}
            row |= self.prior.counts()
        if self.validation:
            row |= self._validate(self.validation)
        self.history.append(row)

    def _step(self, batch: Tensor) -> Tensor:
        pairs = self.pairs
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.compute_type is torch.bfloat16):
            brain = self.encoder(*_inputs(self.encoder, pairs.signals, pairs.subject, batch))
            similarity = self.similarity(brain, self.vision(batch), self.temperature)
        loss = contrastive_loss(similarity)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if self.prior:
            self.prior.update(batch, similarity.diagonal())
        return loss.detach()

    def _validate(self, gallery: Gallery) -> HistoryRow:
        similarity = cosine_similarity(embed(self.encoder, gallery.signals, gallery.subject), gallery.vision)
        rank = ranks(similarity, gallery.target)
        score = mean_reciprocal_rank(rank)
        if score > self.best.score:
            fitted = {name: tensor.detach().clone() for name, tensor in self._fitted().items()}
            self.best = Best(self.epoch + 1, score, fitted)
        n_gallery = len(gallery.vision)
        return {
            "validation_top1": float(top_k(rank, 1, n_gallery).mean()),
            "validation_top5": float(top_k(rank, min(5, n_gallery), n_gallery).mean()),
            "validation_mrr": score,
        }

    def _fitted(self) -> dict[str, Tensor]:
        tensors = {f"encoder.{name}": tensor for name, tensor in self.encoder.state_dict().items()}
        tensors["temperature"] = self.temperature.detach()
        if self.prior:
            tensors |= {f"prior.{name}": tensor for name, tensor in self.prior.state_dict().items()}
        return tensors

    def _load_fitted(self, tensors: dict[str, Tensor]) -> None:
        self.encoder.load_state_dict(_under("encoder.", tensors))
        self.temperature.data.copy_(tensors["temperature"])
        if self.prior:
            self.prior.load_state_dict(_under("prior.", tensors))

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All state as named tensors and as plain JSON content."""
        tensors = self._fitted()
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.tensors.items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in state.items()}
        return tensors, {
            "history": self.history,
            "best": [self.best.epoch, self.best.score] if self.best.epoch else None,
        }

    def load_state_dict(self, tensors: dict[str, Tensor], content: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave, into a trainer made with the same arguments."""
        self._load_fitted(tensors)
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under("optimizer.", tensors).items():
            index, what = name.split(".", 1)
            state.setdefault(int(index), {})[what] = tensor.clone()
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self.history = list(content["history"])
        self.best = Best()
        if content["best"]:
            epoch, score = content["best"]
            self.best = Best(epoch, score, _under("best.", tensors))


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def batches(order: Tensor, batch_size: int) -> list[Tensor]:
    """Cut an order into batches; a last batch of one pair joins the one before, because one pair has no contrast."""
    parts = list(order.split(batch_size))
    if len(parts) > 1 and len(parts[-1]) < 2:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def _inputs(
    encoder: BrainEncoder, signals: Tensor, subject: Tensor | None, rows: Tensor | slice
) -> tuple[Tensor] | tuple[Tensor, Tensor]:
    if encoder.uses_subject and subject is not None:
        return signals[rows], subject[rows]
    return (signals[rows],)


@torch.no_grad()
def embed(encoder: BrainEncoder, signals: Tensor, subject: Tensor | None = None, batch_size: int = 1024) -> np.ndarray:
    """Brain embeddings of signals, in evaluation mode and float32.

    Parameters
    ----------
    encoder : BrainEncoder
    signals : Tensor of shape (n, n_channels, n_times)
    subject : Tensor of shape (n,), int64, optional
        Number of each trial's training subject; without it the subject is an unseen one.
    batch_size : int

    Returns
    -------
    array of shape (n, embed_dim), float32, not normalised
    """
    encoder.eval()
    device = next(encoder.parameters()).device
    parts = []
    for start in range(0, len(signals), batch_size):
        part, *who = _inputs(encoder, signals, subject, slice(start, start + batch_size))
        parts.append(encoder(part.to(device, torch.float32), *(numbers.to(device) for numbers in who)).cpu())
    return torch.cat(parts).numpy()


def channel_scale(signals: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every channel over trials and times; a constant channel gets deviation 1.

    Parameters
    ----------
    signals : Tensor of shape (n, n_channels, n_times), float32

    Returns
    -------
    mean, deviation : Tensor of shape (n_channels, 1), float32
    """
    mean = signals.mean(dim=(0, 2), dtype=torch.float64)
    square = torch.stack([channel.double().var(correction=0) for channel in signals.unbind(1)])
    deviation = square.sqrt()
    deviation[deviation == 0] = 1
    return mean.float()[:, None], deviation.float()[:, None]
