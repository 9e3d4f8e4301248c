"""The numbers of BraVL against numerical integration, torch.distributions, closed forms and loops."""

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import distributions

from ubp.bravl.classes import LatentClassifier
from ubp.bravl.gaussians import (
    Gaussian,
    chi_upper_bound,
    in_equal_shares,
    laplace_log_likelihood,
    product_of_experts,
    standard_normal,
)
from ubp.bravl.network import AUXILIARY_DIM, HIDDEN_DIM, LATENT_DIM, SCALE, BraVL, auxiliary
from ubp.bravl.objective import broken_matches, intra_information, lower_bound, upper_bound, warm_up
from ubp.errors import InputError
from ubp.principal import Features, principal_axes

N = 21


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussian(*shape, seed=0):
    return Gaussian(noise(*shape, seed=seed), noise(*shape, seed=seed + 100))


def normal(part):
    return distributions.Independent(distributions.Normal(part.mean, (0.5 * part.log_variance).exp()), 1)


def make(text_dim=5, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return BraVL(3, 4, 8, 6, text_dim).double()


def features(model, n=N):
    return {name: noise(n, size, seed=place) for place, (name, size) in enumerate(model.sizes.items())}


def drawn(function, *arguments, **options):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return function(*arguments, **options)


@pytest.mark.parametrize("n_experts", [1, 2, 4])
def test_product_of_experts_equals_numerical_integration(n_experts):
    experts = [gaussian(3, 2, seed=seed) for seed in range(n_experts)]
    product = product_of_experts(experts)
    z = torch.linspace(-30, 30, 200_001, dtype=torch.float64)
    for row in range(3):
        for dim in range(2):
            log = sum(
                distributions.Normal(e.mean[row, dim], (0.5 * e.log_variance[row, dim]).exp()).log_prob(z)
                for e in experts
            )
            density = (log - log.max()).exp()
            density /= torch.trapezoid(density, z)
            mean = torch.trapezoid(z * density, z)
            variance = torch.trapezoid((z - mean).square() * density, z)
            assert product.mean[row, dim].item() == pytest.approx(mean.item(), abs=1e-8)
            assert product.log_variance[row, dim].exp().item() == pytest.approx(variance.item(), rel=1e-7)


def test_a_product_survives_variances_near_zero_and_infinity():
    sure = Gaussian(torch.full((1, 1), 2.0), torch.full((1, 1), -150.0))
    product = product_of_experts([sure, Gaussian(torch.zeros(1, 1), torch.full((1, 1), 150.0))])
    assert (product.mean.item(), product.log_variance.item()) == (2, -150)


def test_divergence_and_density_equal_torch_distributions():
    part, z = gaussian(7, 4), noise(3, 7, 4, seed=9)
    expected = distributions.kl_divergence(normal(part), normal(standard_normal(part.mean)))
    torch.testing.assert_close(part.kl_to_standard_normal(), expected)
    torch.testing.assert_close(part.log_density(z), normal(part).log_prob(z))
    assert standard_normal(part.mean).kl_to_standard_normal().abs().max() == 0


def test_samples_have_mean_and_variance_and_carry_gradients():
    part = gaussian(2, 3)
    part.mean.requires_grad_()
    z = drawn(part.sample, 40_000)
    assert z.shape == (40_000, 2, 3)
    spread = (0.5 * part.log_variance).exp()
    assert ((z.mean(0) - part.mean).abs() < 5 * spread / 200).all()
    assert (z.std(0) / spread - 1).abs().max() < 0.03
    z.sum().backward()
    assert (part.mean.grad == 40_000).all()


@pytest.mark.parametrize("n_components", [1, 3, 7])
@pytest.mark.parametrize("n", [1, 5, 7, 20, 1024])
def test_mixture_gives_every_component_an_equal_share(n, n_components):
    parts = [Gaussian(torch.full((n, 2), float(k)), torch.full((n, 2), -float(k))) for k in range(n_components)]
    mixed = in_equal_shares(parts)
    counts = torch.bincount(mixed.mean[:, 0].long(), minlength=n_components)
    assert counts.sum() == n
    assert counts.max() - counts.min() <= 1
    torch.testing.assert_close(mixed.log_variance, -mixed.mean)


def test_each_row_of_the_mixture_is_that_row_of_its_component():
    parts = [gaussian(9, 2, seed=seed) for seed in range(3)]
    mixed = in_equal_shares(parts)
    for row in range(9):
        assert torch.equal(mixed.mean[row], parts[row // 3].mean[row])
        assert torch.equal(mixed[row : row + 1].log_variance[0], parts[row // 3].log_variance[row])


def test_laplace_log_likelihood_equals_torch_distributions():
    x, location = noise(4, 3, 6), noise(3, 6, seed=1)
    expected = distributions.Laplace(location, SCALE).log_prob(x).sum(-1)
    torch.testing.assert_close(laplace_log_likelihood(x, location, SCALE), expected)


def linear_gaussian(seed=0, noise_deviation=0.6):
    """z ~ N(0, I), x = W z + noise; log p(x) and the posterior in closed form, and log p(z) + log p(x|z)."""
    weight, x = noise(5, 2, seed=seed), noise(5, seed=seed + 1)
    covariance = weight @ weight.T + noise_deviation**2 * torch.eye(5, dtype=torch.float64)
    marginal = distributions.MultivariateNormal(torch.zeros(5, dtype=torch.float64), covariance).log_prob(x)
    precision = torch.eye(2, dtype=torch.float64) + weight.T @ weight / noise_deviation**2
    mean = torch.linalg.solve(precision, weight.T @ x) / noise_deviation**2

    def joint(z):
        likelihood = distributions.Normal(z @ weight.T, noise_deviation).log_prob(x).sum(-1)
        return standard_normal(z).log_density(z) + likelihood

    return marginal, distributions.MultivariateNormal(mean, precision_matrix=precision), joint


@pytest.mark.parametrize("n_samples", [1, 30])
def test_upper_bound_is_the_marginal_likelihood_where_the_posterior_is_exact(n_samples):
    marginal, posterior, joint = linear_gaussian()
    z = drawn(posterior.sample, (n_samples,))
    weights = joint(z) - posterior.log_prob(z)
    assert chi_upper_bound(weights).item() == pytest.approx(marginal.item(), abs=1e-9)


def test_upper_bound_equals_its_closed_form_where_the_posterior_is_too_wide():
    marginal, posterior, joint = linear_gaussian()
    wide = 1.5  # q = N(m, w S) of the exact N(m, S): E_q[(p/q)^2] = p(x)^2 w^(d/2) |A|^(-1/2), A = 2 I - I / w
    q = distributions.MultivariateNormal(posterior.mean, wide * posterior.covariance_matrix)
    z = drawn(q.sample, (200_000,))
    closed = marginal + 0.5 * (math.log(wide) - math.log(2 - 1 / wide))
    estimate = chi_upper_bound(joint(z) - q.log_prob(z))
    assert estimate.item() == pytest.approx(closed.item(), abs=2e-3)
    lower = (joint(z) - q.log_prob(z)).mean()
    assert lower < marginal < estimate


@pytest.mark.parametrize("text_dim", [0, 5])
def test_posteriors_are_products_over_all_subsets_and_only_the_full_set_has_the_prior(text_dim):
    model = make(text_dim)
    x = features(model)
    single = {name: model.encoders[name](values) for name, values in x.items()}
    subsets = [("brain",), ("image",), ("brain", "image")]
    if text_dim:
        subsets = [("brain",), ("image",), ("text",), ("brain", "image"), ("brain", "text"), ("image", "text"), (*x,)]
    found = model.posteriors(x)
    assert len(found) == len(subsets)
    for subset, part in zip(subsets, found, strict=True):
        precision = sum((-single[name].log_variance).exp() for name in subset)
        weighted = sum((-single[name].log_variance).exp() * single[name].mean for name in subset)
        precision = precision + (1 if len(subset) == len(x) else 0)
        torch.testing.assert_close(part.mean, weighted / precision)
        torch.testing.assert_close(part.log_variance, -precision.log())
    torch.testing.assert_close(model(x["brain"].reshape(N, 3, 4)), found[0].mean)
    torch.testing.assert_close(single["brain"].mean, found[0].mean)


def test_image_and_text_without_brain_have_no_prior():
    model = make()
    x = {name: values for name, values in features(model).items() if name != "brain"}
    both = model.posteriors(x)[-1]
    single = [model.encoders[name](values) for name, values in x.items()]
    torch.testing.assert_close(both.log_variance, product_of_experts(single).log_variance)


@pytest.mark.parametrize("text_dim", [0, 5])
def test_lower_bound_equals_torch_distributions_row_by_row(text_dim):
    model = make(text_dim)
    x = features(model)
    bound = drawn(lower_bound, model, x)
    parts = model.posteriors(x)
    z = drawn(in_equal_shares(parts).sample)
    torch.testing.assert_close(bound.z, z)
    likelihood, divergence = 0.0, 0.0
    for row in range(N):
        for name, values in x.items():
            location = model.decoders[name](z[row])
            likelihood += distributions.Laplace(location, SCALE).log_prob(values[row]).sum().item() / N
        for part in parts:
            one = normal(Gaussian(part.mean[row], part.log_variance[row]))
            prior = normal(standard_normal(part.mean[row]))
            divergence += distributions.kl_divergence(one, prior).item() / (N * len(parts))
    assert bound.log_likelihood.item() == pytest.approx(likelihood)
    assert bound.divergence.item() == pytest.approx(divergence)
    assert bound.loss(0.3).item() == pytest.approx(0.3 * divergence - likelihood)


def test_intra_information_equals_torch_distributions():
    model = make()
    networks = torch.nn.ModuleDict({name: auxiliary(size) for name, size in model.sizes.items()}).double()
    x, z = features(model), noise(N, LATENT_DIM, seed=8)
    expected = sum(distributions.Normal(networks[name](x[name]), SCALE).log_prob(z).sum(-1).mean() for name in x)
    torch.testing.assert_close(intra_information(networks, x, z), expected)


def test_upper_bound_of_a_model_equals_a_loop_over_draws_and_rows():
    model = make()
    x, k = features(model), 4
    bound = drawn(upper_bound, model, x, k)
    posterior = in_equal_shares(model.posteriors(x))
    z = drawn(posterior.sample, k)
    for row in range(N):
        squares = 0.0
        for draw in z[:, row]:
            log = distributions.Normal(0, 1).log_prob(draw).sum()
            log = log - normal(Gaussian(posterior.mean[row], posterior.log_variance[row])).log_prob(draw)
            for name, values in x.items():
                log = log + distributions.Laplace(model.decoders[name](draw), SCALE).log_prob(values[row]).sum()
            squares += (2 * log).exp().item() / k
        assert bound[row].item() == pytest.approx(0.5 * math.log(squares), rel=1e-9)


def test_upper_bound_is_exact_where_features_do_not_depend_on_the_latent():
    model = make(0)
    for parameter in [*model.encoders.parameters(), *model.decoders.parameters()]:
        parameter.data.zero_()
    x = features(model)
    expected = sum(distributions.Laplace(0.0, SCALE).log_prob(values).sum(-1) for values in x.values())
    alone = 2 * N // 3  # the rows of the posteriors given one modality, which are the prior here
    torch.testing.assert_close(drawn(upper_bound, model, x)[:alone], expected[:alone])


def test_weight_of_the_divergence_warms_up_to_one():
    assert [warm_up(epoch) for epoch in (0, 1, 50, 100, 101)] == pytest.approx([0, 0.01, 0.5, 1, 1])


@pytest.mark.parametrize("names", [("brain", "image"), ("brain", "image", "text")])
def test_negatives_shuffle_some_modalities_and_leave_out_those_that_still_match(names):
    random = np.random.default_rng(0)
    matches = {name: torch.from_numpy(random.integers(0, 4, 30)) for name in names}
    found = list(broken_matches(matches, torch.Generator().manual_seed(0)))
    assert len(found) == 2 ** len(names) - 2
    assert len({shuffled for shuffled, _, _ in found}) == len(found)
    for shuffled, rows, kept in found:
        for name in set(names) - set(shuffled):
            assert torch.equal(rows[name], kept)
        for place, row in enumerate(kept.tolist()):
            assert any(matches[name][rows[name][place]] != matches[name][row] for name in shuffled)
        assert 0 < len(kept) < (30 if len(shuffled) == 1 else 31)
    alone = {name: torch.arange(30) for name in names}
    for shuffled, rows, kept in broken_matches(alone, torch.Generator().manual_seed(0)):
        assert len(kept) >= 25
        assert len({tuple(rows[name].tolist()) for name in shuffled}) == len(shuffled)


def test_a_batch_of_one_image_has_no_negatives():
    same = torch.zeros(6, dtype=torch.int64)
    assert all(len(kept) == 0 for _, _, kept in broken_matches({"brain": same, "image": same}))


@pytest.mark.parametrize("text_dim", [0, 512])
def test_sizes_and_parameter_counts_at_the_published_shape(text_dim):
    model = BraVL(17, 33, 1000, 100, text_dim)
    sizes = {"brain": 561, "image": 100} | ({"text": 512} if text_dim else {})
    assert model.sizes == sizes
    h, d = HIDDEN_DIM, LATENT_DIM
    count = 0
    for name, n in sizes.items():
        encoder, decoder = model.encoders[name], model.decoders[name]
        assert [tuple(layer.weight.shape) for layer in (encoder.body[0], encoder.body[2])] == [(h, n), (h, h)]
        assert encoder.mean.weight.shape == encoder.log_variance.weight.shape == (d, h)
        assert [tuple(decoder[i].weight.shape) for i in (0, 2, 4)] == [(h, d), (h, h), (n, h)]
        count += (n + 1) * h + (h + 1) * h + 2 * (h + 1) * d + (d + 1) * h + (h + 1) * h + (h + 1) * n
        network = auxiliary(n)
        assert sum(p.numel() for p in network.parameters()) == (n + 1) * AUXILIARY_DIM + (AUXILIARY_DIM + 1) * d
    assert sum(p.numel() for p in model.parameters()) == count == {0: 652_565, 512: 1_071_957}[text_dim]
    signals = torch.randn(4, 17, 33)
    assert model(signals).shape == model.images(torch.randn(4, 1000)).shape == (4, d)
    assert {name: x.shape for name, x in model.decode(torch.randn(4, d)).items()} == {
        n: (4, s) for n, s in sizes.items()
    }
    with pytest.raises(InputError, match=r"made for \(batch, 17, 33\)"):
        model(signals[:, :5])


@pytest.mark.parametrize("arguments", [(0, 3, 8, 4), (2, 3, 8, 9), (2, 3, 8, 0), (2, 3, 8, 4, -1)])
def test_sizes_out_of_range_are_refused(arguments):
    with pytest.raises(InputError, match=r"must be at least 1|expected 1 to 8 components"):
        BraVL(*arguments)


def test_image_features_are_the_principal_components_of_the_vectors_they_were_fitted_on():
    x, more = noise(40, 6) @ torch.diag(torch.arange(6.0, 0, -1).double()) + 3, noise(5, 6, seed=1)
    maps = Features(6, 4).double()
    maps.fit(x)
    pca = PCA(4).fit(x.numpy())
    expected = torch.from_numpy(pca.transform(x.numpy()))
    found = maps(x)
    sign = (found * expected).sum(0).sign()
    torch.testing.assert_close(found * sign, expected / expected.square().mean().sqrt(), rtol=1e-6, atol=1e-6)
    assert found.square().mean().item() == pytest.approx(1, rel=1e-6)
    assert maps(more).shape == (5, 4)
    axes = principal_axes(x - x.mean(0), 4)
    assert (axes.gather(1, axes.abs().argmax(1, keepdim=True)) > 0).all()


def test_text_features_are_centred_and_scaled_and_constant_ones_stay_finite():
    x = noise(30, 5) * 4 + 2
    maps = Features(5).double()
    maps.fit(x)
    torch.testing.assert_close(maps(x), (x - x.mean(0)) / (x - x.mean(0)).square().mean().sqrt())
    maps.fit(torch.ones(30, 5))
    assert maps(torch.ones(30, 5)).abs().max() == 0


@pytest.mark.parametrize("n_classes", [2, 9])
@pytest.mark.parametrize("text_dim", [0, 5])
def test_a_classifier_of_latents_ranks_the_class_whose_latents_are_nearest(n_classes, text_dim):
    model = make(text_dim).float()
    model.features["image"].fit(noise(20, 8))
    for encoder in model.encoders.values():
        encoder.log_variance.bias.data.fill_(-6)
        encoder.mean.weight.data.mul_(30)
    vision = noise(n_classes, 8, seed=3).float().numpy()
    text = noise(n_classes, text_dim, seed=4).float().numpy() if text_dim else None
    classifier = LatentClassifier.fit(model, vision, text, seed=0, n_draws=10)
    given = {"image": vision} | ({"text": text} if text_dim else {})
    parts = model.posteriors({name: model.features[name](torch.from_numpy(x)) for name, x in given.items()})
    centres = torch.stack([part.mean for part in parts]).mean(0).detach().numpy()
    scores = classifier.scores(np.concatenate([centres] * 3), block=4)
    assert scores.shape == (3 * n_classes, n_classes)
    assert (scores[:n_classes] == scores[-n_classes:]).all()
    assert (scores[:n_classes].argmax(1) == np.arange(n_classes)).all()
    assert (LatentClassifier.fit(model, vision, text, seed=0, n_draws=10).scores(centres) == scores[:n_classes]).all()
    counts = classifier.machine.n_support_
    assert len(counts) == n_classes
    assert counts.max() <= (12 if text_dim else 10)
