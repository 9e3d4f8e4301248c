import math

import pytest
import torch
import torch.nn.functional as F

import reference
from ubp.loss import INITIAL_TEMPERATURE, LOSSES, contrastive_loss, similarity_matrix


@pytest.mark.parametrize("n", [2, 5, 33])
def test_loss_equals_loops_and_two_cross_entropies(n):
    matrix = torch.randn(n, n, generator=torch.Generator().manual_seed(n)) * 3
    target = torch.arange(n)
    two = (F.cross_entropy(matrix, target) + F.cross_entropy(matrix.T, target)) / 2
    assert contrastive_loss(matrix).item() == pytest.approx(reference.contrastive_loss(matrix.tolist()), rel=1e-5)
    assert contrastive_loss(matrix).item() == pytest.approx(two.item(), rel=1e-5)


def test_gradient_is_the_mean_of_two_softmaxes_minus_identity():
    matrix = torch.randn(7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    contrastive_loss(matrix).backward()
    expected = (0.5 * (matrix.softmax(0) + matrix.softmax(1)) - torch.eye(7)) / 7
    assert torch.allclose(matrix.grad, expected, atol=1e-6)


def test_equal_similarities_give_the_logarithm_of_the_batch_size():
    assert contrastive_loss(torch.full((16, 16), 2.5)).item() == pytest.approx(math.log(16), rel=1e-6)
    assert contrastive_loss(torch.eye(16) * 100).item() == pytest.approx(0, abs=1e-6)


def test_loss_does_not_change_with_the_order_of_the_pairs():
    matrix = torch.randn(9, 9, generator=torch.Generator().manual_seed(1))
    order = torch.randperm(9, generator=torch.Generator().manual_seed(2))
    assert contrastive_loss(matrix[order][:, order]).item() == pytest.approx(contrastive_loss(matrix).item(), rel=1e-6)


def test_similarity_scales_with_softplus_and_leaves_the_brain_side_unnormalised():
    brain = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    vision = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    scale = math.log1p(1 / 0.07)
    assert scale == pytest.approx(2.73, abs=0.005)
    expected = scale * torch.tensor([[3.0, 5.0], [1.0, 0.6]])
    assert torch.allclose(similarity_matrix(brain, vision, torch.tensor(INITIAL_TEMPERATURE)), expected, atol=1e-5)


SCALE = {"ubp": math.log1p(1 / 0.07), "clip": 1 / 0.07, "atm-s": math.log(1 / 0.07)}


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_starts_at_its_scale_and_only_clip_ignores_the_length_of_the_brain_side(name):
    random = torch.Generator().manual_seed(0)
    brain, vision = (torch.randn(5, 3, generator=random, dtype=torch.float64) for _ in range(2))
    vision /= vision.norm(dim=1, keepdim=True)
    matrix = LOSSES[name](brain, vision, torch.tensor(INITIAL_TEMPERATURE, dtype=torch.float64))
    for i in range(5):
        length = math.sqrt(sum(x * x for x in brain[i].tolist())) if name == "clip" else 1.0
        for j in range(5):
            product = sum(a * b for a, b in zip(brain[i].tolist(), vision[j].tolist(), strict=True))
            assert matrix[i, j].item() == pytest.approx(SCALE[name] * product / length)
    longer = LOSSES[name](2 * brain, vision, torch.tensor(INITIAL_TEMPERATURE, dtype=torch.float64))
    torch.testing.assert_close(longer, matrix if name == "clip" else 2 * matrix)


@pytest.mark.parametrize("name", LOSSES)
def test_the_temperature_of_each_loss_is_learned(name):
    random = torch.Generator().manual_seed(1)
    brain, vision = (F.normalize(torch.randn(6, 4, generator=random), dim=1) for _ in range(2))
    temperature = torch.tensor(INITIAL_TEMPERATURE, requires_grad=True)
    contrastive_loss(LOSSES[name](brain, vision, temperature)).backward()
    ahead, behind = (
        contrastive_loss(LOSSES[name](brain, vision, torch.tensor(INITIAL_TEMPERATURE + step))).item()
        for step in (1e-2, -1e-2)
    )
    assert temperature.grad.item() == pytest.approx((ahead - behind) / 2e-2, rel=1e-2, abs=1e-4)


def test_bfloat16_similarities_give_a_float32_loss():
    matrix = torch.randn(8, 8, generator=torch.Generator().manual_seed(3)).bfloat16()
    loss = contrastive_loss(matrix)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(contrastive_loss(matrix.float()).item(), rel=1e-6)
