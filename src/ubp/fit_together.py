"""Many models of one architecture trained at the same time on one device, each as if it were alone.

The weights of all models lie in one tensor per layer, so a step is one batched matrix product per layer instead of one
product per layer and model, and one optimiser step. Every model keeps its own order of pairs, dropout, prior and
history. On a CPU, dropout masks are those of a training alone; on a GPU, where the library draws them inside its
kernels, they are other draws.
"""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from ubp.brain.base import BrainEncoder
from ubp.config import TrainOptions
from ubp.errors import InputError
from ubp.fit import Trainer, batches
from ubp.loss import LOSSES, contrastive_loss
from ubp.randomness import derive_seed

SHARED_OPTIONS = ("epochs", "batch_size", "loss", "learning_rate", "beta1", "weight_decay", "precision", "patience")
ALONE: dict[str, Callable[[TrainOptions], bool]] = {
    "their loss has another objective": lambda options: (
        options.loss in LOSSES and LOSSES[options.loss].second is not None
    ),
    "their targets are of more than the pair": lambda options: options.positives != "pair" or options.soft_targets > 0,
    "their signals are drawn anew in each step": lambda options: bool(options.augment) or options.repetitions != "mean",
    "their brain encoder tells subjects apart": lambda options: options.subject_layers,
    "their first epochs are a warm-up": lambda options: options.warm_up > 0,
    "their encoders have several members": lambda options: options.members > 1,
    "their image side learns": lambda options: options.adapter != "none" or options.components > 0,
    "their weights are averaged": lambda options: options.weight_average > 0,
}
"""Why options of training are of models that are trained one by one."""

FEATURE_DROPOUTS = (nn.Dropout1d, nn.Dropout2d)


class MaskedDropout(nn.Module):
    """Dropout whose mask is given: ``y = x mask / (1 - p)``.

    Parameters
    ----------
    p : float
        Probability that a value is dropped.
    whole_features : bool
        Drop whole feature maps, as `torch.nn.Dropout1d` and the like do.
    """

    mask: Tensor

    def __init__(self, p: float, whole_features: bool) -> None:
        super().__init__()
        self.p, self.whole_features = p, whole_features
        self.register_buffer("mask", torch.ones(()), persistent=False)

    def empty_mask(self, x: Tensor) -> Tensor:
        """A mask for an input, not yet drawn, in its layout: values are drawn in the order of memory."""
        if self.whole_features:
            return torch.empty((*x.shape[:2], *(1 for _ in x.shape[2:])), dtype=torch.bool, device=x.device)
        return torch.empty_like(x, dtype=torch.bool)

    def forward(self, x: Tensor) -> Tensor:
        """Drop what the mask says."""
        return x * self.mask * (1 / (1 - self.p))


class RowLinear(nn.Module):
    """A linear map whose weight gradient comes in the layout of the weight, so that stacked ones are not copied.

    ``y = (W x^T)^T + b`` instead of ``x W^T + b``.

    Parameters
    ----------
    linear : torch.nn.Linear
        Whose parameters it takes over.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Map the last dimension."""
        if x.ndim != 2:
            return nn.functional.linear(x, self.weight, self.bias)
        # contiguous, because dropout draws its values in the order of memory
        y = (self.weight @ x.T).T.contiguous()
        return y if self.bias is None else y + self.bias


def common_shape(trainers: Sequence[Trainer]) -> str | None:
    """Why trainers cannot be fitted together, or None when they can."""
    first = trainers[0]
    kinds = sorted({trainer.options.kind for trainer in trainers} - {"contrastive"})
    if kinds:
        return f"a model of the kind {kinds[0]} is trained by itself"
    for other in trainers:
        for what, mine, theirs in (
            ("brain encoder", other.options.brain_encoder, first.options.brain_encoder),
            ("shape of the signals", tuple(other.pairs.signals.shape), tuple(first.pairs.signals.shape)),
            ("embedding length", other.pairs.ladder.shape[-1], first.pairs.ladder.shape[-1]),
            ("number of finished epochs", other.epoch, first.epoch),
            ("device", other.device, first.device),
            *((name, getattr(other.options, name), getattr(first.options, name)) for name in SHARED_OPTIONS),
        ):
            if mine != theirs:
                return f"their {what} differs ({mine} and {theirs})"
    for trainer in trainers:
        for why, alone in ALONE.items():
            if alone(trainer.options):
                return why
    if not all(isinstance(trainer.encoder, BrainEncoder) for trainer in trainers):
        return "their images have a bank of blurs"
    if first.encoder.uses_subject:
        return "their brain encoder tells subjects apart"
    if first.options.patience:
        return "they may stop at different epochs"
    return None


