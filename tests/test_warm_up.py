"""Distributions of two sets, and the first epochs of training, which match these."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from test_augment import Before
from test_cli import refused, run
from test_fit import make_pairs, same, weights
from ubp.config import TrainOptions
from ubp.discrepancy import MULTIPLES, squared_discrepancy
from ubp.errors import InputError
from ubp.fit import Gallery, Trainer
from ubp.fit_together import TogetherTrainer
from ubp.grid.units import can_stack
from ubp.job import Job
from ubp.loss import LOSSES
from ubp.model import Model, read_history
from ubp.plots import training_figure
from ubp.presets import preset

OPTIONS = TrainOptions(epochs=4, batch_size=32, learning_rate=3e-3, warm_up=2)


def points(n, dim=6, seed=0, shift=0.0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(n, dim, generator=random, dtype=torch.float64) + shift


def by_loops(first, second, group=None):
    """The definition, with every pair of vectors by itself."""
    first, second = first.tolist(), second.tolist()
    pooled = first + second

    def squared(a, b):
        return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))

    distances = sorted(squared(a, b) for i, a in enumerate(pooled) for b in pooled[:i])
    scale = distances[(len(distances) - 1) // 2] or sum(distances) / len(distances)

    def mean(these, those):
        kernels = [math.exp(-squared(a, b) / (c * scale)) for a in these for b in those for c in MULTIPLES]
        return sum(kernels) / len(kernels)

    group = [0] * len(first) if group is None else group.tolist()
    total = 0.0
    for one in set(group):
        mine = [x for x, number in zip(first, group, strict=True) if number == one]
        apart = mean(mine, mine) + mean(second, second) - 2 * mean(mine, second)
        total += len(mine) / len(first) * apart
    return total


@pytest.mark.parametrize("groups", [None, [3, 3, 7, 3, 0, 7, 3]])
@pytest.mark.parametrize("m", [1, 4, 9])
def test_the_discrepancy_equals_loops_over_all_pairs(m, groups):
    first, second = points(7), points(m, seed=1, shift=0.5)
    group = None if groups is None else torch.tensor(groups)
    assert squared_discrepancy(first, second, group).item() == pytest.approx(by_loops(first, second, group), rel=1e-9)
    single = squared_discrepancy(first.float(), second.float(), group)
    assert single.dtype == torch.float32
    assert single.item() == pytest.approx(by_loops(first, second, group), rel=1e-4)


def test_where_most_distances_are_zero_their_mean_is_the_scale():
    first, second = torch.zeros(6, 2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    assert squared_discrepancy(first, second).item() == pytest.approx(by_loops(first, second), rel=1e-9)


def test_two_single_vectors_are_as_far_apart_as_the_kernel_at_its_own_median():
    """One distance, which is the median: 2 (1 - mean of exp(-1 / c))."""
    expected = 2 - 2 * sum(math.exp(-1 / c) for c in MULTIPLES) / len(MULTIPLES)
    for length in (1e-3, 1.0, 1e3):
        found = squared_discrepancy(torch.zeros(1, 3), torch.tensor([[length, 0.0, 0.0]]))
        assert found.item() == pytest.approx(expected, rel=1e-5)


def test_it_is_zero_of_equal_sets_symmetric_and_blind_to_order_origin_scale_and_rotation():
    first, second = points(20), points(30, seed=1, shift=0.3)
    found = squared_discrepancy(first, second).item()
    assert found > 0.01
    assert squared_discrepancy(first, first[torch.randperm(20)]).item() == pytest.approx(0, abs=1e-12)
    assert squared_discrepancy(first, torch.cat([first, first])).item() == pytest.approx(0, abs=1e-12)
    rotation = torch.linalg.qr(points(6, seed=2))[0]
    for one, other in (
        (second, first),
        (first.flip(0), second.roll(7, 0)),
        (first + 100, second + 100),
        (1e4 * first, 1e4 * second),
        (first @ rotation, second @ rotation),
    ):
        assert squared_discrepancy(one, other).item() == pytest.approx(found, rel=1e-8)


def test_it_grows_with_a_shift_and_with_another_spread():
    first, second = points(100), points(100, seed=1)
    shifted = [squared_discrepancy(first, second + shift).item() for shift in (0.0, 0.3, 0.6, 1.0, 2.0, 5.0)]
    assert shifted == sorted(shifted)
    assert shifted[-1] > 20 * shifted[0]
    wider = [squared_discrepancy(first, second * width).item() for width in (1.0, 1.5, 3.0, 10.0)]
    assert wider == sorted(wider)
    assert 0 < shifted[0] < 2 / 100 * 2
    assert shifted[-1] < 2


def test_groups_of_the_same_distribution_have_what_they_have_alone():
    first, second = points(10), points(12, seed=1, shift=1.0)
    twice = torch.cat([first, first])
    together = squared_discrepancy(twice, second).item()
    assert squared_discrepancy(twice, second, torch.arange(20) // 10).item() == pytest.approx(together, rel=1e-9)
    # two groups that are like the other set only together
    halves = torch.cat([second[:6], second[6:]])
    halves = halves[halves[:, 0].argsort()]
    assert squared_discrepancy(halves, second).item() == pytest.approx(0, abs=1e-12)
    assert squared_discrepancy(halves, second, torch.arange(12) // 6).item() > 0.05


def test_the_gradient_is_that_of_differences_at_a_fixed_median():
    first, second = points(5).requires_grad_(), points(6, seed=1)
    group = torch.tensor([0, 1, 0, 1, 1])
    found = torch.autograd.grad(squared_discrepancy(first, second, group), first)[0]
    pooled = torch.cat([first, second]).detach()
    scale = torch.pdist(pooled).square().median().item()

    def mean(a, b):
        distance = (a[:, None] - b).square().sum(-1)
        return sum((-distance / (c * scale)).exp().mean() for c in MULTIPLES) / len(MULTIPLES)

    def fixed(x):
        parts = [x[group == one] for one in (0, 1)]
        return sum(len(p) / 5 * (mean(p, p) + mean(second, second) - 2 * mean(p, second)) for p in parts)

    other = points(5).requires_grad_()
    expected = torch.autograd.grad(fixed(other), other)[0]
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (torch.ones(4, 3), torch.ones(5, 3)),
        (torch.ones(1, 3), torch.ones(1, 3)),
        (torch.zeros(1, 3), torch.tensor([[1.0, 0.0, 0.0]])),
        (torch.ones(8, 3), torch.eye(3)),
        (torch.full((3, 2), 1e-20), torch.zeros(3, 2)),
    ],
)
def test_the_gradient_is_finite_where_vectors_are_the_same_or_alone(first, second):
    first = first.clone().requires_grad_()
    found = squared_discrepancy(first, second)
    found.backward()
    assert 0 <= found.item() <= 2
    assert first.grad.isfinite().all()


def test_following_the_gradient_brings_one_set_to_the_other():
    first, second = points(60, dim=2, shift=2.0).requires_grad_(), points(60, dim=2, seed=1)
    optimizer = torch.optim.Adam([first], lr=0.1)
    values = []
    for _ in range(200):
        loss = squared_discrepancy(first, second)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    # no more than between two samples of one distribution
    assert values[-1] < 1 / 60 + 1 / 60 < 0.1 * values[0]
    # medians, as far points feel little of a Gaussian kernel
    assert torch.allclose(first.median(0).values, second.median(0).values, atol=0.3)


def test_sets_that_do_not_belong_together_are_told():
    for first, second in ((points(3), points(3, dim=5)), (points(0), points(3)), (points(3)[0], points(3))):
        with pytest.raises(ValueError, match="expected \\(n, dim\\) and \\(m, dim\\), with at least one vector each"):
            squared_discrepancy(first, second)
    with pytest.raises(ValueError, match="groups for 3 vectors; expected one for each"):
        squared_discrepancy(points(3), points(3), torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize("changes", [{}, {"loss": "clip", "precision": "bf16"}, {"members": 2}])
def test_without_a_warm_up_training_is_what_it_was_bit_for_bit(changes):
    pairs, options = make_pairs(), replace(OPTIONS, warm_up=0, **changes)
    found, expected = (kind(pairs, preset("ubp"), options, seed=1) for kind in (Trainer, Before))
    for trainer in (found, expected):
        trainer.run()
    assert same(weights(expected), weights(found))
    assert found.history == expected.history
    assert not any("discrepancy" in row for row in found.history)


def of_subjects(n=90, n_subjects=3):
    """Pairs of subjects of whom each has an offset of its own."""
    subject = torch.arange(n) % n_subjects
    pairs = make_pairs(n)
    offset = torch.randn(n_subjects, 4, 1, generator=torch.Generator().manual_seed(8))
    return replace(pairs, subject=subject, signals=pairs.signals + offset[subject])


def deterministic(trainer):
    """Without dropout, so that a step can be compared with another order of it."""
    for module in trainer.encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return trainer


@pytest.mark.parametrize("loss", LOSSES)
def test_the_first_step_of_a_warm_up_is_one_of_the_discrepancy_of_each_subject_from_all_images(loss):
    pairs = of_subjects()
    trainer = deterministic(Trainer(pairs, preset("ubp"), replace(OPTIONS, batch_size=90, loss=loss)))
    brain = functional.normalize(trainer.encoder.train()(pairs.signals), dim=1)
    expected = by_loops(brain.double(), pairs.ladder[1].double(), pairs.subject)
    before = LOSSES[loss](trainer.encoder(pairs.signals), pairs.ladder[1], trainer.temperature)
    contrast = LOSSES[loss].objective(before, None, trainer.temperature, trainer.second).item()
    trainer.run_epoch()
    assert trainer.history[0]["discrepancy"] == pytest.approx(expected, rel=1e-4)
    assert trainer.history[0]["loss"] == pytest.approx(contrast, rel=1e-4)


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_warm_up_does_not_use_what_belongs_to_what(shuffled):
    """Weights and discrepancies are the same with other pairs of the same signals and images."""
    pairs = of_subjects()
    other = replace(pairs, image=pairs.image.roll(1) if not shuffled else torch.randperm(90))
    found = []
    for given in (pairs, other):
        trainer = deterministic(Trainer(given, preset("ubp"), replace(OPTIONS, epochs=5, batch_size=90, warm_up=4)))
        rows = []
        while trainer.warming_up:
            trainer.run_epoch()
            rows.append(trainer.history[-1])
        found.append((rows, weights(trainer)))
        trainer.run()
        found[-1] += (weights(trainer),)
    (rows, first, after), (others, second, after_others) = found
    assert len(rows) == 4
    assert [row["discrepancy"] for row in rows] == pytest.approx([row["discrepancy"] for row in others], rel=1e-3)
    assert [row["loss"] for row in rows] != pytest.approx([row["loss"] for row in others], rel=1e-3)
    for name in first:
        assert torch.allclose(first[name], second[name], atol=1e-4), name
    assert any(not torch.allclose(after[name], after_others[name], atol=1e-4) for name in after)


def test_a_warm_up_makes_subjects_alike():
    pairs = of_subjects()
    trainer = Trainer(pairs, preset("ubp"), replace(OPTIONS, epochs=41, warm_up=40, batch_size=90))

    def apart():
        with torch.no_grad():
            brain = functional.normalize(trainer.encoder.eval()(pairs.signals), dim=1)
        parts = [brain[pairs.subject == one] for one in range(3)]
        return sum(squared_discrepancy(parts[i], parts[i - 1]).item() for i in range(3))

    before = apart()
    while trainer.warming_up:
        trainer.run_epoch()
    assert apart() < 0.5 * before
    values = [row["discrepancy"] for row in trainer.history]
    assert values[-1] < 0.5 * values[0]


WITH = {
    "three steps": ("ubp", {}),
    "smooth": ("ubp-smooth", {}),
    "learned": ("ubp-learned", {}),
    "an adapter": ("ubp", {"adapter": "linear", "adapter_dim": 8, "members": 2}),
    "averaged weights": ("ubp", {"weight_average": 0.9}),
    "bfloat16": ("ubp", {"precision": "bf16"}),
    "drawn signals": ("ubp", {"augment": ("noise",), "subject_layers": True}),
    "two temperatures": ("ubp", {"loss": "two-temperatures"}),
}


@pytest.mark.parametrize("stop", [1, 2, 3])
@pytest.mark.parametrize("name", WITH)
def test_a_run_stopped_in_the_warm_up_or_after_it_continues_bit_for_bit(name, stop):
    blur, changes = WITH[name]
    pairs, options = of_subjects(), replace(OPTIONS, **changes)
    whole, first, second = (Trainer(pairs, preset(blur), options, seed=2) for _ in range(3))
    whole.run()
    while first.epoch < stop:
        first.run_epoch()
    tensors, content = first.state_dict()
    second.load_state_dict(
        {name: tensor.clone() for name, tensor in tensors.items()}, json.loads(json.dumps(content, allow_nan=False))
    )
    second.run()
    assert same(whole.fitted(), second.fitted())
    assert whole.history == second.history
    assert ["discrepancy" in row for row in whole.history] == [True, True, False, False]
    plain = Trainer(pairs, preset(blur), replace(options, warm_up=0), seed=2)
    plain.run()
    assert not same(whole.fitted(), plain.fitted())


@pytest.mark.parametrize("name", WITH)
def test_all_but_the_brain_encoder_rests_in_the_warm_up(name):
    blur, changes = WITH[name]
    trainer = Trainer(of_subjects(), preset(blur), replace(OPTIONS, **changes), seed=2)

    def learned():
        return {name: tensor.clone() for name, tensor in trainer.fitted().items()}

    def resting(name):
        return not name.startswith(("encoder.", "average.")) or ".image_side." in name

    start = learned()
    while trainer.warming_up:
        trainer.run_epoch()
    warm = learned()
    for key, tensor in start.items():
        assert torch.equal(tensor, warm[key]) or not resting(key), key
    assert any(not torch.equal(tensor, warm[key]) for key, tensor in start.items() if not resting(key))
    row = trainer.history[-1]
    assert (row["less"], row["base"], row["more"]) == (0, 90, 0)
    assert not {"similarity", "low", "high"} & set(row)
    trainer.run()
    done = learned()
    assert not torch.equal(start["temperature"], done["temperature"])
    for key in start:
        if resting(key) and key.endswith(("weight", "bias")):
            assert not torch.equal(start[key], done[key]), key
    assert {"similarity", "low", "high"} <= set(trainer.history[-1])
    assert "discrepancy" not in trainer.history[-1]


def test_patience_begins_after_the_warm_up():
    gallery = Gallery(torch.zeros(20, 4, 5), torch.arange(20).numpy(), make_pairs(20, levels=1).ladder[0].numpy())
    options = TrainOptions(epochs=12, batch_size=45, warm_up=6, validation_concepts=20, patience=2)
    trainer = Trainer(make_pairs(), preset("ubp"), options, validation=gallery)
    trainer.run()
    # signals that say nothing are never ranked better than at first, and no epoch of the warm-up is the best
    assert trainer.best.epoch == 7
    assert trainer.epoch == 7 + 2


def test_models_with_a_warm_up_are_trained_one_by_one():
    with pytest.raises(InputError, match="cannot be trained together: their first epochs are a warm-up"):
        TogetherTrainer([Trainer(make_pairs(), preset("ubp"), OPTIONS, seed=seed) for seed in range(2)])
    assert not can_stack(Job("sub-01", preset("ubp"), OPTIONS))
    assert can_stack(Job("sub-01", preset("ubp"), replace(OPTIONS, warm_up=0)))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--epochs", "3", "--warm-up", "3"), "warm_up is 3 of 3 epochs"),
        (("--epochs", "3", "--warm-up", "7"), "warm_up is 7 of 3 epochs"),
        (("--warm-up", "-1"), "warm_up is -1; expected at least 0"),
        (("--method", "bravl", "--warm-up", "2"), "warm_up is 2; bravl is not trained by contrast"),
    ],
)
def test_the_command_line_refuses_in_one_sentence_and_writes_nothing(tiny_folder, tmp_path, capsys, words, message):
    runs, store = tmp_path / "runs", tmp_path / "store"
    assert message in refused(capsys, "train", tiny_folder, "--out", runs, "--store", store, *words)
    assert not list(tmp_path.iterdir())


def test_a_model_keeps_how_it_was_warmed_up_and_is_another_than_without(tiny_folder, tmp_path, capsys):
    words = ("train", tiny_folder, "--out", tmp_path / "runs", "--store", tmp_path / "store", "--subject", "sub-01")
    words = (*words, "--setting", "inter-subject", "--epochs", "3", "--width", "13", "--quiet")
    assert run(*words, "--warm-up", 2) == 0
    folder = tmp_path / "runs" / "inter-subject" / "sub-01" / "ubp" / "seed-0"
    model = Model.load(folder)
    assert model.description.options.warm_up == 2
    assert ["discrepancy" in row for row in model.history] == [True, True, False]
    assert ["similarity" in row for row in model.history] == [False, False, True]
    assert all({"epoch", "loss", "less", "base", "more"} <= set(row) for row in model.history)
    history = read_history(folder)
    assert history["discrepancy"].notna().tolist() == [True, True, False]
    assert history["loss"].notna().all()
    assert "of other options" in refused(capsys, *words, "--warm-up", "1")
    assert run("evaluate", tmp_path / "runs", "--store", tmp_path / "store", "--no-ridge") == 0
    figure = training_figure({"ubp": history})
    assert figure.axes[0].lines[0].get_ydata().tolist() == history["loss"].tolist()
