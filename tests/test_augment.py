"""Signals changed and repetitions drawn in each step, against loops and other libraries."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.ndimage import gaussian_filter1d
from scipy.stats import chisquare

from conftest import make_study
from test_cli import refused
from test_fit import make_pairs, same, weights
from ubp.augment import AUGMENTATIONS, Context, augmented, check_augmentations, read_augmentations
from ubp.config import Common, TrainOptions
from ubp.draw import SignalDraws, one_of, subset_mean
from ubp.errors import InputError
from ubp.fit import Pairs, Trainer
from ubp.fit_together import TogetherTrainer
from ubp.grid import Experiment, run_grid
from ubp.grid.factors import from_text, read_values
from ubp.grid.units import can_stack
from ubp.images.encoders import image_encoder
from ubp.images.features import FeatureStore
from ubp.job import Job
from ubp.model import Model
from ubp.presets import preset
from ubp.randomness import seeded
from ubp.trainer import BaseTrainer, inputs
from ubp.training_data import TrainingData, image_pairs

SFREQ = 200.0
OPTIONS = TrainOptions(epochs=4, batch_size=32, learning_rate=3e-3)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def some_signals(n=40, n_channels=3, n_times=60, seed=1):
    return torch.randn(n, n_channels, n_times, generator=generator(seed))


def change(name, signals, strength, seed=0, other=None):
    return AUGMENTATIONS[name].change(signals, generator(seed), strength, Context(SFREQ, other))


def with_repetitions(n=30, most=4, single=False, n_times=20):
    """Pairs of images shown 1 to `most` times."""
    random = generator(3)
    base = make_pairs(n, n_times=n_times)
    count = torch.randint(1, most + 1, (n,), generator=random)
    image = torch.arange(n).repeat_interleave(count)
    signals = base.signals[image] + 0.5 * torch.randn(len(image), 4, n_times, generator=random)
    rows = torch.full((n, most), -1)
    for pair in range(n):
        rows[pair, : count[pair]] = torch.nonzero(image == pair)[:, 0]
    if single:
        return replace(base, signals=signals, image=image, repetitions=rows[image], sfreq=SFREQ)
    return replace(base, signals=signals, repetitions=rows, sfreq=SFREQ)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_keeps_shape_type_and_input_and_follows_its_generator(name, dtype):
    signals = some_signals().to(dtype)
    before, other = signals.clone(), some_signals(seed=2).to(dtype)
    strength = AUGMENTATIONS[name].strength
    first, again, another = (change(name, signals, strength, seed, other) for seed in (0, 0, 1))
    assert first.shape == signals.shape
    assert first.dtype == dtype
    assert torch.equal(first, again)
    assert not torch.equal(first, another)
    assert not torch.equal(first, signals)
    assert torch.equal(signals, before)
    assert first.isfinite().all()


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_leaves_signals_almost_alone_at_the_smallest_strength(name):
    signals = some_signals()
    found = change(name, signals, 1e-7, other=some_signals(seed=2))
    assert torch.allclose(found, signals, atol=1e-5)


def test_smoothing_equals_scipy_with_the_widths_that_were_drawn():
    # sampled Gaussians of a width below one sample are not what the transform is
    signals = some_signals(30, 2, 90).cumsum(2)
    found = change("smoothing", signals, 40.0, seed=5)
    widths = torch.rand(30, 1, 1, generator=generator(5))[:, 0, 0] * 40 / 1000 * SFREQ
    assert (widths > 1).sum() > 10
    for trial, width, smooth in zip(signals.numpy(), widths.tolist(), found.numpy(), strict=True):
        if width > 1:
            expected = gaussian_filter1d(trial, width, axis=1, mode="nearest", truncate=6)
            np.testing.assert_allclose(smooth, expected, atol=2e-3 * np.abs(trial).max())


def test_smoothing_leaves_a_constant_and_a_trial_of_two_samples_has_edges():
    constant = torch.full((4, 2, 30), 3.0)
    torch.testing.assert_close(change("smoothing", constant, 50.0), constant)
    step = torch.tensor([[[0.0, 1.0]]])
    found = change("smoothing", step, 30.0)
    assert 0 < found[0, 0, 0] < found[0, 0, 1] < 1
    assert found.sum().item() == pytest.approx(1, abs=1e-5)


def test_time_shift_equals_a_loop_and_reaches_both_ends():
    signals = some_signals(200, 2, 12)
    found = change("time-shift", signals, 15.0, seed=4)
    shifts = torch.randint(-3, 4, (200, 1), generator=generator(4))[:, 0].tolist()
    assert set(shifts) == set(range(-3, 4))
    for trial, shift, moved in zip(signals, shifts, found, strict=True):
        for t in range(12):
            assert torch.equal(moved[:, t], trial[:, min(max(t - shift, 0), 11)])


def test_channel_dropout_drops_whole_channels_with_its_probability():
    found = change("channel-dropout", torch.ones(4000, 5, 3), 0.3)
    assert ((found == 0).all(2) | (found == 1).all(2)).all()
    assert (found[:, :, 0] == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert not change("channel-dropout", torch.ones(9, 5, 3), 1.0).any()


def test_noise_has_the_scale_of_each_channel():
    signals = some_signals(3000, 3, 20) * torch.tensor([1.0, 100.0, 1e-6])[:, None]
    added = change("noise", signals, 0.5) - signals
    ratio = added.std(dim=(0, 2)) / signals.std(dim=(0, 2))
    assert ratio.tolist() == pytest.approx([0.5] * 3, rel=0.02)


def test_mixup_lies_between_the_two_repetitions():
    signals, other = torch.zeros(3000, 2, 4), torch.ones(3000, 2, 4)
    found = change("mixup", signals, 0.5, other=other)
    assert torch.equal(found, found[:, :1, :1].expand_as(found))
    assert 0 <= found.min() <= found.max() <= 0.5
    assert found.mean().item() == pytest.approx(0.25, abs=0.01)
    with pytest.raises(InputError, match="another repetition"):
        augmented(signals, ("mixup=0.5",), generator())
    with pytest.raises(InputError, match="sampling rate"):
        augmented(signals, ("smoothing=9",), generator())


def test_several_are_applied_in_the_order_of_the_table():
    words = read_augmentations(["noise", "time-shift=10"])
    assert words == ("time-shift=10.0", "noise=0.2")
    signals, drawn, context = some_signals(), generator(9), Context(SFREQ)
    found = augmented(signals, words, generator(9), context)
    expected = AUGMENTATIONS["time-shift"].change(signals, drawn, 10.0, context)
    assert torch.equal(found, AUGMENTATIONS["noise"].change(expected, drawn, 0.2, context))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["noize"], "augmentation 'noize' is unknown; expected one of mixup, .*; did you mean 'noise'"),
        (["noise", "noise=0.3"], "augmentation noise is there twice; name it once"),
        (["noise=much"], "strength of the augmentation noise is 'much'; expected standard deviations above 0"),
        (["noise=nan"], "'nan'; expected"),
        (["noise=inf"], "'inf'; expected"),
        (["noise="], "''; expected"),
        (["noise=1e39"], "'1e39'; expected standard deviations above 0 and at most 1000, as in noise=0.2"),
        (["smoothing=1e400"], "'1e400'; expected milliseconds above 0, as in smoothing=20"),
        (["time-shift=nan"], "'nan'; expected milliseconds above 0, as in time-shift=20"),
        (["channel-dropout=1.5"], "expected a probability above 0 and at most 1, as in channel-dropout=0.1"),
        (["mixup=-1"], "expected a share above 0"),
        ("noise", "augment is 'noise'; expected a list of names"),
        (["mixup"], "augment has mixup, and training on the mean of all repetitions leaves nothing to mix"),
    ],
)
def test_a_wrong_augmentation_is_told_in_one_sentence(words, message):
    with pytest.raises(InputError, match=message):
        TrainOptions(augment=words)


def test_options_read_lists_as_json_has_them_and_write_them_alike():
    options = TrainOptions(augment=["noise=0.20", "smoothing"])
    assert options == TrainOptions(augment=("smoothing=20.0", "noise=0.2"))
    assert replace(options, epochs=1).augment == options.augment
    assert TrainOptions(augment=("noise=0.123456789",)).augment == ("noise=0.123456789",)
    with pytest.raises(InputError, match="repetitions is 'subset' without average_training"):
        TrainOptions(repetitions="subset", average_training=False)
    with pytest.raises(InputError, match=r"repetitions 'subsets' is unknown.*did you mean 'subset'"):
        TrainOptions(repetitions="subsets")
    with pytest.raises(InputError, match=r"augment is .*; bravl is not trained by contrast"):
        TrainOptions(loss="bravl", brain_encoder="bravl", augment=("noise",))
    with pytest.raises(InputError, match=r"soft_targets is 0.5 with the loss siglip"):
        TrainOptions(loss="siglip", soft_targets=0.5)
    with pytest.raises(InputError, match=r"soft_targets is 1.5 and soft_temperature"):
        TrainOptions(soft_targets=1.5)
    with pytest.raises(InputError, match=r"soft_temperature is 0.5 without soft targets; give --soft-targets as well"):
        TrainOptions(soft_temperature=0.5)
    assert TrainOptions(soft_targets=0.1, soft_temperature=0.5).soft_temperature == 0.5


def test_a_grid_varies_augmentations():
    varied = from_text(["augment=none,noise=0.2+time-shift,noise"])
    assert read_values("augment", varied["augment"]) == ((), ("time-shift=20.0", "noise=0.2"), ("noise=0.2",))
    assert read_values("augment", [["noise"], []]) == (("noise=0.2",), ())
    with pytest.raises(InputError, match="augment is 3; expected none or names"):
        read_values("augment", [3])
    with pytest.raises(InputError, match=r"'noise=0.2' of augment is there 2 times"):
        read_values("augment", ["noise", "noise=0.2"])


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_what_changes_along_time_is_refused_where_there_is_none(name):
    word = read_augmentations([name])
    for n_times, sfreq, lack in ((1, SFREQ, "one sample per trial"), (9, None, "no sampling rate")):
        if AUGMENTATIONS[name].needs_time:
            with pytest.raises(InputError, match=f"{name} changes signals along time and these have {lack}; leave"):
                check_augmentations(word, n_times, sfreq)
        else:
            check_augmentations(word, n_times, sfreq)
            pairs = replace(with_repetitions(n_times=1 if n_times == 1 else 20), sfreq=sfreq)
            options = replace(OPTIONS, augment=word, repetitions="subset")
            drawn = SignalDraws(pairs, options)(torch.arange(30), generator())
            assert drawn.shape == (30, *pairs.signals.shape[1:])
    if name == "time-shift":
        with pytest.raises(InputError, match=r"up to 4 ms, which is less than a sample of 5 ms.*time-shift=5"):
            check_augmentations(("time-shift=4",), 9, SFREQ)
        check_augmentations(("time-shift=5",), 9, SFREQ)


@pytest.mark.parametrize("name", [name for name, about in AUGMENTATIONS.items() if about.needs_time])
def test_a_change_along_time_is_at_most_as_long_as_the_trial(name):
    pairs = replace(make_pairs(n_times=20), sfreq=SFREQ)
    for strength in ("100.1", "1e9", "1e23", "1e30", "1e308"):
        options = replace(OPTIONS, augment=(f"{name}={strength}",))
        with pytest.raises(InputError, match=f"{name} is of up to .* ms, which is longer than a trial of 100 ms; exp"):
            check_augmentations(options.augment, 20, SFREQ)
        with pytest.raises(InputError, match="longer than a trial"):
            Trainer(pairs, preset("ubp"), options)
    trainer = Trainer(pairs, preset("ubp"), replace(OPTIONS, augment=(f"{name}=100",)))
    trainer.run_epoch()
    assert math.isfinite(trainer.history[0]["loss"])


def test_a_subset_mean_is_one_of_all_subsets_and_each_is_as_likely_as_it_should_be():
    powers = 2.0 ** torch.arange(3)
    signals = powers[:, None, None] * torch.ones(3, 2, 2)
    n = 21000
    found = subset_mean(signals, torch.tensor([[0, 1, 2]]).expand(n, 3), generator())
    assert torch.equal(found, found[:, :1, :1].expand_as(found))
    # every size one third, every subset of a size alike
    expected = {1.0: 1 / 9, 2.0: 1 / 9, 4.0: 1 / 9, 1.5: 1 / 9, 2.5: 1 / 9, 3.0: 1 / 9, 7 / 3: 1 / 3}
    values = found[:, 0, 0]
    counts = [int((values - value).abs().lt(1e-5).sum()) for value in expected]
    assert sum(counts) == n
    assert chisquare(counts, [n * share for share in expected.values()]).pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_subset_means_of_uneven_repetitions_equal_a_loop(dtype):
    pairs = with_repetitions()
    signals = pairs.signals.to(dtype)
    found = subset_mean(signals, pairs.repetitions, generator(7))
    drawn = generator(7)
    share = torch.rand(30, generator=drawn)
    order = torch.rand(pairs.repetitions.shape, generator=drawn)
    for pair in range(30):
        rows = [row for row in pairs.repetitions[pair].tolist() if row >= 0]
        size = 1 + min(int(share[pair] * len(rows)), len(rows) - 1)
        kept = sorted(range(len(rows)), key=lambda place: order[pair, place].item())[:size]
        expected = signals[[rows[place] for place in kept]].float().mean(0)
        torch.testing.assert_close(found[pair].float(), expected, rtol=2e-2, atol=0 if dtype is torch.float32 else 2e-2)


def test_the_other_repetition_is_another_where_there_is_one():
    rows = torch.tensor([[0, 1, 2], [3, -1, -1], [4, 5, -1]])
    own = torch.tensor([1, 3, 4])
    seen = {tuple(one_of(rows, generator(seed), own).tolist()) for seed in range(60)}
    assert seen == {(0, 3, 5), (2, 3, 5)}
    assert {one_of(rows, generator(seed))[0].item() for seed in range(60)} == {0, 1, 2}


DRAWN = {
    "subset": {"repetitions": "subset"},
    "single trials mixed": {"average_training": False, "augment": ("mixup",)},
    "everything": {"repetitions": "subset", "augment": tuple(AUGMENTATIONS)},
    **{name: {"augment": (name,)} for name in AUGMENTATIONS if name != "mixup"},
}


def drawn_pairs(changes):
    options = replace(OPTIONS, **changes)
    if options.draws_repetitions:
        return with_repetitions(single=not options.average_training), options
    return replace(make_pairs(n_times=20), sfreq=SFREQ), options


@pytest.mark.parametrize("name", DRAWN)
def test_drawn_signals_continue_bit_for_bit_and_depend_on_seed_and_epoch(name):
    pairs, options = drawn_pairs(DRAWN[name])
    whole = Trainer(pairs, preset("ubp"), options, seed=2)
    whole.run()
    first = Trainer(pairs, preset("ubp"), options, seed=2)
    first.run_epoch()
    tensors, content = first.state_dict()
    second = Trainer(pairs, preset("ubp"), options, seed=2)
    second.load_state_dict({name: tensor.clone() for name, tensor in tensors.items()}, content)
    second.run()
    assert same(weights(whole), weights(second))
    assert whole.history == second.history
    assert whole.prior.similarity.shape == pairs.image.shape
    batch, seen = torch.arange(len(pairs)), []
    for seed, epoch in ((2, 0), (2, 1), (3, 0)):
        trainer = Trainer(pairs, preset("ubp"), options, seed=seed)
        trainer.history = [{}] * epoch
        trainer.order = lambda random: torch.empty(0, dtype=torch.long)
        trainer.end_epoch = lambda loss: None
        trainer.step = lambda batch: torch.zeros(())
        trainer.run_epoch()
        seen.append(trainer.signals(batch)[0])
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


class Before(Trainer):
    """The step as it was when signals stood still and targets were pairs, word for word."""

    def run_epoch(self):
        BaseTrainer.run_epoch(self)

    def step(self, batch):
        from ubp.loss import contrastive_loss

        pairs = self.pairs
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.compute_type is torch.bfloat16):
            signals, vision = inputs(self.encoder, pairs.signals, pairs.subject, batch), self.vision(batch)
            similarities = [
                self.loss.similarity(brain, images, self.temperature) for brain, images in self.sides(signals, vision)
            ]
        loss = torch.stack([contrastive_loss(similarity) for similarity in similarities]).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if self.prior:
            self.prior.update(batch, torch.stack([similarity.diagonal() for similarity in similarities]).mean(0))
        return loss.detach()


@pytest.mark.parametrize("changes", [{}, {"loss": "clip", "precision": "bf16"}, {"members": 2}])
def test_with_every_option_off_training_is_what_it_was_bit_for_bit(changes):
    pairs, options = make_pairs(), replace(OPTIONS, **changes)
    found, expected = (kind(pairs, preset("ubp"), options, seed=1) for kind in (Trainer, Before))
    for trainer in (found, expected):
        trainer.run()
    assert same(weights(expected), weights(found))
    assert found.history == expected.history


NEW = {
    "image positives": {"positives": "image"},
    "soft": {"soft_targets": 0.3},
    "siglip": {"loss": "siglip"},
    "two": {"loss": "two-temperatures"},
    "layers": {"subject_layers": True},
}


@pytest.mark.parametrize("name", NEW)
def test_each_option_learns_and_continues_bit_for_bit_and_is_not_stacked(name):
    base = make_pairs(120)
    subject = torch.arange(120) % 2
    pairs = replace(base, image=torch.arange(120) // 2 * 2, subject=subject)
    options = replace(OPTIONS, epochs=6, **NEW[name])
    whole = Trainer(pairs, preset("ubp"), options)
    whole.run()
    assert whole.history[-1]["loss"] < whole.history[0]["loss"]
    first, second = (Trainer(pairs, preset("ubp"), options) for _ in range(2))
    while first.epoch < 3:
        first.run_epoch()
    tensors, content = first.state_dict()
    second.load_state_dict({name: tensor.clone() for name, tensor in tensors.items()}, content)
    second.run()
    assert same(whole.fitted(), second.fitted())
    plain = Trainer(pairs, preset("ubp"), replace(options, **{key: getattr(OPTIONS, key) for key in NEW[name]}))
    plain.run()
    assert whole.history[-1]["loss"] != plain.history[-1]["loss"]
    with pytest.raises(InputError, match="cannot be trained together: their "):
        TogetherTrainer([Trainer(pairs, preset("ubp"), options, seed=seed) for seed in range(2)])
    assert not can_stack(Job("sub-01", preset("ubp"), options))
    assert can_stack(Job("sub-01", preset("ubp"), OPTIONS))


def test_the_second_number_of_a_loss_is_learned():
    trainer = Trainer(make_pairs(), preset("ubp"), replace(OPTIONS, loss="siglip"))
    before = trainer.second.item()
    trainer.run()
    assert trainer.second.item() != before == -10
    assert trainer.fitted()["second"].item() == trainer.second.item()


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """A study with four repetitions, and its features."""
    place = tmp_path_factory.mktemp("uneven")
    study = make_study(place / "study", repetitions=4, n_times=20, n_train=24)
    ladder = preset("vanilla").ladder
    return study, FeatureStore.build(
        study.image_folder, study.images(), image_encoder("gabor"), ladder, root=place / "features", quiet=True
    )


@pytest.mark.parametrize("setting", ["intra-subject", "inter-subject"])
def test_pairs_with_repetitions_are_those_of_means_with_the_trials_of_each(uneven, setting):
    study, store = uneven
    jobs = {
        name: Job("sub-01", preset("vanilla"), replace(OPTIONS, shuffle_pairs=True, **changes), setting=setting)
        for name, changes in {
            "mean": {},
            "subset": {"repetitions": "subset"},
            "single": {"average_training": False, "augment": ("mixup",)},
        }.items()
    }
    data = {name: TrainingData.load(study, job) for name, job in jobs.items()}
    pairs = {name: image_pairs(data[name].trials, store, job) for name, job in jobs.items()}
    mean, subset, single = pairs.values()
    assert torch.equal(mean.image, subset.image)
    assert torch.equal(mean.ladder, subset.ladder)
    assert torch.equal(mean.subject, subset.subject)
    assert subset.signals.data_ptr() == torch.from_numpy(data["subset"].trials.signals).data_ptr()
    every, expected = subset.signals[subset.repetitions].mean(1), mean.signals
    every, expected = (
        signals * data[name].scale[1] + data[name].scale[0] for name, signals in (("subset", every), ("mean", expected))
    )
    torch.testing.assert_close(every, expected, atol=1e-4, rtol=1e-4)
    assert len(single) == len(single.signals) == 4 * len(mean)
    trials = data["single"].trials
    for row in (0, 7, 50):
        shown = {(trials.subjects[i], trials.images[i]) for i in single.repetitions[row].tolist()}
        assert shown == {(trials.subjects[row], trials.images[row])}
        assert row in single.repetitions[row]
    assert len({TrainingData.key(job) for job in jobs.values()}) == 3


def test_pairs_and_draws_refuse_repetitions_that_do_not_belong():
    pairs = with_repetitions()
    with pytest.raises(InputError, match="repetitions of a pair are not rows"):
        replace(pairs, repetitions=torch.full_like(pairs.repetitions, -1))
    with pytest.raises(InputError, match="repetitions of a pair are not rows"):
        replace(pairs, repetitions=pairs.repetitions + len(pairs.signals))
    with pytest.raises(InputError, match="the pairs have none"):
        Trainer(make_pairs(), preset("ubp"), replace(OPTIONS, repetitions="subset"))
    with pytest.raises(InputError, match="the pairs have no subjects"):
        Trainer(make_pairs(), preset("ubp"), replace(OPTIONS, subject_layers=True))


def test_drawing_subsets_does_not_change_dropout_or_the_order_of_pairs():
    """The same random numbers decide all else, so that an augmentation is compared with its absence pair by pair."""
    seen = {}
    for words in ((), ("noise=1e-12",)):
        trainer = Trainer(make_pairs(), preset("ubp"), replace(OPTIONS, augment=words))
        trainer.run()
        seen[words] = trainer
    first, second = seen.values()
    assert [row["loss"] for row in first.history] == pytest.approx([row["loss"] for row in second.history], rel=1e-5)
    with seeded("x") as one:
        assert math.isfinite(torch.rand(1, generator=one).item())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--augment", "noize"), "augmentation 'noize' is unknown"),
        (("--augment", "noise=x", "mixup"), "The strength of the augmentation noise is 'x'"),
        (("--augment", "mixup"), "--repetitions subset or --no-average-training"),
        (("--augment", "time-shift=3"), "which is less than a sample of 10 ms"),
        (("--augment", "time-shift=1e30"), "is of up to 1e+30 ms, which is longer than a trial of 80 ms"),
        (("--preset", "vanilla", "ubp", "--augment", "smoothing=1e9"), "is of up to 1e+09 ms, which is longer than"),
        (("--method", "bravl", "--soft-temperature", "0.2"), "soft_temperature is 0.2; bravl is not trained by"),
        (("--soft-temperature", "0.5"), "soft_temperature is 0.5 without soft targets; give --soft-targets"),
        (("--members", "2", "--brain-encoder", "eegproject+tsconv+deepnet"), "members is 2 and 3 brain encoders"),
        (("--alignment", "euclid"), "did you mean 'euclidean'?"),
        (("--positives", "all"), "The positives 'all' is unknown"),
        (("--soft-targets", "0.2", "--loss", "siglip"), "soft_targets is 0.2 with the loss siglip"),
    ],
)
def test_the_command_line_refuses_in_one_sentence_and_writes_nothing(tiny_folder, tmp_path, capsys, words, message):
    store = tmp_path / "store"
    assert message in refused(capsys, "train", tiny_folder, "--out", tmp_path / "runs", "--store", store, *words)
    assert not list(tmp_path.iterdir())


def test_a_grid_of_augmentations_alignments_and_targets_names_them_apart(uneven, tmp_path):
    study, store = uneven
    varied = {"augment": ["none", "noise+time-shift=30"], "alignment": ["none", "scale"]}
    product = Experiment(
        presets=("vanilla",),
        subjects=("sub-01",),
        options={"epochs": 1, "batch_size": 20},
        vary=varied,
        ridge=False,
    )
    table = run_grid(study.root, product, tmp_path / "grid", address="here", common=Common(store=store.folder.parent))
    assert len(table) == 4
    # it has no augmentation and is aligned as any
    assert len(replace(product, presets=(), methods=("bravl",)).cells(study)) == 2
    names = set(pd.read_csv(tmp_path / "grid" / "results.csv")["method"])
    assert "vanilla (augment time-shift=30.0+noise=0.2; alignment scale)" in names
    assert "vanilla (augment none; alignment none)" in names
    again = run_grid(study.root, product, tmp_path / "grid", address="here", common=Common(store=store.folder.parent))
    assert list(again["seconds"]) == list(table["seconds"])
    runs = table[table["augment"] != "none"].dropna(subset="augment")["run"]
    found = {Model.load(tmp_path / "grid" / run).description.options.augment for run in runs}
    assert found >= {("time-shift=30.0", "noise=0.2")}


def test_arrays_of_pairs_need_no_repetitions():
    assert Pairs.__dataclass_fields__["repetitions"].default is None
    assert len(make_pairs(17)) == 17
