"""The position of a pair from a learned likelihood of its brain embedding given each level of its image."""

import torch
from torch import Tensor

from ubp.posterior_prior import PosteriorPrior

RIDGE = 0.05


class LearnedPrior(PosteriorPrior):
    r"""A posterior over the levels whose noise is learned with the encoder.

    .. math:: h_i \mid l \sim \mathcal{N}(\mu_h + (v_i^l - \mu_v) B,\ \Sigma), \qquad
        c_{il} = \log p(h_i \mid l)

    in the leading principal components of the image vectors, as the first batch has them. The map `B` and the noise
    :math:`\Sigma` are those of a ridge regression of brain embeddings on base levels, from running moments over about
    one pass. Where the cosines of :class:`ubp.posterior_prior.PosteriorPrior` count every direction alike, a direction
    that the signals do not carry counts little here. Parameters and state are those of that class, and

    Parameters
    ----------
    components : int
        Principal components; fewer when the first batch has no more than that many pairs.

    References
    ----------
    That the noise of an observation is to be learned, and to weigh it: Kendall & Gal, "What uncertainties do we need
    in Bayesian deep learning for computer vision?", NeurIPS 2017. Theirs is one variance an example, ours a covariance
    of what is embedded, because the variance of an example does not tell its level.
    """

    state = (*PosteriorPrior.state, "basis", "centre", "moments", "batches")

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
        components: int = 64,
    ) -> None:
        super().__init__(n_pairs, n_levels, confidence, weight, ramp, group, device, sharpness)
        if components < 1:
            raise ValueError(f"components is {components}; expected at least 1.")
        self.components = components
        self.basis, self.centre, self.moments = (torch.empty(0, device=device) for _ in range(3))
        self.batches = torch.zeros((), dtype=torch.int64, device=device)

    def scores(self, brain: Tensor, images: Tensor) -> Tensor:
        """Log likelihoods, up to a constant of the pair."""
        if len(brain) < 2:
            return brain.new_zeros(len(brain), self.n_levels)
        base = images[self.n_levels // 2]
        if not self.basis.numel():
            rank = min(self.components, len(base) - 1, base.shape[1])
            self.basis = torch.linalg.svd(base - base.mean(0), full_matrices=False).Vh[:rank].T.contiguous()
            self.centre = torch.stack([brain.mean(0), base.mean(0)])
        signals, levels = (brain - self.centre[0]) @ self.basis, (images - self.centre[1]) @ self.basis
        self._take_in(signals, levels[self.n_levels // 2])
        signal_mean, base_mean, weights, noise = self._regression()
        residual = (signals - signal_mean) - (levels - base_mean) @ weights
        return -0.5 * (torch.linalg.solve(noise, residual.mT).mT * residual).sum(-1).T

    def _take_in(self, signals: Tensor, base: Tensor) -> None:
        """Move the second moments of (1, base, signal) towards those of the batch."""
        joint = torch.cat([torch.ones_like(base[:, :1]), base, signals], 1)
        new = joint.T @ joint / len(joint)
        share = torch.clamp(1 / (self.batches + 1), min=len(joint) / len(self.passes))
        self.moments = torch.lerp(self.moments, new, share) if self.moments.numel() else new
        self.batches = self.batches + 1

    def _regression(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Means of signals and base levels, the map from these to those, and the covariance of what is left."""
        rank = self.basis.shape[1]
        base, signal = slice(1, rank + 1), slice(rank + 1, None)
        mean = self.moments[0]
        covariance = self.moments - mean[:, None] * mean
        weights = torch.linalg.solve(_ridged(covariance[base, base]), covariance[base, signal])
        residual = (
            covariance[signal, signal]
            - weights.T @ covariance[base, signal]
            - covariance[signal, base] @ weights
            + weights.T @ covariance[base, base] @ weights
        )
        return mean[signal], mean[base], weights, _ridged(residual)


def _ridged(covariance: Tensor) -> Tensor:
    """With a share of the mean variance on the diagonal, and never singular."""
    size = covariance.diagonal().mean()
    floor = RIDGE * size + torch.finfo(covariance.dtype).tiny
    return covariance + floor * torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
