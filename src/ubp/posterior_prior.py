"""The position of a pair from a comparison of its image's levels with each other, not from how well it fits."""

import torch
from torch import Tensor
from torch.nn import functional

from ubp.position_prior import PositionPrior
from ubp.robust import median


def level_evidence(scores: Tensor) -> Tensor:
    r"""What a batch's scores of all levels say about the level of each pair.

    .. math:: d_{il} = c_{il} - \mathrm{median}_i\,c_{il}, \qquad e_{il} = \frac{d_{il} - \bar{d}_i}
        {\mathrm{median}_i \|d_i - \bar{d}_i\|}

    The median over pairs takes out the level that fits best in general, and the mean over levels how well the pair
    fits, which tells of noise, gain and attention.

    Parameters
    ----------
    scores : Tensor of shape (n, n_levels)

    Returns
    -------
    Tensor of shape (n, n_levels)
        0 for a pair alone.
    """
    centred = scores - median(scores)
    centred = centred - centred.mean(1, keepdim=True)
    size = median(centred.norm(dim=1))
    return centred / torch.where(size > 0, size, torch.ones_like(size))


class PosteriorPrior(PositionPrior):
    r"""The mean level of a softened posterior over the levels.

    .. math:: \delta = \frac{1}{b} \sum_l (l - b)\,\pi_l, \qquad \pi = \mathrm{softmax}_l(\beta\,e_l)

    with the moving average `e` of the :func:`level_evidence` of the cosines between the pair's brain embedding and its
    image at every level. Parameters and state are those of :class:`ubp.position_prior.PositionPrior`, and

    Parameters
    ----------
    sharpness : float
        :math:`\beta`; 0 keeps every pair at the base.

    Attributes
    ----------
    evidence : Tensor of shape (n_pairs, n_levels), float32
    """

    needs_levels = True
    state = (*PositionPrior.state, "evidence")

    def __init__(
        self,
        n_pairs: int,
        n_levels: int = 3,
        confidence: float = 0.95,
        weight: float = 0.3,
        ramp: int = 5,
        group: Tensor | None = None,
        device: torch.device | str = "cpu",
        sharpness: float = 1.0,
    ) -> None:
        super().__init__(n_pairs, n_levels, confidence, weight, ramp, group, device)
        if not 0 <= sharpness < float("inf"):
            raise ValueError(f"sharpness is {sharpness}; expected a number not below 0.")
        self.sharpness = sharpness
        self.evidence = torch.zeros(n_pairs, n_levels, device=device)

    def scores(self, brain: Tensor, images: Tensor) -> Tensor:
        """How well each level accounts for unit embeddings (n, d) of signals and (n_levels, n, d): (n, n_levels)."""
        return (images * brain).sum(-1).T

    def learn(self, pairs: Tensor, brain: Tensor | None, images: Tensor | None) -> None:
        """Compare the levels of the batch's pairs."""
        assert brain is not None
        assert images is not None
        signals, levels = (functional.normalize(x.detach().float(), dim=-1) for x in (brain, images))
        new = level_evidence(self.scores(signals, levels))
        self.evidence[pairs] = self.averaged(self.evidence, pairs, new)

    def deviation(self) -> Tensor:
        """See the base class."""
        levels = torch.arange(self.n_levels, device=self.evidence.device) - self.base
        return ((self.sharpness * self.evidence).softmax(1) * levels).sum(1) / self.base