class _Stack:
    """The weights and optimiser states of all models, stacked; each trainer's own are views of them."""

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        encoders = [trainer.encoder for trainer in trainers]
        self.parameters, self.buffers = stack_module_state(encoders)
        self.temperature = torch.stack([trainer.temperature.detach() for trainer in trainers]).requires_grad_()
        options = trainers[0].options
        stacked = [*self.parameters.values(), self.temperature]
        self.optimizer = torch.optim.AdamW(
            stacked,
            lr=options.learning_rate,
            betas=(options.beta1, 0.999),
            weight_decay=options.weight_decay,
            fused=trainers[0].device.type in ("cpu", "cuda"),
        )
        own: list[list[Tensor]] = [[*trainer.encoder.parameters(), trainer.temperature] for trainer in trainers]
        self._stack_states(trainers, own, stacked)
        with torch.no_grad():
            for index, (trainer, mine) in enumerate(zip(trainers, own, strict=True)):
                for tensor, all_of_it in zip(mine, stacked, strict=True):
                    tensor.data = all_of_it.data[index]
                for name, buffer in trainer.encoder.named_buffers():
                    buffer.data = self.buffers[name].data[index]

    def _stack_states(self, trainers: Sequence[Trainer], own: list[list[Tensor]], stacked: list[Tensor]) -> None:
        for place, tensor in enumerate(stacked):
            states = [trainer.optimizer.state.get(mine[place]) for trainer, mine in zip(trainers, own, strict=True)]
            state = self.optimizer.state[tensor]
            for name in ("exp_avg", "exp_avg_sq"):
                parts = [
                    torch.zeros_like(mine[place]) if not s else s[name] for mine, s in zip(own, states, strict=True)
                ]
                state[name] = torch.stack(parts)
            steps = {float(s["step"]) if s else 0.0 for s in states}
            if len(steps) > 1:
                raise InputError("Models that took different numbers of steps cannot be trained together.")
            state["step"] = torch.tensor(steps.pop(), device=tensor.device if tensor.is_cuda else "cpu")
            for index, (trainer, mine) in enumerate(zip(trainers, own, strict=True)):
                trainer.optimizer.state[mine[place]] = {
                    "step": state["step"],
                    **{name: state[name][index] for name in ("exp_avg", "exp_avg_sq")},
                }


