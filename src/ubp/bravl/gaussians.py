"""Diagonal Gaussians, their products and mixtures, and the two bounds of a marginal likelihood."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LOG_TWO_PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian with independent dimensions.

    Parameters
    ----------
    mean, log_variance : Tensor of shape (..., dim)
    """

    mean: Tensor
    log_variance: Tensor

    def sample(self, *shape: int) -> Tensor:
        """Draws of shape (*shape, ..., dim) from torch's global generator; gradients pass to mean and variance."""
        noise = torch.randn((*shape, *self.mean.shape), dtype=self.mean.dtype, device=self.mean.device)
        return self.mean + (0.5 * self.log_variance).exp() * noise

    def log_density(self, z: Tensor) -> Tensor:
        """Logarithm of the density of `z` (..., dim), summed over dimensions."""
        squared = (z - self.mean).square() * (-self.log_variance).exp()
        return -0.5 * (squared + self.log_variance + LOG_TWO_PI).sum(dim=-1)

    def kl_to_standard_normal(self) -> Tensor:
        r"""Divergence from N(0, I), of shape (...).

        .. math:: KL = -\frac12 \sum_d (1 + \log\sigma_d^2 - \mu_d^2 - \sigma_d^2)
        """
        return -0.5 * (1 + self.log_variance - self.mean.square() - self.log_variance.exp()).sum(dim=-1)

    def __getitem__(self, rows: Tensor | slice) -> "Gaussian":
        return Gaussian(self.mean[rows], self.log_variance[rows])


def standard_normal(like: Tensor) -> Gaussian:
    """N(0, I) of the shape, type and device of a tensor."""
    return Gaussian(torch.zeros_like(like), torch.zeros_like(like))


def product_of_experts(experts: list[Gaussian]) -> Gaussian:
    r"""The normalised product of Gaussian densities.

    .. math:: \sigma^{-2} = \sum_m \sigma_m^{-2}, \quad \mu = \sigma^2 \sum_m \sigma_m^{-2} \mu_m
    """
    means = torch.stack([expert.mean for expert in experts])
    negative = -torch.stack([expert.log_variance for expert in experts])
    # in logarithms, so that a variance near 0 or infinity leaves no nan
    log_variance = -negative.logsumexp(dim=0)
    return Gaussian((means * negative.softmax(dim=0)).sum(dim=0), log_variance)


def in_equal_shares(components: list[Gaussian]) -> Gaussian:
    """Give each row one component of an equally weighted mixture, in runs whose lengths differ by at most one.

    Row `i` of `n` has component ``i k // n`` of `k`. The rows of a batch are in random order, so a row's component is
    random, and every component is used.
    """
    n = len(components[0].mean)
    number = torch.arange(n, device=components[0].mean.device) * len(components) // max(n, 1)
    row = torch.arange(n, device=number.device)
    return Gaussian(
        torch.stack([part.mean for part in components])[number, row],
        torch.stack([part.log_variance for part in components])[number, row],
    )


def laplace_log_likelihood(x: Tensor, location: Tensor, scale: float) -> Tensor:
    r"""Logarithm of the Laplace density, summed over the last dimension.

    .. math:: \log p = -\sum_d \Bigl( \frac{|x_d - m_d|}{b} + \log 2b \Bigr)
    """
    return -((x - location).abs() / scale + math.log(2 * scale)).sum(dim=-1)


def chi_upper_bound(log_weights: Tensor) -> Tensor:
    r"""The CUBO of order 2, an upper bound of the log marginal likelihood, from importance weights.

    .. math:: \tfrac12 \log \frac1K \sum_k \Bigl( \frac{p(z_k)\,p(x|z_k)}{q(z_k|x)} \Bigr)^2, \quad z_k \sim q(z|x)

    Parameters
    ----------
    log_weights : Tensor of shape (n_samples, ...)
        ``log p(z) + log p(x|z) - log q(z|x)`` at draws of `q`.

    Returns
    -------
    Tensor of shape (...)

    Notes
    -----
    Dieng et al. 2017, "Variational inference via chi upper bound minimization", NeurIPS. The bound holds for the mean
    inside the logarithm; with few draws the estimate lies below it on average.
    """
    return 0.5 * ((2 * log_weights).logsumexp(dim=0) - math.log(len(log_weights)))
