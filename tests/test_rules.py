"""Rules for the blur of a pair inside training: what they see, how they continue, what reads them, what is refused."""

import json
from dataclasses import replace

import matplotlib.image
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from level_recovery import measure, recovery_figure, summary
from test_cli import run
from ubp.commands.figures import save_figure
from ubp.config import TrainOptions
from ubp.demo import OPTIONS as DEMO
from ubp.demo import SIMULATION
from ubp.errors import InputError
from ubp.fit import Pairs, Trainer
from ubp.fit_together import TogetherTrainer
from ubp.grid.estimate import probe
from ubp.images.blur import Blur
from ubp.model import Model
from ubp.presets import RULE_NAMES, THREE_STEP, Preset, preset
from ubp.report.levels import levels
from ubp.report.runs import Run
from ubp.report.studies import Studies

N_PAIRS, DIM = 66, 20
OPTIONS = TrainOptions(epochs=4, batch_size=24, learning_rate=3e-3)
OTHERS = [rule for rule in RULE_NAMES if rule != THREE_STEP]


def chosen(rule, n_levels=3):
    return Preset(rule, tuple(Blur(2 * level + 1) for level in range(n_levels)), rule=rule)


def trainer(rule, options=OPTIONS, n_levels=3, seed=0, n_vectors=None):
    random = torch.Generator().manual_seed(seed)
    shape = (n_levels, N_PAIRS, DIM)
    ladder = F.normalize(torch.randn(shape[1:], generator=random) + 0.4 * torch.randn(shape, generator=random), dim=-1)
    signals = (ladder[n_levels // 2] @ torch.randn(DIM, 40, generator=random)).view(N_PAIRS, 4, 10)
    signals = signals + torch.randn(signals.shape, generator=random)
    pairs = Pairs(signals, torch.arange(N_PAIRS), ladder, concept=torch.arange(N_PAIRS) // 3)
    return Trainer(pairs, chosen(rule, n_levels), options, seed)


def same(one, other):
    mine, theirs = one.state_dict(), other.state_dict()
    assert mine[0].keys() == theirs[0].keys()
    assert all(torch.equal(tensor, theirs[0][name]) for name, tensor in mine[0].items())
    assert mine[1] == theirs[1]


@pytest.mark.parametrize("rule", OTHERS)
@pytest.mark.parametrize("n_levels", [3, 5])
def test_a_continued_run_equals_an_uninterrupted_one_bit_for_bit(rule, n_levels):
    whole, first, second = (trainer(rule, n_levels=n_levels) for _ in range(3))
    whole.run()
    while first.epoch < 2:
        first.run_epoch()
    second.load_state_dict(*first.state_dict())
    second.run()
    same(whole, second)
    assert whole.prior.position.unique().numel() > N_PAIRS / 2
    for row in whole.history:
        assert row["less"] + row["base"] + row["more"] == N_PAIRS
        assert row["low"] < row["high"]


def test_three_steps_take_the_stored_vectors_themselves():
    ubp = trainer(THREE_STEP)
    ubp.run()
    rows = torch.arange(N_PAIRS)
    assert ubp.prior.level.unique().numel() > 1
    assert torch.equal(ubp.vision(rows), ubp.pairs.ladder[ubp.prior.level, rows])


@pytest.mark.parametrize("rule", OTHERS)
def test_models_trained_together_equal_those_trained_alone(rule):
    alone, together = ([trainer(name, seed=seed) for seed, name in enumerate((rule, THREE_STEP))] for _ in range(2))
    for one in alone:
        one.run()
    TogetherTrainer(together).run()
    for one, other in zip(alone, together, strict=True):
        losses = [[row["loss"] for row in each.history] for each in (one, other)]
        assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert together[0].prior.position.tolist() == pytest.approx(alone[0].prior.position.tolist(), abs=0.02)


@pytest.mark.parametrize("rule", OTHERS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_members_with_an_adapter_of_the_image_side(rule, precision):
    options = replace(OPTIONS, epochs=2, members=2, adapter="bottleneck", adapter_dim=8, precision=precision)
    found = trainer(rule, options)
    found.run()
    assert found.prior.position.isfinite().all()
    assert found.prior.position.unique().numel() > N_PAIRS / 2
    assert found.encoder.training


@pytest.mark.parametrize("rule", ["posterior", "learned"])
def test_a_rule_is_told_of_every_level_as_the_encoder_maps_it(rule):
    found = trainer(rule, replace(OPTIONS, adapter="bottleneck", adapter_dim=8))
    told = []
    found.prior.update = lambda *what: told.append(what)
    batch = torch.tensor([5, 2, 60])
    brain = torch.randn(3, 8)
    found.tell_prior(batch, torch.zeros(3), [brain])
    pairs, _, signals, images = told[0]
    assert pairs.equal(batch)
    assert signals.equal(brain)
    found.encoder.eval()
    for level in range(3):
        assert images[level].equal(found.encoder.images(found.pairs.ladder[level, batch]))


def test_a_preset_with_three_steps_is_written_as_before_there_were_other_rules():
    content = preset("ubp", 13, 6).to_dict()
    assert list(content) == ["name", "ladder", "compare", "confidence", "weight"]
    assert Preset.from_dict(content).rule == THREE_STEP
    for rule in OTHERS:
        made = chosen(rule, 5)
        assert json.loads(json.dumps(made.to_dict()))["rule"] == rule
        assert Preset.from_dict(json.loads(json.dumps(made.to_dict()))) == made
        assert made.dynamic
        assert made.base == Blur(5)
    assert {preset(f"ubp-{rule}").rule for rule in ("smooth", "posterior", "learned")} == {
        "smooth",
        "posterior",
        "learned",
    }


def test_what_makes_no_rule_is_refused():
    with pytest.raises(InputError, match=r"The rule 'smoth' is unknown.*did you mean 'smooth'"):
        chosen("smoth")
    for n_levels in (1, 2, 4):
        with pytest.raises(InputError, match=f"has {n_levels} levels; its rule smooth expects an odd number"):
            chosen("smooth", n_levels)
    with pytest.raises(InputError, match="has 5 levels; expected 1 or 3"):
        chosen(THREE_STEP, 5)
    pairs = replace(trainer("smooth").pairs, concept=None)
    with pytest.raises(InputError, match=r"smooth-pooled .* needs the concept of each pair"):
        Trainer(pairs, chosen("smooth-pooled"), OPTIONS)


@pytest.mark.parametrize("rule", RULE_NAMES)
def test_every_rule_can_be_measured_before_it_runs(rule):
    assert probe(chosen(rule), OPTIONS, (30, 4, 10), DIM).prior is not None


@pytest.mark.parametrize("name", ["ubp-smooth", "ubp-learned"])
def test_what_a_rule_learned_is_listed_and_shown(name, tiny_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UBP_CACHE", str(tmp_path / "features"))
    few = ("--width", 13, "--epochs", 7, "--batch-size", 20, "--learning-rate", "3e-3", "--quiet")
    assert run("train", tiny_folder, "--out", tmp_path / "runs", "--preset", name, *few, "--subject", "sub-01") == 0
    folder = tmp_path / f"runs/intra-subject/sub-01/{name}/seed-0"
    csv, figure = tmp_path / "fits.csv", tmp_path / "fits.png"
    assert run("uncertainty", folder, "--csv", csv, "--figure", figure) == 0
    table, prior = pd.read_csv(csv), Model.load(folder).prior
    assert f"{(prior['level'] == 2).sum()} would be blurred more" in capsys.readouterr().out.replace("\n", " ")
    assert sorted(table["position"]) == pytest.approx(sorted(prior["position"].tolist()), abs=1e-6)
    assert (table["level"] == "more").tolist() == (table["position"] > 1.5).tolist()
    assert table["position"].nunique() > 20
    assert set(table["level"]) == {"less", "base", "more"}
    assert matplotlib.image.imread(figure).shape[1] == 1620
    shown = levels([Run.open(folder)], Studies(), tmp_path / "features")
    assert f"The rule {name.removeprefix('ubp-')} places a pair between levels" in shown


def test_comparing_levels_finds_the_blur_where_the_fit_does_not(tmp_path):
    simulation = replace(SIMULATION, n_concepts=100, n_test=1, true_width=25, width_step=12, snr=0.4)
    options = replace(DEMO, epochs=4, validation_concepts=20)
    rows, positions = measure(tmp_path, simulation, 1, options, averages=(False,), quiet=True)
    found = summary(rows).set_index("rule")
    width, lapse = found["width"], found["lapse"]
    assert abs(width["three-step"]) < 0.25
    assert width["posterior"] > 0.3
    assert width["learned"] > abs(width["smooth"]) + 0.2
    assert width["truth"] == pytest.approx(1)
    assert width["ideal observer"] > width["learned"]
    assert lapse["smooth"] > 0.2 > abs(lapse["learned"])
    save_figure(recovery_figure(positions, summary(rows), 3), tmp_path / "recovery.png")
    assert matplotlib.image.imread(tmp_path / "recovery.png").shape[1] == 1620
