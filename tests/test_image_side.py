"""Banks of levels, adapters of image features, and several encoders side by side."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch.nn import functional

from conftest import make_study
from ubp.brain import brain_encoder
from ubp.config import ADAPTER_NAMES, MIXTURE_NAMES, TrainOptions
from ubp.data.study import Study
from ubp.encoder import Members, TwoSided, fit_images, make_encoder, side_by_side
from ubp.errors import InputError
from ubp.evaluate_runs import Evaluation
from ubp.experiment import begin, train
from ubp.fit import Pairs, Trainer
from ubp.image_side import ADAPTERS, MIXTURES, PACE, ImageSide
from ubp.images.encoders import image_encoder
from ubp.images.features import FeatureStore
from ubp.images.levels import Bank, Mean, stored_levels
from ubp.job import Job
from ubp.loss import contrastive_loss
from ubp.methods import METHODS, method_preset
from ubp.model import Model
from ubp.presets import preset
from ubp.principal import principal_axes
from ubp.results import find_runs

LEVELS, DIM = 4, 12
OPTIONS = TrainOptions(epochs=4, batch_size=20, learning_rate=1e-3)
PARTS = TrainOptions(
    epochs=4,
    batch_size=20,
    learning_rate=1e-3,
    mixture="learned",
    adapter="residual",
    adapter_dim=16,
    components=24,
    members=2,
    weight_average=0.9,
)


def vectors(*shape, seed=0):
    return functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.fixture(scope="module")
def store(tiny_folder, tmp_path_factory):
    study = Study.open(tiny_folder)
    ladder = stored_levels(level for name in ("vanilla", "ubp", "bank") for level in preset(name, 13, 6).ladder)
    root = tmp_path_factory.mktemp("features")
    return FeatureStore.build(study.image_folder, study.images(), image_encoder("gabor"), ladder, root=root, quiet=True)


def test_the_tables_are_those_of_the_options():
    assert tuple(MIXTURES) == MIXTURE_NAMES
    assert tuple(ADAPTERS) == ADAPTER_NAMES


@pytest.mark.parametrize("mixture", MIXTURES)
def test_a_mixture_begins_as_the_mean_of_the_levels(mixture):
    torch.manual_seed(0)
    side, bank = ImageSide(DIM, LEVELS, mixture), vectors(5, LEVELS, DIM)
    expected = torch.stack([sum(image) / torch.linalg.norm(sum(image)) for image in bank])
    assert torch.allclose(side(bank), expected, atol=1e-6)
    assert torch.allclose(side.weights(bank), torch.full((LEVELS,), 1 / LEVELS))


@pytest.mark.parametrize("mixture", MIXTURES)
def test_a_mixture_equals_loops_over_images_levels_and_dimensions(mixture):
    torch.manual_seed(1)
    side, bank = ImageSide(DIM, LEVELS, mixture), vectors(5, LEVELS, DIM)
    for parameter in side.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    for image, found in zip(bank, side(bank), strict=True):
        expected = torch.zeros(DIM)
        for d in range(DIM):
            if mixture == "mean":
                logits = torch.zeros(LEVELS)
            elif mixture == "per-image":
                logits = side.mixture.gate(image.mean(0)) * DIM**0.5
            else:
                logits = PACE * side.mixture.slow_logits[:, d if mixture == "per-dimension" else 0]
            weights = [torch.exp(logit) / torch.exp(logits).sum() for logit in logits]
            expected[d] = sum(weight * level[d] for weight, level in zip(weights, image, strict=True))
        assert torch.allclose(found, expected / torch.linalg.norm(expected), atol=1e-6)
    assert float(side.weights(bank).detach().sum()) == pytest.approx(1)


@pytest.mark.parametrize("mixture", ["learned", "per-dimension"])
def test_the_level_that_fits_best_wins_at_the_rate_of_the_brain_encoder(mixture):
    images = vectors(200, LEVELS, DIM)
    side = ImageSide(DIM, LEVELS, mixture)
    optimizer = torch.optim.AdamW(side.parameters(), lr=1e-3)
    for _ in range(100):
        loss = -(side(images) * images[:, 2]).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    weights = side.weights(images).detach()
    assert weights.argmax() == 2
    assert weights[2] > 0.8


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("embed_dim", [None, 7])
def test_an_adapter_gives_unit_vectors_of_the_length_asked_for(adapter, embed_dim):
    torch.manual_seed(0)
    side = ImageSide(DIM, adapter=adapter, embed_dim=embed_dim, n_components=5).eval()
    side.fit(vectors(30, DIM))
    found = side(vectors(6, DIM, seed=1))
    assert found.shape == (6, side.embed_dim)
    assert side.embed_dim == (5 if adapter == "none" or embed_dim is None else embed_dim)
    assert torch.allclose(found.norm(dim=1), torch.ones(6))


@pytest.mark.parametrize("adapter", ["linear", "residual"])
def test_an_adapter_that_can_begins_as_the_identity(adapter):
    side = ImageSide(DIM, adapter=adapter).eval()
    assert torch.allclose(side(vectors(6, DIM)), vectors(6, DIM), atol=1e-6)


def test_a_linear_map_to_more_dimensions_begins_with_zeros_behind():
    longer = ImageSide(DIM, adapter="linear", embed_dim=DIM + 3)(vectors(6, DIM))
    assert torch.allclose(longer, functional.pad(vectors(6, DIM), (0, 3)), atol=1e-6)


@pytest.mark.parametrize("n", [8, 40])
def test_components_are_those_of_scikit_learn(n):
    images = vectors(n, DIM)
    side = ImageSide(DIM, n_components=3)
    side.fit(images)
    reference = PCA(3, svd_solver="full").fit_transform(images.double().numpy())
    reference /= np.linalg.norm(reference, axis=1, keepdims=True)
    assert (side(images) @ side(images).T).numpy() == pytest.approx(reference @ reference.T, abs=1e-5)


def test_axes_from_few_rows_are_those_of_the_covariance():
    rows = torch.randn(6, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows = rows - rows.mean(0)
    _, axes = torch.linalg.eigh(rows.T @ rows)
    found = principal_axes(rows, 4)
    assert torch.allclose(found @ found.T, torch.eye(4, dtype=torch.float64), atol=1e-9)
    assert torch.allclose((found @ axes.flip(1)[:, :4]).abs(), torch.eye(4, dtype=torch.float64), atol=1e-7)


@pytest.mark.parametrize("name", ["mixture", "adapter"])
def test_an_unknown_name_is_told(name):
    with pytest.raises(InputError, match=f"The {name} 'lineer' is unknown"):
        ImageSide(DIM, LEVELS, **{name: "lineer"})
    with pytest.raises(InputError, match=f"The {name} 'lineer' is unknown"):
        TrainOptions(**{name: "lineer"})


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"adapter_dim": 8}, "adapter_dim is 8 without an adapter"),
        ({"members": 0}, "members is 0; expected at least 1"),
        (
            {"members": 2, "brain_encoder": "eegproject+tsconv+deepnet"},
            r"members is 2 and 3 brain encoders are joined, eegproject\+tsconv\+deepnet; give at least 3",
        ),
        ({"components": -1}, "components is -1; expected at least 0"),
        ({"weight_average": 1.0}, "weight_average is 1.0; expected at least 0 and below 1"),
    ],
)
def test_options_that_make_no_sense_are_told(options, part):
    with pytest.raises(InputError, match=part):
        TrainOptions(**options)


@pytest.mark.parametrize("kind", [Bank, Mean])
def test_a_bank_holds_different_plain_levels(kind):
    blurs = preset("ubp", 13, 6).ladder
    for levels in (blurs[:1], (blurs[0], blurs[0]), (blurs[0], Bank(blurs)), (blurs[0], Mean(blurs))):
        with pytest.raises(ValueError, match="must be two or more, all different, no means or banks"):
            kind(levels)


def test_a_store_gives_a_bank_as_the_vectors_of_its_levels(store):
    blurs = preset("ubp", 13, 6).ladder
    assert np.array_equal(store.vectors(Bank(blurs)), np.stack([store.vectors(blur) for blur in blurs], axis=1))


def test_the_cosine_of_members_is_the_mean_of_their_cosines():
    brains, images = [vectors(5, n, seed=n) * n for n in (3, 4, 9)], [vectors(7, n, seed=20 + n) for n in (3, 4, 9)]
    joined, gallery = side_by_side(brains), side_by_side(images)
    cosines = [functional.normalize(b, dim=1) @ v.T for b, v in zip(brains, images, strict=True)]
    assert torch.allclose(functional.normalize(joined, dim=1) @ gallery.T, torch.stack(cosines).mean(0), atol=1e-6)
    assert torch.allclose(joined.norm(dim=1), torch.full((5,), (3 + 4 + 9) / 3))
    assert torch.allclose(gallery.norm(dim=1), torch.ones(7))


def test_joined_brain_encoders_are_made_once_each_by_default():
    encoders = [make_encoder(TrainOptions("eegproject+tsconv", members=members), 6, 100, DIM) for members in (1, 2)]
    for encoder in encoders:
        assert [type(member).__name__ for member in encoder.members] == ["EEGProject", "TSConv"]


def test_members_take_turns_among_the_brain_encoders():
    options = TrainOptions(brain_encoder="eegproject+tsconv", members=3)
    encoder = make_encoder(options, 6, 100, DIM)
    assert isinstance(encoder, Members)
    kinds = [type(member).__name__ for member in encoder.members]
    assert kinds == ["EEGProject", "TSConv", "EEGProject"]
    assert encoder(torch.zeros(2, 6, 100)).shape == (2, 3 * DIM)


def test_without_parts_the_encoder_is_the_brain_encoder_alone():
    torch.manual_seed(0)
    plain = brain_encoder("eegproject", 6, 10, DIM)
    torch.manual_seed(0)
    made = make_encoder(TrainOptions(), 6, 10, DIM)
    assert type(made) is type(plain)
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), plain.parameters(), strict=True))


def test_members_share_their_components():
    encoder = make_encoder(PARTS, 6, 10, DIM * 4, LEVELS, 30)
    fit_images(encoder, vectors(30, LEVELS, DIM * 4))
    first, second = (member.image_side.components for member in encoder.members)
    assert torch.equal(first.axes, second.axes)
    assert float(first.axes.abs().sum()) > 0


def test_the_loss_is_the_mean_over_members():
    ladder = vectors(1, 30, LEVELS, DIM).clone()
    pairs = Pairs(torch.randn(30, 6, 10), torch.arange(30), ladder)
    options = replace(PARTS, components=8, members=3, batch_size=30)
    trainer = Trainer(pairs, preset("bank", 13, 6), options)
    trainer.encoder.eval()
    batch = torch.arange(30)
    expected = []
    for member in trainer.encoder.members:
        assert isinstance(member, TwoSided)
        similarity = trainer.loss(member(pairs.signals), member.images(ladder[0]), trainer.temperature)
        expected.append(float(contrastive_loss(similarity)))
    assert float(trainer.step(batch)) == pytest.approx(sum(expected) / 3, rel=1e-5)


def test_averaged_weights_are_the_mean_of_the_weights_so_far():
    pairs = Pairs(torch.randn(40, 6, 10), torch.arange(40), vectors(1, 40, DIM))
    trainer = Trainer(pairs, preset("vanilla"), TrainOptions(epochs=5, batch_size=10, weight_average=0.8))
    mean = None
    for steps in range(12):
        trainer.step(torch.arange(10))
        weights = torch.cat([p.detach().flatten() for p in trainer.encoder.parameters()])
        decay = min(0.8, (1 + steps) / (10 + steps))
        mean = weights if mean is None else decay * mean + (1 - decay) * weights
    found = torch.cat([p.detach().flatten() for p in trainer.final_encoder.parameters()])
    assert torch.allclose(found, mean, atol=1e-6)
    assert not torch.allclose(found, weights, atol=1e-4)


@pytest.mark.parametrize("options", [PARTS, replace(PARTS, validation_concepts=6, mixture="per-image")])
def test_parts_are_saved_continued_and_evaluated(tiny, store, tmp_path, options):
    job = Job("sub-01", preset("bank", 13, 6), options)
    whole = Model.load(train(tiny, store, job, tmp_path / "whole"))
    half = begin(tiny, store, job, tmp_path / "half" / job.folder)
    half.trainer.run_epoch()
    half.trainer.run_epoch()
    half.save()
    continued = Model.load(train(tiny, store, job, tmp_path / "half"))
    for name, tensor in whole.encoder.state_dict().items():
        assert torch.equal(tensor, continued.encoder.state_dict()[name]), name
    gallery = store.vectors(job.preset.base)
    assert whole.embed_images(gallery).shape == (len(store.images), 2 * 16)
    results = Evaluation(lambda study, about: store).run(find_runs(tmp_path / "whole"))
    assert results.table["method"].tolist() == ["ridge", "bank"]
    assert results.table["gallery_level"].tolist() == ["crisp", job.preset.base.name]
    assert "adapter=residual adapter_dim=16 components=24 members=2" in results.table["options"][1]
    assert set(results.table["levels"]) == {"crisp", job.preset.base.name}
    brain = whole.embed(tiny.recording("sub-01").load("test").signals)
    assert whole.sharpness(brain).shape == (len(brain),)


def test_ubp_plus_finds_images_and_not_after_shuffling(tmp_path):
    make_study(tmp_path / "study", n_subjects=1)
    study = Study.open(tmp_path / "study")
    blur = method_preset("ubp-plus", 13, 6)
    store = FeatureStore.build(
        study.image_folder,
        study.images(),
        image_encoder("gabor"),
        stored_levels(blur.ladder),
        root=tmp_path,
        quiet=True,
    )
    options = METHODS["ubp-plus"].train_options(epochs=30, batch_size=20, learning_rate=1e-3)
    found = {}
    for shuffled in (False, True):
        job = Job("sub-01", blur, replace(options, shuffle_pairs=shuffled))
        runs = tmp_path / str(shuffled)
        train(study, store, job, runs)
        row = Evaluation(lambda study, about: store, ridge=False).run(find_runs(runs)).table.iloc[0]
        found[shuffled] = float(row["mean_percentile_rank"])
    assert found[False] > 0.8
    assert abs(found[True] - 0.5) < 0.25


@pytest.mark.parametrize("mixture", [name for name in MIXTURE_NAMES if name != "mean"])
def test_a_mixture_without_a_bank_is_refused(mixture):
    with pytest.raises(InputError, match=f"mixture is '{mixture}' and the preset 'ubp' has no bank of blurs to mix"):
        Job("sub-01", preset("ubp"), TrainOptions(mixture=mixture))
    assert Job("sub-01", preset("bank"), TrainOptions(mixture=mixture)).preset.n_vectors == 5
