import math
import subprocess
import sys

import pytest
import torch
from scipy.stats import norm

import reference
from ubp.prior import BlurPrior, Level, assign_levels, confidence_interval, smooth

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
    ),
]


@pytest.mark.parametrize("compare", ["smoothed", "raw"])
@pytest.mark.parametrize("device", DEVICES)
def test_prior_follows_the_equations_pair_by_pair(compare, device):
    random = torch.Generator().manual_seed(1)
    prior, slow = BlurPrior(200, compare=compare, device=device), reference.Prior(200, compare=compare)
    for _ in range(6):
        for pairs in torch.randperm(200, generator=random).split(64):
            similarity = torch.randn(len(pairs), generator=random) * 4 + 3
            prior.update(pairs.to(device), similarity.to(device))
            slow.update(pairs.tolist(), similarity.double().tolist())
        assert prior.similarity.cpu().tolist() == pytest.approx(slow.average, abs=1e-4)
        assert [Level(level).name.lower() for level in prior.level.tolist()] == slow.level
    assert prior.counts() == {name: slow.level.count(name) for name in ("less", "base", "more")}
    assert {"less", "more"} <= set(slow.level)


def test_low_similarity_gets_more_blur_and_high_similarity_less():
    pairs = torch.arange(101)
    similarity = torch.zeros(101)
    similarity[0], similarity[1] = -50.0, 50.0
    prior = BlurPrior(101)
    prior.update(pairs, similarity)
    assert prior.levels(torch.tensor([0, 1, 2])).tolist() == [Level.MORE, Level.LESS, Level.BASE]


def test_levels_hold_until_the_pair_is_drawn_again():
    prior = BlurPrior(300)
    first, second = torch.arange(150), torch.arange(150, 300)
    spread = torch.zeros(150)
    spread[0] = 100.0
    prior.update(first, spread)
    before = prior.levels(first).clone()
    prior.update(second, spread.neg())
    assert torch.equal(prior.levels(first), before)
    assert before[0] == Level.LESS


def test_interval_covers_the_confidence_of_a_normal_sample():
    values = torch.randn(200_000, generator=torch.Generator().manual_seed(0)) * 3 + 7
    for confidence in (0.5, 0.9, 0.95):
        low, high = confidence_interval(values, confidence)
        assert ((values >= low) & (values <= high)).float().mean().item() == pytest.approx(confidence, abs=4e-3)
        z = norm.ppf(0.5 + confidence / 2)
        assert (high - low).item() == pytest.approx(2 * z * values.std().item(), rel=1e-5)


def test_ends_of_the_interval_belong_to_it_and_one_pair_stays_at_base():
    values = torch.tensor([-2.0, 2.0])
    assert assign_levels(values, torch.tensor(-2.0), torch.tensor(2.0)).tolist() == [Level.BASE] * 2
    prior = BlurPrior(3)
    prior.update(torch.tensor([1]), torch.tensor([-9.0]))
    assert prior.level.tolist() == [Level.BASE] * 3
    equal = BlurPrior(4)
    equal.update(torch.arange(4), torch.full((4,), 0.1))
    assert equal.counts() == {"less": 0, "base": 4, "more": 0}


def test_smoothing_converges_geometrically():
    value = torch.ones(1)
    for _ in range(10):
        value = smooth(value, torch.zeros(1), 0.3)
    assert value.item() == pytest.approx(0.7**10, rel=1e-5)


def test_half_precision_similarities_are_taken_in_full_precision():
    prior = BlurPrior(8)
    prior.update(torch.arange(8), torch.arange(8, dtype=torch.bfloat16))
    assert prior.similarity.dtype == torch.float32
    assert prior.similarity.tolist() == pytest.approx([0.7 + 0.3 * i for i in range(8)])


def test_state_is_restored_and_a_state_of_another_size_is_refused():
    prior, other = BlurPrior(50), BlurPrior(50)
    prior.update(torch.arange(50), torch.randn(50, generator=torch.Generator().manual_seed(2)) * 9)
    saved = prior.state_dict()
    other.load_state_dict(saved)
    prior.update(torch.arange(50), torch.zeros(50))
    assert torch.equal(other.level, saved["level"])
    assert torch.equal(other.similarity, saved["similarity"])
    assert not torch.equal(prior.similarity, saved["similarity"])
    with pytest.raises(ValueError, match=r"shape \(50,\); expected \(7,\)"):
        BlurPrior(7).load_state_dict(saved)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_pairs": 0}, "at least 1"),
        ({"n_pairs": 2, "confidence": 1.0}, "between 0 and 1"),
        ({"n_pairs": 2, "weight": 0.0}, "above 0"),
        ({"n_pairs": 2, "compare": "both"}, "'smoothed' or 'raw'"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BlurPrior(**arguments)


def test_prior_depends_on_torch_alone():
    code = (
        "import sys; before = set(sys.modules); import torch; with_torch = set(sys.modules)\n"
        "import ubp.prior\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - with_torch}\n"
        "assert new <= {'ubp', 'statistics', 'fractions', '_statistics', 'numbers', 'decimal', '_decimal'}, new"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_step_makes_no_copy_to_the_host():
    prior = BlurPrior(1000, device="cuda")
    pairs, similarity = torch.arange(1000, device="cuda"), torch.randn(1000, device="cuda")
    prior.update(pairs, similarity)
    torch.cuda.set_sync_debug_mode("error")
    try:
        prior.levels(pairs)
        prior.update(pairs, similarity)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert math.isfinite(prior.similarity.sum().item())