class TogetherTrainer:
    """Advances trainers of one architecture in step; they can be saved and evaluated as ever between epochs.

    Parameters
    ----------
    trainers : sequence of Trainer
        With the same brain encoder, shapes, options and number of finished epochs; subjects, seeds and presets differ.

    Raises
    ------
    InputError
        When they cannot be trained together.
    """

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        reason = common_shape(trainers)
        if reason:
            raise InputError(f"These {len(trainers)} models cannot be trained together: {reason}.")
        self.trainers = list(trainers)
        self.template = _with_masks(trainers[0].encoder)
        self.stack = _Stack(trainers)

    def run(self, after_epoch: Callable[[Trainer], None] | None = None) -> None:
        """Train until all are finished; `after_epoch` is called with every trainer after every epoch."""
        while not self.trainers[0].finished:
            self.run_epoch()
            for trainer in self.trainers:
                if after_epoch:
                    after_epoch(trainer)
        for trainer in self.trainers:
            trainer.restore_best()

    def run_epoch(self) -> None:
        """Train one epoch."""
        seeds = [derive_seed("epoch", trainer.seed, trainer.epoch) for trainer in self.trainers]
        device = self.trainers[0].device
        masks = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        orders = [
            trainer.order(torch.Generator().manual_seed(seed))
            for trainer, seed in zip(self.trainers, seeds, strict=True)
        ]
        for trainer in self.trainers:
            trainer.encoder.train()
        sums = torch.zeros(len(self.trainers), device=device)
        size = self.trainers[0].options.batch_size
        for parts in zip(*(batches(order, size) for order in orders), strict=True):
            sums += self._step(parts, masks) * len(parts[0])
        for trainer, total in zip(self.trainers, sums, strict=True):
            trainer.end_epoch(total)

    def _step(self, parts: Sequence[Tensor], generators: Sequence[torch.Generator]) -> Tensor:
        trainers, stack = self.trainers, self.stack
        signals = torch.stack([t.pairs.signals[part] for t, part in zip(trainers, parts, strict=True)])
        vision = torch.stack([t.vision(part) for t, part in zip(trainers, parts, strict=True)])
        masks = _draw(self.template, signals[0], generators)
        bf16 = trainers[0].compute_type is torch.bfloat16
        with torch.autocast(trainers[0].device.type, torch.bfloat16, enabled=bf16):
            call = vmap(lambda state, x: functional_call(self.template, state, (x,)))
            brain = call({**stack.parameters, **stack.buffers, **masks}, signals)
            similarity = vmap(trainers[0].loss.similarity)(brain, vision, stack.temperature)
        losses = vmap(contrastive_loss)(similarity)
        stack.optimizer.zero_grad()
        losses.sum().backward()
        stack.optimizer.step()
        for trainer, part, matrix, embedded in zip(trainers, parts, similarity, brain, strict=True):
            trainer.tell_prior(part, matrix.diagonal(), [embedded])
        return losses.detach()


def _with_masks(encoder: nn.Module) -> nn.Module:
    """A copy in training mode whose dropout layers take their masks as buffers, and whose linear maps are stackable."""
    copied = copy.deepcopy(encoder).train()
    for name, module in list(copied.named_modules()):
        if isinstance(module, (nn.Dropout, *FEATURE_DROPOUTS)):
            parent, _, child = name.rpartition(".")
            masked = MaskedDropout(module.p, isinstance(module, FEATURE_DROPOUTS))
            setattr(copied.get_submodule(parent), child, masked)
        elif type(module) is nn.Linear:
            parent, _, child = name.rpartition(".")
            setattr(copied.get_submodule(parent), child, RowLinear(module))
    return copied


def _draw(template: nn.Module, signals: Tensor, generators: Sequence[torch.Generator]) -> dict[str, Tensor]:
    """Masks of all models for a batch, in the order in which the layers are called."""
    shapes = _empty_masks(template, signals)
    drawn: dict[str, list[Tensor]] = {name: [] for name, _, _ in shapes}
    for generator in generators:
        for name, mask, keep in shapes:
            drawn[name].append(torch.empty_like(mask).bernoulli_(keep, generator=generator))
    return {f"{name}.mask": torch.stack(masks).to(signals.dtype) for name, masks in drawn.items()}


def _empty_masks(template: nn.Module, signals: Tensor) -> list[tuple[str, Tensor, float]]:
    key = tuple(signals.shape)
    cache: dict[tuple[int, ...], list[tuple[str, Tensor, float]]] = template.__dict__.setdefault("_masks", {})
    if key not in cache:
        found: list[tuple[str, Tensor, float]] = []

        def note(name: str) -> Callable[..., None]:
            return lambda module, inputs: found.append((name, module.empty_mask(inputs[0]), 1 - module.p))

        hooks = [
            module.register_forward_pre_hook(note(name))
            for name, module in template.named_modules()
            if isinstance(module, MaskedDropout)
        ]
        # on a copy: a batch norm in training mode moves its statistics
        with torch.no_grad():
            state = {name: tensor.clone() for name, tensor in template.state_dict().items()}
            functional_call(template, state, (signals.float(),))
        for hook in hooks:
            hook.remove()
        cache[key] = found
    return cache[key]
