"""The terms of BraVL's objective, each a mean over a batch."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ubp.bravl.gaussians import (
    Gaussian,
    chi_upper_bound,
    in_equal_shares,
    laplace_log_likelihood,
    standard_normal,
)
from ubp.bravl.network import SCALE, BraVL

N_SAMPLES = 30


def warm_up(epoch: int, step: float = 0.01) -> float:
    """Weight of the divergence in an epoch, from 0: it grows by `step` up to 1.

    Examples
    --------
    >>> [warm_up(epoch) for epoch in (0, 1, 100, 200)]
    [0.0, 0.01, 1.0, 1.0]
    """
    return min(1.0, epoch * step)


@dataclass(frozen=True)
class Bound:
    """What one pass through the autoencoder gives for a batch.

    Parameters
    ----------
    log_likelihood : Tensor of shape ()
        Of all modalities given the latent, summed over modalities and features.
    divergence : Tensor of shape ()
        Of every subset's posterior from N(0, I), mean over subsets.
    z : Tensor of shape (n, latent_dim)
        Draws from the mixture of the subsets' posteriors.
    reconstructed : dict of str to Tensor of shape (n, n_features)
        Locations of the features given `z`.
    """

    log_likelihood: Tensor
    divergence: Tensor
    z: Tensor
    reconstructed: dict[str, Tensor]

    def loss(self, weight: float) -> Tensor:
        r"""The negative lower bound of the log marginal likelihood.

        .. math:: -E_{q(z|x)} \log p(x|z) + \frac{\beta}{S} \sum_s KL(q_s(z|x) \| p(z)),
            \quad q = \frac1S \sum_s q_s

        The mean of the divergences is an upper bound of the divergence of the mixture.
        """
        return weight * self.divergence - self.log_likelihood


def lower_bound(model: BraVL, features: Mapping[str, Tensor]) -> Bound:
    """Draw a latent for every row, in equal shares from the subsets' posteriors, and reconstruct all modalities."""
    posteriors = model.posteriors(features)
    z = in_equal_shares(posteriors).sample()
    reconstructed = model.decode(z)
    return Bound(
        log_likelihood(features, reconstructed).mean(),
        torch.stack([part.kl_to_standard_normal().mean() for part in posteriors]).mean(),
        z,
        reconstructed,
    )


def log_likelihood(features: Mapping[str, Tensor], locations: Mapping[str, Tensor]) -> Tensor:
    """Laplace log likelihood of all features at decoded locations (..., n, n_features), summed over modalities."""
    return torch.stack([laplace_log_likelihood(x, locations[name], SCALE) for name, x in features.items()]).sum(dim=0)


def intra_information(networks: nn.ModuleDict, reconstructed: Mapping[str, Tensor], z: Tensor) -> Tensor:
    r"""Lower bound, up to the entropy of `z`, of what the reconstructions tell about the latent they came from.

    .. math:: \sum_m E \log q_m(z | \tilde x_m), \quad q_m = N(f_m(\tilde x_m), 0.75^2 I)
    """
    log_variance = 2 * torch.tensor(SCALE, device=z.device).log().expand_as(z)
    return torch.stack(
        [Gaussian(networks[name](x), log_variance).log_density(z).mean() for name, x in reconstructed.items()]
    ).sum()


def upper_bound(model: BraVL, features: Mapping[str, Tensor], n_samples: int = N_SAMPLES) -> Tensor:
    """Upper bound of each row's log marginal likelihood, by importance samples of its component of the posterior.

    Parameters
    ----------
    model : BraVL
    features : dict of str to Tensor of shape (n, n_features)
        Of all modalities.
    n_samples : int

    Returns
    -------
    Tensor of shape (n,)
    """
    posterior = in_equal_shares(model.posteriors(features))
    z = posterior.sample(n_samples)
    prior = standard_normal(z).log_density(z)
    return chi_upper_bound(prior + log_likelihood(features, model.decode(z)) - posterior.log_density(z))


def broken_matches(
    matches: Mapping[str, Tensor], generator: torch.Generator | None = None
) -> Iterator[tuple[Sequence[str], dict[str, Tensor], Tensor]]:
    """Batches whose modalities do not belong together, one for each choice of modalities to shuffle.

    Some but not all modalities are shuffled, each by itself: 6 kinds for three modalities, 2 for two.

    Parameters
    ----------
    matches : dict of str to integer Tensor of shape (n,)
        For each modality, what its row shows; rows whose shuffled modalities show what they showed before are left out.
    generator : torch.Generator, optional
        Of the CPU.

    Yields
    ------
    shuffled : tuple of str
    rows : dict of str to Tensor of shape (n_left,)
        For each modality, the row of the batch that is taken.
    kept : Tensor of shape (n_left,)
        Rows of the batch that are negatives.
    """
    n = len(next(iter(matches.values())))
    for size in range(1, len(matches)):
        for shuffled in itertools.combinations(matches, size):
            order = {
                name: torch.randperm(n, generator=generator) if name in shuffled else torch.arange(n)
                for name in matches
            }
            broken = torch.stack([matches[name].cpu()[order[name]] != matches[name].cpu() for name in shuffled])
            kept = torch.nonzero(broken.any(dim=0))[:, 0]
            yield shuffled, {name: rows[kept] for name, rows in order.items()}, kept
