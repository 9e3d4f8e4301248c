"""Rules that decide how much blur the image of each training pair gets, by name."""

import torch
from torch import Tensor

from ubp.errors import InputError
from ubp.learned_prior import LearnedPrior
from ubp.position_prior import PositionPrior
from ubp.posterior_prior import PosteriorPrior
from ubp.presets import Preset
from ubp.prior import BlurPrior
from ubp.smooth_prior import PooledPrior, SmoothPrior


def make_prior(
    preset: Preset, n_pairs: int, group: Tensor | None = None, device: torch.device | str = "cpu"
) -> BlurPrior | PositionPrior:
    """The prior of a preset whose blur is dynamic; `group` is the concept of each pair, for rules that pool.

    Raises
    ------
    InputError
        When the rule pools and nobody said which pairs belong together.
    """
    kind = PRIORS[preset.rule]
    if kind is PooledPrior and group is None:
        raise InputError(
            f"The rule {preset.rule} of preset {preset.name!r} needs the concept of each pair; "
            "give the training pairs a concept."
        )
    if issubclass(kind, BlurPrior):
        return kind(n_pairs, preset.confidence, preset.weight, preset.compare, device)
    return kind(
        n_pairs, len(preset.ladder), confidence=preset.confidence, weight=preset.weight, group=group, device=device
    )


PRIORS: dict[str, type[BlurPrior] | type[PositionPrior]] = {
    "three-step": BlurPrior,
    "smooth": SmoothPrior,
    "smooth-pooled": PooledPrior,
    "posterior": PosteriorPrior,
    "learned": LearnedPrior,
}
"""All are used alike: ``positions(pairs)``, ``update(pairs, similarity)``, ``counts()``, ``state_dict()``."""
