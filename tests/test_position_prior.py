"""Rules that place a pair anywhere on a ladder, against slow versions, limits and planted levels."""

import math
import statistics

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import median_abs_deviation, multivariate_normal, spearmanr, t

from ubp.learned_prior import RIDGE, LearnedPrior
from ubp.position_prior import PositionPrior, between
from ubp.posterior_prior import PosteriorPrior, level_evidence
from ubp.presets import RULE_NAMES
from ubp.prior import Level
from ubp.priors import PRIORS
from ubp.robust import robust_z
from ubp.smooth_prior import SQUASHES, PooledPrior, SmoothPrior, pooled

PLACED = [name for name, kind in PRIORS.items() if issubclass(kind, PositionPrior)]
DIM = 12


def random(seed=0):
    return torch.Generator().manual_seed(seed)


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=random(seed)), dim=-1)


def make(name, n_pairs, n_levels=3, **options):
    return PRIORS[name](n_pairs, n_levels, group=torch.arange(n_pairs) // 2, **options)


def tell(prior, pairs, similarity, seed=0):
    """An update with random embeddings for the rules that want them."""
    n = len(pairs)
    prior.update(pairs, similarity, unit(n, DIM, seed=seed), unit(prior.n_levels, n, DIM, seed=seed + 1))


def test_the_table_is_what_presets_may_name():
    assert tuple(PRIORS) == RULE_NAMES


def test_integers_give_the_stored_vectors_and_fractions_the_direction_between():
    for shape in ((3, 7, DIM), (7, 7, DIM), (5, 7, 4, DIM)):
        ladder, rows = unit(*shape), torch.tensor([6, 0, 0, 3])
        levels = torch.tensor([0, shape[0] - 1, 1, 2])
        assert torch.equal(between(ladder, levels, rows), ladder[levels, rows])
        places = torch.tensor([0.0, shape[0] - 1.0, 0.25, 1.75])
        found = between(ladder, places, rows)
        for place, row, vector in zip(places.tolist(), rows.tolist(), found, strict=True):
            low = min(int(place), shape[0] - 2)
            mixed = (1 - place + low) * ladder[low, row].double() + (place - low) * ladder[low + 1, row].double()
            assert torch.allclose(vector.double(), mixed / mixed.norm(dim=-1, keepdim=True), atol=1e-6)
        assert torch.allclose(found[:2], ladder[levels[:2], rows[:2]], atol=1e-6)
    assert between(ladder.bfloat16(), places, rows).dtype == torch.bfloat16


@pytest.mark.parametrize("n", [3, 40, 41])
def test_robust_z_equals_scipy(n):
    values = torch.randn(n, generator=random()) * 3 + 8
    values[0] = 1e6
    expected = (values.numpy() - np.median(values)) / median_abs_deviation(values, scale="normal")
    assert robust_z(values).numpy() == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert robust_z(torch.cat([values, torch.tensor([torch.nan])]))[:-1].equal(robust_z(values))
    assert robust_z(-values).numpy() == pytest.approx(-robust_z(values).numpy(), abs=1e-4)


def test_robust_z_of_ties():
    assert robust_z(torch.full((5,), 0.1)).tolist() == [0] * 5
    assert robust_z(torch.tensor([7.0])).tolist() == [0]
    many = robust_z(torch.tensor([2.0, 2.0, 2.0, 2.0, 7.0]))
    assert many.tolist() == pytest.approx([0, 0, 0, 0, 5 / math.sqrt(math.pi / 2)])


def test_squashes_are_odd_and_rise_from_end_to_end():
    z = torch.linspace(-60, 60, 2001, dtype=torch.float64)
    for squash in SQUASHES.values():
        found = squash(z)
        assert torch.allclose(found, -found.flip(0))
        assert bool((found.diff() >= 0).all())
        assert found.abs().max() <= 1
        assert squash(torch.zeros(1)).item() == 0
        assert squash(torch.tensor([1e9])).item() == pytest.approx(1)
    assert SQUASHES["student"](z).numpy() == pytest.approx(2 * t(3).cdf(z.numpy()) - 1, abs=1e-12)
    assert SQUASHES["student"](torch.tensor(6.0)) < SQUASHES["tanh"](torch.tensor(6.0))


def test_pooled_equals_pandas():
    values, group = torch.randn(50, generator=random()), torch.randint(9, (50,), generator=random(1))
    values[3] = torch.nan
    means = pd.Series(values.numpy()).groupby(group.numpy()).transform("mean").to_numpy()
    for weight in (0.0, 0.3, 1.0):
        expected = (1 - weight) * values.numpy() + weight * means
        assert pooled(values, group, weight).numpy() == pytest.approx(expected, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("name", PLACED)
@pytest.mark.parametrize("n_levels", [3, 7])
def test_a_pair_starts_at_the_base_goes_as_far_as_the_ladder_and_one_alone_stays(name, n_levels):
    prior, base = make(name, 30, n_levels, ramp=2), (n_levels - 1) / 2
    assert prior.position.tolist() == [base] * 30
    assert prior.counts() == {"less": 0, "base": 30, "more": 0}
    for step in range(4):
        tell(prior, torch.arange(20), torch.randn(20, generator=random(step)), seed=9 * step)
    assert prior.position[20:].tolist() == [base] * 10
    moved = prior.positions(torch.arange(20))
    assert moved.unique().numel() > 10
    assert moved.min() >= 0
    assert moved.max() <= n_levels - 1
    nearest = torch.tensor(
        [Level.LESS if p < base - 0.5 else Level.MORE if p > base + 0.5 else Level.BASE for p in moved]
    )
    assert prior.level[:20].equal(nearest)
    assert sum(prior.counts().values()) == 30
    alone = make(name, 3, n_levels, ramp=1)
    tell(alone, torch.tensor([1]), torch.tensor([-9.0]))
    assert alone.position.tolist() == [base] * 3


@pytest.mark.parametrize("name", PLACED)
def test_the_effect_grows_in_equal_steps_to_the_full_one(name):
    priors = [make(name, 40, ramp=ramp, weight=1.0) for ramp in (1, 4)]
    for passes in range(1, 7):
        for prior in priors:
            tell(prior, torch.arange(40), torch.randn(40, generator=random()))
        full, grown = (prior.position - 1 for prior in priors)
        assert torch.allclose(grown, full * min(1, passes / 4), atol=1e-5)
    assert full.abs().max() > 0.3


@pytest.mark.parametrize("name", PLACED)
def test_equal_pairs_stay_at_the_base(name):
    prior = make(name, 16, ramp=1)
    brain, images = unit(1, DIM).expand(16, -1), unit(3, 1, DIM).expand(-1, 16, -1)
    prior.update(torch.arange(16), torch.full((16,), 0.3), brain, images)
    assert prior.position.tolist() == pytest.approx([1.0] * 16, abs=1e-4)


@pytest.mark.parametrize("squash", SQUASHES)
@pytest.mark.parametrize("over", ["batch", "all"])
def test_smooth_follows_its_equations_pair_by_pair(squash, over):
    prior = SmoothPrior(60, 5, squash=squash, over=over, ramp=3, reach=1.5)
    average, z, passes = [math.nan] * 60, [0.0] * 60, [0] * 60

    def score(values):
        middle = statistics.median(values)
        spread = 1.4826 * statistics.median(abs(value - middle) for value in values)
        return [(value - middle) / spread for value in values]

    for step in range(4):
        for pairs in torch.randperm(60, generator=random(step)).split(25):
            similarity = torch.randn(len(pairs), generator=random(step + 50)) * 4 + 3
            prior.update(pairs, similarity)
            for pair, value in zip(pairs.tolist(), similarity.tolist(), strict=True):
                average[pair] = value if not passes[pair] else 0.3 * value + 0.7 * average[pair]
                passes[pair] += 1
            for pair, value in zip(pairs.tolist(), score([average[pair] for pair in pairs.tolist()]), strict=True):
                z[pair] = value
            seen = [pair for pair in range(60) if passes[pair]]
            now = dict(zip(seen, score([average[pair] for pair in seen]), strict=True)) if over == "all" else z
            function = math.tanh if squash == "tanh" else lambda x: 2 * t(3).cdf(x) - 1
            expected = [
                2 - 2 * min(1, passes[pair] / 3) * function(now[pair] / 1.5) if passes[pair] else 2
                for pair in range(60)
            ]
            assert prior.position.tolist() == pytest.approx(expected, abs=1e-3)


def test_smooth_gives_more_blur_the_worse_the_fit_up_to_the_ends():
    similarity = torch.linspace(-3, 3, 41)
    prior = SmoothPrior(41, ramp=1)
    prior.update(torch.arange(41), similarity)
    assert bool((prior.position.diff() < 0).all())
    assert prior.position[20].item() == 1
    extreme = torch.cat([similarity, torch.tensor([-1e9, 1e9])])
    prior = SmoothPrior(43, ramp=1)
    prior.update(torch.arange(43), extreme)
    assert prior.position[-2:].tolist() == pytest.approx([2, 0], abs=1e-4)


def test_pooling_brings_the_pairs_of_a_concept_together():
    similarity, group = torch.randn(40, generator=random()), torch.arange(40) % 4
    none, half, whole = (SmoothPrior(40, ramp=1, group=group, pooling=pooling) for pooling in (0.0, 0.5, 1.0))
    usual = PooledPrior(40, ramp=1, group=group)
    for prior in (none, half, whole, usual):
        prior.update(torch.arange(40), similarity)
    assert torch.equal(usual.position, half.position)
    spreads = [prior.position.view(10, 4).std(0).mean().item() for prior in (none, half, whole)]
    assert spreads[0] > spreads[1] > spreads[2] == pytest.approx(0, abs=1e-6)


def test_posterior_follows_its_equations_pair_by_pair():
    prior = PosteriorPrior(50, 5, ramp=1, sharpness=1.7)
    evidence = {}
    for step in range(3):
        pairs = torch.randperm(50, generator=random(step))[:30]
        brain, images = 5 * unit(30, DIM, seed=step), 2 * unit(5, 30, DIM, seed=step + 9)
        prior.update(pairs, torch.zeros(30), brain, images)
        cosine = [[F.cosine_similarity(brain[i], level[i], 0).item() for level in images] for i in range(30)]
        middle = [statistics.median(column) for column in zip(*cosine, strict=True)]
        rows = [[value - m for value, m in zip(row, middle, strict=True)] for row in cosine]
        rows = [[value - statistics.mean(row) for value in row] for row in rows]
        size = statistics.median(math.hypot(*row) for row in rows)
        for pair, row in zip(pairs.tolist(), rows, strict=True):
            new = [value / size for value in row]
            old = evidence.get(pair, new)
            evidence[pair] = [0.3 * a + 0.7 * b for a, b in zip(new, old, strict=True)]
    for pair in range(50):
        weights = [math.exp(1.7 * value) for value in evidence.get(pair, [0] * 5)]
        expected = sum(level * weight for level, weight in enumerate(weights)) / sum(weights)
        assert prior.position[pair].item() == pytest.approx(expected, abs=1e-4)


def planted(n=400, n_levels=3, dim=48, noise=0.5, seed=0):
    """Embeddings at a level of their image, with more noise in some directions; the level of each."""
    images = torch.randn(n, dim, generator=random(seed))
    change = torch.randn(n, dim, generator=random(seed + 1))
    places = torch.arange(n_levels).view(-1, 1, 1) - (n_levels - 1) / 2
    ladder = F.normalize(images + 0.3 * places * change, dim=-1)
    truth = torch.randint(n_levels, (n,), generator=random(seed + 2))
    scale = torch.where(torch.arange(dim) < dim // 2, 0.1, 3.0) * noise / dim**0.5
    brain = ladder[truth, torch.arange(n)] + scale * torch.randn(n, dim, generator=random(seed + 3))
    return brain, ladder, truth


@pytest.mark.parametrize("n_levels", [3, 5])
def test_a_planted_level_is_found_and_learned_noise_finds_it_better(n_levels):
    brain, ladder, truth = planted(n_levels=n_levels, noise=1.5)
    found = {}
    for kind in (PosteriorPrior, LearnedPrior):
        prior = kind(len(truth), n_levels, ramp=1)
        for step in range(3):
            for pairs in torch.randperm(len(truth), generator=random(step)).split(100):
                prior.update(pairs, torch.zeros(len(pairs)), brain[pairs], ladder[:, pairs])
        found[kind] = spearmanr(prior.position, truth).statistic
    assert found[PosteriorPrior] > 0.3
    assert found[LearnedPrior] > found[PosteriorPrior] + 0.1


@pytest.mark.parametrize("kind", [PosteriorPrior, LearnedPrior])
def test_gain_and_what_all_levels_share_say_nothing_of_the_level(kind):
    brain, ladder, _ = planted()
    gain = torch.rand(len(brain), 1, generator=random(8)) * 5 + 0.1
    priors = [kind(len(brain), ramp=1) for _ in range(2)]
    for prior, signals in zip(priors, (brain, gain * brain), strict=True):
        prior.update(torch.arange(len(brain)), torch.zeros(len(brain)), signals, ladder)
    assert torch.allclose(priors[0].position, priors[1].position, atol=1e-3)
    scores = torch.randn(30, 3, generator=random(9), dtype=torch.float64)
    shifted = scores + torch.randn(1, 3, generator=random(10), dtype=torch.float64)
    assert torch.allclose(level_evidence(scores), level_evidence(shifted))


def test_no_sharpness_keeps_every_pair_at_the_base_and_much_takes_it_to_a_level():
    brain, ladder, truth = planted(noise=0.01)
    for sharpness, expected in ((0.0, torch.ones(len(truth))), (100.0, truth.float())):
        prior = PosteriorPrior(len(truth), ramp=1, sharpness=sharpness)
        prior.update(torch.arange(len(truth)), torch.zeros(len(truth)), brain, ladder)
        assert ((prior.position - expected).abs() < 0.05).double().mean() > 0.9


def test_learned_scores_are_normal_log_densities_of_a_ridge_regression():
    brain, ladder, _ = planted(n=300, dim=20)
    brain, ladder = F.normalize(brain, dim=-1), F.normalize(ladder, dim=-1)
    found = LearnedPrior(300, components=6).scores(brain, ladder).double().numpy()
    signals, levels = brain.double().numpy(), ladder.double().numpy()
    middle = levels[1]
    basis = np.linalg.svd(middle - middle.mean(0), full_matrices=False)[2][:6].T
    x, z = (signals - signals.mean(0)) @ basis, (middle - middle.mean(0)) @ basis

    def ridged(matrix):
        return matrix + RIDGE * np.trace(matrix) / 6 * np.eye(6)

    weights = np.linalg.solve(ridged(z.T @ z / 300), z.T @ x / 300)
    noise = ridged((x - z @ weights).T @ (x - z @ weights) / 300)
    density = multivariate_normal(np.zeros(6), noise)
    expected = np.stack([density.logpdf(x - (level - middle.mean(0)) @ basis @ weights) for level in levels], 1)
    centred = [scores - scores.mean(1, keepdims=True) for scores in (found, expected)]
    assert centred[0] == pytest.approx(centred[1], rel=1e-2, abs=1e-2)


@pytest.mark.parametrize("name", PLACED)
def test_state_is_restored_and_a_state_of_another_size_is_refused(name):
    prior, other = make(name, 50), make(name, 50)
    tell(prior, torch.arange(50), torch.randn(50, generator=random(2)))
    saved = prior.state_dict()
    other.load_state_dict(saved)
    for each in (prior, other):
        tell(each, torch.arange(30), torch.randn(30, generator=random(3)), seed=4)
    assert all(torch.equal(a, b) for a, b in zip(prior.state_dict().values(), other.state_dict().values(), strict=True))
    assert not torch.equal(prior.position, saved["position"])
    with pytest.raises(ValueError, match=r"shape \(50,\); expected \(8,\)"):
        make(name, 8).load_state_dict(saved)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (SmoothPrior, {"n_pairs": 0}, "at least 1"),
        (SmoothPrior, {"n_levels": 4}, "odd number of at least 3"),
        (SmoothPrior, {"n_levels": 1}, "odd number of at least 3"),
        (SmoothPrior, {"confidence": 1.0}, "between 0 and 1"),
        (SmoothPrior, {"weight": 0.0}, "above 0"),
        (SmoothPrior, {"ramp": 0}, "at least 1 pass"),
        (SmoothPrior, {"reach": 0.0}, "above 0"),
        (SmoothPrior, {"squash": "cube"}, "student, tanh"),
        (SmoothPrior, {"over": "none"}, "'batch' or 'all'"),
        (SmoothPrior, {"pooling": 1.5}, "from 0 to 1"),
        (SmoothPrior, {"group": torch.zeros(3)}, "one per pair"),
        (PooledPrior, {}, "give the concept of each pair"),
        (PosteriorPrior, {"sharpness": -1.0}, "not below 0"),
        (LearnedPrior, {"components": 0}, "at least 1"),
    ],
)
def test_arguments_out_of_range_are_refused(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        kind(**{"n_pairs": 9, **arguments})


@pytest.mark.parametrize("kind", [PosteriorPrior, LearnedPrior])
def test_a_rule_that_compares_levels_says_so(kind):
    prior = kind(9)
    with pytest.raises(ValueError, match="at all 3 levels; give brain and images"):
        prior.update(torch.arange(4), torch.zeros(4))
    with pytest.raises(ValueError, match="at all 3 levels; give brain and images"):
        prior.update(torch.arange(4), torch.zeros(4), unit(4, DIM), unit(5, 4, DIM))
