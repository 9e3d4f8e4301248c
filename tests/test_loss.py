import math

import pytest
import torch
import torch.nn.functional as F

import reference
from ubp.loss import INITIAL_TEMPERATURE, LOSSES, contrastive_loss, similarity_matrix
from ubp.targets import batch_target


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
SCALE |= {"siglip": 10.0, "two-temperatures": 1 / 0.07}
BY_DIRECTION = ("clip", "siglip", "two-temperatures")


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_starts_at_its_scale_and_those_of_cosines_ignore_the_length_of_the_brain_side(name):
    random = torch.Generator().manual_seed(0)
    brain, vision = (torch.randn(5, 3, generator=random, dtype=torch.float64) for _ in range(2))
    vision /= vision.norm(dim=1, keepdim=True)
    temperature = torch.tensor(LOSSES[name].temperature, dtype=torch.float64)
    matrix = LOSSES[name](brain, vision, temperature)
    for i in range(5):
        length = math.sqrt(sum(x * x for x in brain[i].tolist())) if name in BY_DIRECTION else 1.0
        for j in range(5):
            product = sum(a * b for a, b in zip(brain[i].tolist(), vision[j].tolist(), strict=True))
            assert matrix[i, j].item() == pytest.approx(SCALE[name] * product / length)
    longer = LOSSES[name](2 * brain, vision, temperature)
    torch.testing.assert_close(longer, matrix if name in BY_DIRECTION else 2 * matrix)


@pytest.mark.parametrize("name", LOSSES)
def test_the_numbers_of_each_loss_are_learned(name):
    loss, random = LOSSES[name], torch.Generator().manual_seed(1)
    brain, vision = (F.normalize(torch.randn(6, 4, generator=random), dim=1) for _ in range(2))
    numbers = [loss.temperature] if loss.second is None else [loss.temperature, loss.second]

    def value(given):
        temperature, second = (*given, None)[:2]
        return loss.objective(loss(brain, vision, temperature), None, temperature, second)

    learned = [torch.tensor(number, requires_grad=True) for number in numbers]
    value(learned).backward()
    for place in range(len(numbers)):
        moved = [[torch.tensor(n + (i == place) * step) for i, n in enumerate(numbers)] for step in (1e-2, -1e-2)]
        ahead, behind = (value(given).item() for given in moved)
        assert learned[place].grad.item() == pytest.approx((ahead - behind) / 2e-2, rel=1e-2, abs=1e-4)


def target_of(case, n, image):
    """A batch's target by loops: shares of each signal over the images."""
    if case == "pair":
        return [[float(i == j) for j in range(n)] for i in range(n)]
    rows = [[float(image[i] == image[j]) for j in range(n)] for i in range(n)]
    return [[x / sum(row) for x in row] for row in rows]


@pytest.mark.parametrize("case", ["pair", "image"])
@pytest.mark.parametrize("name", LOSSES)
def test_each_objective_equals_a_loop_over_explicit_pairs(name, case):
    loss, random = LOSSES[name], torch.Generator().manual_seed(2)
    brain, vision = (torch.randn(7, 4, generator=random, dtype=torch.float64) for _ in range(2))
    vision = F.normalize(vision, dim=1)
    temperature, second = torch.tensor(1.3), torch.tensor(-0.7)
    image = [0, 1, 2, 0, 3, 1, 0]
    target = batch_target(torch.tensor(image), vision, case)
    similarity = loss(brain, vision, temperature)
    found = loss.objective(similarity, target, temperature, None if loss.second is None else second).item()
    shares, matrix = target_of(case, 7, image), similarity.tolist()
    total = 0.0
    for i in range(7):
        for j in range(7):
            if name == "siglip":
                sign = 1 if shares[i][j] > 0 else -1
                total += math.log1p(math.exp(-sign * (matrix[i][j] - 0.7))) / 7
                continue
            other = math.exp(-0.7 - 1.3) if name == "two-temperatures" else 1.0
            by_signal = matrix[i][j] - math.log(sum(math.exp(x) for x in matrix[i]))
            by_image = other * matrix[j][i] - math.log(sum(math.exp(other * matrix[k][i]) for k in range(7)))
            total -= shares[i][j] * (by_signal + by_image) / 14
    assert found == pytest.approx(total, rel=1e-5)


def test_multi_positives_equal_the_loss_of_pairs_where_images_are_unique():
    matrix = torch.randn(9, 9, generator=torch.Generator().manual_seed(4)) * 2
    target = batch_target(torch.randperm(9), torch.ones(9, 3), "image")
    assert contrastive_loss(matrix, target).item() == pytest.approx(contrastive_loss(matrix).item(), rel=1e-6)
    assert batch_target(torch.arange(9), torch.ones(9, 3)) is None


@pytest.mark.parametrize("bank", [False, True])
def test_soft_targets_equal_loops_and_no_gradient_flows_to_the_images(bank):
    random = torch.Generator().manual_seed(5)
    vision = (
        F.normalize(torch.randn(5, 3, 6, generator=random), dim=-1) if bank else torch.randn(5, 6, generator=random)
    )
    vision.requires_grad_()
    found = batch_target(torch.tensor([0, 1, 0, 2, 3]), vision, "image", 0.3, 0.5)
    assert not found.requires_grad
    mean = (vision.mean(1) if bank else vision).tolist()
    unit = [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in mean]
    hard = target_of("image", 5, [0, 1, 0, 2, 3])
    for i in range(5):
        weights = [math.exp(sum(a * b for a, b in zip(unit[i], other, strict=True)) / 0.5) for other in unit]
        for j in range(5):
            assert found[i, j].item() == pytest.approx(0.7 * hard[i][j] + 0.3 * weights[j] / sum(weights), rel=1e-4)
    assert found.sum(1).tolist() == pytest.approx([1.0] * 5)


def test_bfloat16_similarities_give_a_float32_loss():
    matrix = torch.randn(8, 8, generator=torch.Generator().manual_seed(3)).bfloat16()
    loss = contrastive_loss(matrix)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(contrastive_loss(matrix.float()).item(), rel=1e-6)
