"""Models trained together equal the same models trained alone."""

import dataclasses

import pytest
import torch

from ubp.brain import BRAIN_ENCODERS
from ubp.config import TrainOptions
from ubp.errors import InputError
from ubp.fit import Gallery, Pairs, Trainer
from ubp.fit_together import TogetherTrainer
from ubp.metrics import cosine_similarity, ranks
from ubp.presets import preset

N_PAIRS, N_CHANNELS, DIM = 90, 5, 24
OPTIONS = TrainOptions(epochs=4, batch_size=40, learning_rate=1e-3)


def make(seed, options=OPTIONS, name="ubp", n_times=None, n_pairs=N_PAIRS):
    n_times = n_times or max(8, BRAIN_ENCODERS[options.brain_encoder].minimum_times)
    random = torch.Generator().manual_seed(seed)
    blur = preset(name)
    ladder = torch.nn.functional.normalize(torch.randn(len(blur.ladder), n_pairs, DIM, generator=random), dim=-1)
    mixing = torch.randn(DIM, N_CHANNELS * n_times, generator=random)
    signals = (ladder[0] @ mixing).view(n_pairs, N_CHANNELS, n_times)
    signals = signals + 0.3 * torch.randn(signals.shape, generator=random)
    validation = None
    if options.validation_concepts:
        validation = Gallery(signals[:20], torch.arange(20).numpy(), ladder[0, :20].numpy())
    return Trainer(Pairs(signals, torch.arange(n_pairs), ladder), blur, options, seed, validation)


# a batch norm takes these out again, so their gradient is rounding, which Adam scales up
CANCELLED = {"eegnet": ("front.1.bias", "front.4.running_mean")}

# four batch norms, the last over few samples, scale rounding up
TOLERANCE = {"deepnet": 1e-3}


def weights(trainer):
    left_out = CANCELLED.get(trainer.options.brain_encoder, ())
    state = {name: t.double() for name, t in trainer.encoder.state_dict().items() if name not in left_out}
    return state | {"temperature": trainer.temperature.detach().double()}


def assert_same(alone, together, tolerance=1e-4):
    for one, other in zip(alone, together, strict=True):
        expected, found = (torch.cat([t.flatten() for t in weights(trainer).values()]) for trainer in (one, other))
        assert (found - expected).norm() <= tolerance * expected.norm()
        assert [row.keys() for row in one.history] == [row.keys() for row in other.history]
        assert [row["loss"] for row in other.history] == pytest.approx(
            [row["loss"] for row in one.history], rel=tolerance
        )
        if one.prior:
            assert torch.equal(one.prior.level, other.prior.level)


@pytest.mark.parametrize("encoder", [name for name, kind in BRAIN_ENCODERS.items() if not kind.uses_subject])
def test_every_encoder_together_equals_alone(encoder):
    options = dataclasses.replace(OPTIONS, brain_encoder=encoder, epochs=1)
    alone, together = ([make(seed, options) for seed in range(2)] for _ in range(2))
    for trainer in alone:
        trainer.run()
    TogetherTrainer(together).run()
    assert_same(alone, together, TOLERANCE.get(encoder, 1e-4))


def test_twenty_models_of_several_presets_after_ten_epochs():
    options = dataclasses.replace(OPTIONS, epochs=10)
    names = ["ubp", "blur", "vanilla", "official"] * 5
    alone, together = ([make(seed, options, name) for seed, name in enumerate(names)] for _ in range(2))
    for trainer in alone:
        trainer.run()
    TogetherTrainer(together).run()
    assert_same(alone, together)
    for one, other in zip(alone, together, strict=True):
        with torch.no_grad():
            found = [
                ranks(
                    cosine_similarity(
                        trainer.encoder.eval()(trainer.pairs.signals).numpy(), trainer.pairs.ladder[0].numpy()
                    ),
                    trainer.pairs.image.numpy(),
                )
                for trainer in (one, other)
            ]
        assert (found[0] == found[1]).mean() > 0.99


def test_stopped_and_continued_by_either_kind_of_training():
    whole = [make(seed) for seed in range(3)]
    for trainer in whole:
        trainer.run()
    states = []

    def stop_after_two(trainer):
        if trainer.epoch == 2:
            states.append(trainer.state_dict())
        if len(states) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TogetherTrainer([make(seed) for seed in range(3)]).run(stop_after_two)
    alone, together = ([make(seed) for seed in range(3)] for _ in range(2))
    for trainers in (alone, together):
        for trainer, state in zip(trainers, states, strict=True):
            trainer.load_state_dict(*state)
            assert trainer.epoch == 2
    for trainer in alone:
        trainer.run()
    TogetherTrainer(together).run()
    assert_same(whole, alone)
    assert_same(whole, together)


def test_the_best_epoch_of_each_model_is_kept():
    options = dataclasses.replace(OPTIONS, validation_concepts=2, learning_rate=3e-2, epochs=6)
    alone, together = ([make(seed, options) for seed in range(4)] for _ in range(2))
    for trainer in alone:
        trainer.run()
    TogetherTrainer(together).run()
    assert [t.best.epoch for t in alone] == [t.best.epoch for t in together]
    assert len({t.best.epoch for t in alone}) > 1
    assert_same(alone, together)


def test_bfloat16():
    options = dataclasses.replace(OPTIONS, precision="bf16")
    alone, together = ([make(seed, options) for seed in range(3)] for _ in range(2))
    for trainer in alone:
        trainer.run()
    TogetherTrainer(together).run()
    assert_same(alone, together, tolerance=2e-2)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: make(1, n_pairs=80), "their shape of the signals differs"),
        (lambda: make(1, dataclasses.replace(OPTIONS, learning_rate=1e-4)), "their learning_rate differs"),
        (lambda: make(1, dataclasses.replace(OPTIONS, epochs=9)), "their epochs differs"),
    ],
)
def test_models_that_do_not_fit_together_are_refused(other, message):
    with pytest.raises(InputError, match=message):
        TogetherTrainer([make(0), other()])
    with pytest.raises(InputError, match="tells subjects apart"):
        TogetherTrainer([make(seed, dataclasses.replace(OPTIONS, brain_encoder="atm-s")) for seed in range(2)])
    for parts, message in (
        ({"members": 2}, "several members"),
        ({"adapter": "linear"}, "their image side learns"),
        ({"components": 4}, "their image side learns"),
        ({"weight_average": 0.9}, "their weights are averaged"),
    ):
        with pytest.raises(InputError, match=message):
            TogetherTrainer([make(seed, dataclasses.replace(OPTIONS, **parts)) for seed in range(2)])
    patient = dataclasses.replace(OPTIONS, validation_concepts=2, patience=1)
    with pytest.raises(InputError, match="stop at different epochs"):
        TogetherTrainer([make(seed, patient) for seed in range(2)])
