"""What all trainers share: epochs, validation, history, and a state that is saved and continued."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ubp.brain.base import SignalEncoder
from ubp.config import TrainOptions
from ubp.errors import InputError, UbpError
from ubp.metrics import cosine_similarity, mean_reciprocal_rank, ranks, top_k
from ubp.pairs import Gallery, Pairs
from ubp.position_prior import PositionPrior
from ubp.presets import Preset
from ubp.prior import BlurPrior
from ubp.randomness import seeded

HistoryRow = dict[str, float | int]


@dataclass
class Best:
    """The best epoch so far by validation, after a warm-up: its number, its score, and what was learned after it."""

    epoch: int = 0
    score: float = -math.inf
    tensors: dict[str, Tensor] = field(default_factory=dict)


class BaseTrainer(ABC):
    """The state of one training run; `run` advances it, `state_dict` saves it.

    All randomness is a function of the seed and the epoch, so a run continued from a saved state gives what an
    uninterrupted run gives, bit for bit on a CPU. A subclass makes `encoder`, says what its optimisers are, and takes
    one step; it extends `fitted` and `load_fitted` when it learns more than the encoder.

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

    encoder: SignalEncoder
    prior: BlurPrior | PositionPrior | None = None
    temperature: Tensor | None = None

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
        self.history: list[HistoryRow] = []
        self.best = Best()

    @property
    def final_encoder(self) -> SignalEncoder:
        """The encoder that is validated and kept."""
        return self.encoder

    @abstractmethod
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """All optimisers, by the name their state is saved under."""

    @abstractmethod
    def step(self, batch: Tensor) -> Tensor:
        """Learn from the pairs in these rows; the mean loss over them, of shape ()."""

    def more_history(self) -> HistoryRow:
        """What the epoch's row of the history holds beside the loss."""
        return {}

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return len(self.history)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or validation has stopped improving."""
        patience, begun = self.options.patience, max(self.best.epoch, self.options.warm_up)
        return self.epoch >= self.options.epochs or 0 < patience <= self.epoch - begun

    def run(self, after_epoch: Callable[["BaseTrainer"], None] | None = None) -> None:
        """Train until finished; `after_epoch` is called with the trainer after every epoch."""
        while not self.finished:
            self.run_epoch()
            if after_epoch:
                after_epoch(self)
        self.restore_best()

    def restore_best(self) -> None:
        """Go back to the best epoch by validation, if there is one."""
        if self.best.tensors:
            self.load_fitted(self.best.tensors)

    def order(self, generator: torch.Generator) -> Tensor:
        """Order of the pairs in an epoch."""
        return torch.randperm(len(self.pairs), generator=generator).to(self.device)

    def run_epoch(self) -> None:
        """Train one epoch."""
        loss_sum = torch.zeros((), device=self.device)
        self.encoder.train()
        with seeded("epoch", self.seed, self.epoch, device=self.device) as generator:
            for batch in batches(self.order(generator), self.options.batch_size):
                loss_sum += self.step(batch) * len(batch)
        self.end_epoch(loss_sum)

    def end_epoch(self, loss_sum: Tensor) -> None:
        """Validate and write the epoch's row of the history; `loss_sum` is over pairs."""
        loss = loss_sum.item() / len(self.pairs)
        if not math.isfinite(loss):
            raise UbpError(
                f"The loss became {loss} in epoch {self.epoch + 1} with learning rate {self.options.learning_rate}; "
                "try a lower learning rate."
            )
        row: HistoryRow = {"epoch": self.epoch + 1, "loss": loss} | self.more_history()
        if self.validation:
            row |= self._validate(self.validation)
        self.history.append(row)

    def _validate(self, gallery: Gallery) -> HistoryRow:
        vision = embed_images(self.final_encoder, gallery.vision)
        similarity = cosine_similarity(embed(self.final_encoder, gallery.signals, gallery.subject), vision)
        rank = ranks(similarity, gallery.target)
        score = mean_reciprocal_rank(rank)
        if score > self.best.score and self.epoch >= self.options.warm_up:
            fitted = {name: tensor.detach().clone() for name, tensor in self.fitted().items()}
            self.best = Best(self.epoch + 1, score, fitted)
        n_gallery = len(gallery.vision)
        return {
            "validation_top1": float(top_k(rank, 1, n_gallery).mean()),
            "validation_top5": float(top_k(rank, min(5, n_gallery), n_gallery).mean()),
            "validation_mrr": score,
        }

    def fitted(self) -> dict[str, Tensor]:
        """All that is learned, as named tensors."""
        return {f"encoder.{name}": tensor for name, tensor in self.encoder.state_dict().items()}

    def load_fitted(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what :meth:`fitted` gave."""
        self.encoder.load_state_dict(under("encoder.", tensors))

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All state as named tensors and as plain JSON content."""
        tensors = self.fitted()
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.tensors.items()}
        for which, optimizer in self.optimizers().items():
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"{which}.{index}.{name}": tensor for name, tensor in state.items()}
        return tensors, {
            "history": self.history,
            "best": [self.best.epoch, self.best.score] if self.best.epoch else None,
        }

    def load_state_dict(self, tensors: dict[str, Tensor], content: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave, into a trainer made with the same arguments."""
        self.load_fitted(tensors)
        for which, optimizer in self.optimizers().items():
            state: dict[int, dict[str, Tensor]] = {}
            for name, tensor in under(f"{which}.", tensors).items():
                index, what = name.split(".", 1)
                state.setdefault(int(index), {})[what] = tensor.clone()
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        self.history = list(content["history"])
        self.best = Best()
        if content["best"]:
            epoch, score = content["best"]
            self.best = Best(epoch, score, under("best.", tensors))


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def batches(order: Tensor, batch_size: int) -> list[Tensor]:
    """Cut an order into batches; a last batch of one pair joins the one before, because one pair has no contrast."""
    parts = list(order.split(batch_size))
    if len(parts) > 1 and len(parts[-1]) < 2:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def inputs(
    encoder: SignalEncoder, signals: Tensor, subject: Tensor | None, rows: Tensor | slice
) -> tuple[Tensor] | tuple[Tensor, Tensor]:
    """What an encoder takes for some rows: their signals, and their subjects if it wants to know."""
    if encoder.uses_subject and subject is not None:
        return signals[rows], subject[rows]
    return (signals[rows],)


@torch.no_grad()
def embed(encoder: SignalEncoder, signals: Tensor, subject: Tensor | None = None, batch_size: int = 1024) -> np.ndarray:
    """Brain embeddings of signals, in evaluation mode and float32.

    Parameters
    ----------
    encoder : SignalEncoder
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
        part, *who = inputs(encoder, signals, subject, slice(start, start + batch_size))
        parts.append(encoder(part.to(device, torch.float32), *(numbers.to(device) for numbers in who)).cpu())
    return torch.cat(parts).numpy()


@torch.no_grad()
def embed_images(encoder: SignalEncoder, vectors: np.ndarray) -> np.ndarray:
    """Image vectors of shape (n, vision_dim) where the encoder embeds signals, in evaluation mode; float32."""
    encoder.eval()
    device = next(encoder.parameters()).device
    parts = [encoder.images(part.to(device)).cpu() for part in torch.from_numpy(vectors).float().split(16384)]
    return torch.cat(parts).numpy()
