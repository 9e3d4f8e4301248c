import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ubp.config import TrainOptions
from ubp.errors import InputError, UbpError
from ubp.fit import Gallery, Pairs, Trainer, batches, channel_scale, embed
from ubp.loss import INITIAL_TEMPERATURE
from ubp.metrics import cosine_similarity, ranks
from ubp.presets import preset
from ubp.prior import BlurPrior
from ubp.randomness import derive_seed, seeded


def make_pairs(n=90, n_channels=4, n_times=5, dim=16, levels=3, seed=0):
    random = torch.Generator().manual_seed(seed)
    vision = F.normalize(torch.randn(levels, n, dim, generator=random), dim=-1)
    mixing = torch.randn(dim, n_channels * n_times, generator=random)
    signals = (vision[levels // 2] @ mixing).reshape(n, n_channels, n_times)
    return Pairs(signals + 0.1 * torch.randn(signals.shape, generator=random), torch.arange(n), vision)


OPTIONS = TrainOptions(epochs=6, batch_size=32, learning_rate=3e-3)


def weights(trainer):
    return {name: tensor.clone() for name, tensor in trainer.encoder.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_training_equals_a_literal_loop():
    """The loop of the paper, written out with torch's own cross-entropy and optimiser."""
    pairs, options = make_pairs(), OPTIONS
    trainer = Trainer(pairs, preset("ubp"), options, seed=3)
    encoder = copy.deepcopy(trainer.encoder)
    temperature = torch.nn.Parameter(torch.tensor(INITIAL_TEMPERATURE))
    optimizer = torch.optim.AdamW(
        [*encoder.parameters(), temperature], lr=options.learning_rate, weight_decay=options.weight_decay
    )
    prior = BlurPrior(len(pairs.signals))
    losses = []
    for epoch in range(options.epochs):
        encoder.train()
        total = 0.0
        with seeded("epoch", 3, epoch) as generator:
            for batch in torch.randperm(90, generator=generator).split(32):
                image = torch.stack([pairs.ladder[prior.level[i], i] for i in batch.tolist()])
                matrix = F.softplus(temperature) * encoder(pairs.signals[batch]) @ image.T
                target = torch.arange(len(batch))
                loss = (F.cross_entropy(matrix, target) + F.cross_entropy(matrix.T, target)) / 2
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                prior.update(batch, matrix.diagonal())
                total += loss.item() * len(batch)
        losses.append(total / 90)
    trainer.run()
    assert [row["loss"] for row in trainer.history] == pytest.approx(losses, rel=1e-3)
    assert trainer.prior.similarity.tolist() == pytest.approx(prior.similarity.tolist(), rel=2e-2, abs=2e-2)
    for name, tensor in encoder.state_dict().items():
        assert torch.allclose(trainer.encoder.state_dict()[name], tensor, atol=2e-3), name


@pytest.mark.parametrize("name", ["vanilla", "ubp"])
def test_training_finds_the_image_of_held_out_pairs(name):
    everything = make_pairs(400, dim=12)
    levels = 3 if name == "ubp" else 1
    train = Pairs(everything.signals[:300], torch.arange(300), everything.ladder[1:2, :300].expand(levels, -1, -1))
    trainer = Trainer(train, preset(name), TrainOptions(epochs=40, batch_size=64, learning_rate=3e-3))
    trainer.run()
    similarity = cosine_similarity(embed(trainer.encoder, everything.signals[300:]), everything.ladder[1, 300:].numpy())
    assert (ranks(similarity, np.arange(100)) == 1).mean() > 0.9
    assert trainer.history[-1]["loss"] < trainer.history[0]["loss"]


@pytest.mark.parametrize("encoder", ["eegproject", "tsconv", "nice-sa", "nice-ga", "atm-s"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("stop", [1, 4])
def test_a_continued_run_equals_an_uninterrupted_one_bit_for_bit(encoder, precision, stop):
    pairs = replace(make_pairs(n_times=80), subject=torch.arange(90) % 3)
    options = TrainOptions(encoder, epochs=5, batch_size=32, learning_rate=1e-3, precision=precision)
    whole = Trainer(pairs, preset("ubp"), options)
    whole.run()
    first = Trainer(pairs, preset("ubp"), options)
    while first.epoch < stop:
        first.run_epoch()
    tensors, content = first.state_dict()
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    second = Trainer(pairs, preset("ubp"), options)
    second.load_state_dict(tensors, content)
    second.run()
    assert same(weights(whole), weights(second))
    assert torch.equal(whole.prior.similarity, second.prior.similarity)
    assert torch.equal(whole.prior.level, second.prior.level)
    assert whole.history == second.history


def test_the_seed_decides_everything_and_global_generators_are_left_alone():
    before = torch.get_rng_state()
    runs = []
    for seed in (0, 0, 1):
        trainer = Trainer(make_pairs(), preset("ubp"), OPTIONS, seed=seed)
        torch.rand(seed + 3)
        trainer.run()
        runs.append(weights(trainer))
        torch.set_rng_state(before)
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_bf16_is_close_to_fp32():
    pairs = make_pairs(256)
    losses = {}
    for precision in ("fp32", "bf16"):
        options = TrainOptions(epochs=5, batch_size=64, learning_rate=1e-3, precision=precision)
        trainer = Trainer(pairs, preset("ubp"), options)
        trainer.run()
        losses[precision] = [row["loss"] for row in trainer.history]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)
    assert trainer.temperature.dtype == torch.float32


def test_validation_keeps_the_best_epoch_and_patience_stops():
    pairs = make_pairs(60, seed=5)
    noise = torch.randn(40, 4, 5, generator=torch.Generator().manual_seed(6))
    gallery = Gallery(noise, np.arange(40), make_pairs(40, levels=1, seed=7).ladder[0].numpy())
    options = TrainOptions(epochs=60, batch_size=30, learning_rate=3e-3, validation_concepts=40, patience=4)
    seen = []
    trainer = Trainer(pairs, preset("ubp"), options, validation=gallery)
    trainer.run(lambda t: seen.append(weights(t)))
    scores = [row["validation_mrr"] for row in trainer.history]
    best = int(np.argmax(scores))
    assert trainer.epoch == best + 1 + 4 < 60
    assert same(weights(trainer), seen[best])


def test_counts_of_levels_sum_to_the_pairs_and_fixed_blur_has_none():
    trainer = Trainer(make_pairs(), preset("ubp"), OPTIONS)
    trainer.run()
    assert all(row["less"] + row["base"] + row["more"] == 90 for row in trainer.history)
    fixed = Trainer(make_pairs(levels=1), preset("blur"), OPTIONS)
    fixed.run()
    assert set(fixed.history[0]) == {"epoch", "loss"}


def test_every_pair_is_drawn_once_and_no_batch_has_one_pair():
    for n, size in ((90, 32), (65, 32), (5, 4), (3, 2), (2, 100)):
        parts = batches(torch.arange(n), size)
        assert torch.cat(parts).tolist() == list(range(n))
        assert all(2 <= len(part) <= size + 1 for part in parts)


def test_a_loss_that_is_not_finite_names_the_epoch_and_the_learning_rate():
    pairs = make_pairs()
    signals = pairs.signals.clone()
    signals[0, 0, 0] = math.nan
    trainer = Trainer(Pairs(signals, pairs.image, pairs.ladder), preset("ubp"), OPTIONS)
    with pytest.raises(UbpError, match=r"loss became nan in epoch 1 with learning rate 0\.003"):
        trainer.run()


def test_shapes_that_do_not_belong_together_are_refused():
    pairs = make_pairs()
    with pytest.raises(InputError, match="do not belong together"):
        Pairs(pairs.signals, pairs.image[1:], pairs.ladder)
    with pytest.raises(InputError, match="at least 2"):
        Pairs(pairs.signals[:1], pairs.image[:1], pairs.ladder)
    with pytest.raises(InputError, match="ladder has 3 levels; preset 'blur' expects 1"):
        Trainer(pairs, preset("blur"), OPTIONS)
    with pytest.raises(InputError, match="There are 3 subjects for 90 training pairs"):
        replace(pairs, subject=torch.arange(3))


def test_channel_scale_equals_numpy_and_leaves_a_constant_channel():
    signals = torch.randn(30, 5, 7, generator=torch.Generator().manual_seed(0)) * 4 + 100
    signals[:, 2] = 3.0
    mean, deviation = channel_scale(signals)
    expected = signals.numpy().astype(float).std(axis=(0, 2))
    expected[2] = 1
    assert mean[:, 0].numpy() == pytest.approx(signals.numpy().astype(float).mean(axis=(0, 2)), rel=1e-6)
    assert deviation[:, 0].numpy() == pytest.approx(expected, rel=1e-6)


def test_derived_seeds_depend_on_every_part_and_their_borders():
    seeds = {derive_seed(*parts) for parts in [("a", 1), ("a", 2), ("b", 1), ("a", "1"), ("a1",), (1, "a"), ("a\0", 1)]}
    assert len(seeds) == 7
    assert all(0 <= seed < 2**63 for seed in seeds)
