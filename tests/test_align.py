"""Alignment of subjects, against slow references and invariances; and in training, evaluation and retrieval."""

from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
from scipy.linalg import fractional_matrix_power, logm

from conftest import make_study
from test_fit import make_pairs
from ubp import config
from ubp.align import (
    ALIGNMENTS,
    FEWEST_TRIALS,
    MOST_TRIALS,
    SHRINKAGE,
    Alignment,
    align_rows,
    check_alignment,
    fit_alignment,
    riemannian_mean,
    spectral,
)
from ubp.brain import brain_encoder
from ubp.brain.subject_layers import SubjectLayers
from ubp.calibration import Calibration, _similarity
from ubp.commands.evaluating import evaluate
from ubp.commands.retrieving import retrieve
from ubp.commands.transductive import evaluate as transductive
from ubp.config import Common, TrainOptions
from ubp.data.study import Study
from ubp.description import DESCRIPTION
from ubp.errors import InputError
from ubp.evaluate import INDUCTIVE, UNLABELLED, UNLABELLED_TRIALS
from ubp.evaluate_transductive import protocol_kind
from ubp.experiment import check_shape, train
from ubp.held_out import held_trials
from ubp.image_gallery import open_gallery
from ubp.images.encoders import image_encoder
from ubp.images.features import FeatureStore
from ubp.job import Job
from ubp.measures import measure
from ubp.model import WEIGHTS, Model
from ubp.presets import preset
from ubp.retrieve import Retriever
from ubp.saved import read_results
from ubp.training_data import TrainingData, fit_alignments, validation_gallery
from ubp.uncertainty import uncertainty

REAL = [name for name in ALIGNMENTS if name != "none"]
OPTIONS = TrainOptions(epochs=3, batch_size=20, learning_rate=3e-3)
VANILLA = preset("vanilla")


def correlated(n=60, n_channels=5, n_times=40, seed=0):
    random = np.random.default_rng(seed)
    mixing = random.standard_normal((n_channels, n_channels))
    return mixing @ random.standard_normal((n, n_channels, n_times)) + random.standard_normal((n_channels, 1))


def positive(n, p, seed=0, spread=1.0):
    random = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        root = np.eye(p) + spread * random.standard_normal((p, p))
        found.append(root @ root.T + 0.05 * np.eye(p))
    return np.stack(found)


def slow_riemannian_mean(matrices):
    """Gradient descent with scipy's own logarithms and powers, matrix by matrix."""
    mean = np.mean(matrices, axis=0)
    for _ in range(500):
        root, inverse = fractional_matrix_power(mean, 0.5), fractional_matrix_power(mean, -0.5)
        step = sum(np.real(logm(inverse @ one @ inverse)) for one in matrices) / len(matrices)
        values, vectors = np.linalg.eigh((step + step.T) / 2)
        mean = root @ (vectors * np.exp(0.5 * values)) @ vectors.T @ root
        if np.linalg.norm(step) < 1e-10:
            break
    return np.real(mean)


def test_tables_and_names_are_alike():
    assert tuple(ALIGNMENTS) == config.ALIGNMENT_NAMES


def test_the_riemannian_mean_equals_a_slow_one():
    matrices = positive(7, 4)
    np.testing.assert_allclose(riemannian_mean(matrices), slow_riemannian_mean(matrices), rtol=1e-6, atol=1e-8)


def test_the_riemannian_mean_of_two_is_in_the_middle_of_the_geodesic():
    first, second = positive(2, 5, seed=1)
    root, inverse = fractional_matrix_power(first, 0.5), fractional_matrix_power(first, -0.5)
    middle = root @ fractional_matrix_power(inverse @ second @ inverse, 0.5) @ root
    np.testing.assert_allclose(riemannian_mean(np.stack([first, second])), middle, rtol=1e-6, atol=1e-8)


def test_the_riemannian_mean_of_diagonals_is_their_geometric_mean_and_follows_any_mixing():
    values = np.random.default_rng(2).uniform(0.1, 9, (6, 4))
    diagonals = np.stack([np.diag(row) for row in values])
    np.testing.assert_allclose(
        riemannian_mean(diagonals), np.diag(np.exp(np.log(values).mean(0))), rtol=1e-8, atol=1e-9
    )
    matrices, mixing = positive(9, 4, seed=3), np.random.default_rng(4).standard_normal((4, 4))
    mixed = riemannian_mean(mixing @ matrices @ mixing.T)
    np.testing.assert_allclose(mixed, mixing @ riemannian_mean(matrices) @ mixing.T, rtol=1e-6, atol=1e-8)


def test_the_riemannian_mean_is_found_for_matrices_far_apart():
    matrices = np.stack([np.linalg.matrix_power(one, 4) for one in positive(12, 4, seed=5)])
    mean = riemannian_mean(matrices)
    inverse = spectral(mean, lambda values: values**-0.5)
    step = spectral(inverse @ matrices @ inverse, np.log).mean(axis=0)
    assert np.linalg.norm(step) < 1e-6


def test_each_alignment_makes_its_statistic_the_identity():
    signals = correlated()
    for name in REAL:
        aligned = fit_alignment(name, signals)(torch.from_numpy(signals).float()).double().numpy()
        np.testing.assert_allclose(aligned.mean(axis=(0, 2)), 0, atol=1e-5)
        covariances = aligned @ aligned.transpose(0, 2, 1) / aligned.shape[2]
        variances = np.diag(covariances.mean(axis=0))
        if name == "scale":
            np.testing.assert_allclose(variances, 1, rtol=1e-5)
            matrix = fit_alignment(name, signals).matrix
            assert torch.equal(matrix, matrix.diagonal().diag())
            continue
        # what was added to the covariance is mapped with it
        matrix = fit_alignment(name, signals).matrix.double().numpy()
        centred = signals - signals.mean(axis=(0, 2))[:, None]
        variance = np.square(centred).mean()
        shrunk = (1 - SHRINKAGE) * covariances + SHRINKAGE * variance * matrix @ matrix.T
        mean = shrunk.mean(axis=0) if name == "euclidean" else riemannian_mean(shrunk)
        np.testing.assert_allclose(mean, np.eye(5), atol=2e-5)
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-6)


def test_euclidean_equals_loops_over_trials():
    signals = correlated(seed=6)
    centre = signals.mean(axis=(0, 2))[:, None]
    mean = np.zeros((5, 5))
    for trial in signals:
        mean += (trial - centre) @ (trial - centre).T / signals.shape[2] / len(signals)
    mean = (1 - SHRINKAGE) * mean + SHRINKAGE * np.trace(mean) / 5 * np.eye(5)
    found = fit_alignment("euclidean", signals)
    np.testing.assert_allclose(found.matrix.numpy(), fractional_matrix_power(mean, -0.5), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.centre.numpy(), centre, rtol=1e-5)


@pytest.mark.parametrize("name", REAL)
def test_units_and_the_order_of_trials_do_not_matter(name):
    signals = correlated(seed=7)
    plain = fit_alignment(name, signals)(torch.from_numpy(signals).float())
    scaled = 1e-6 * signals[::-1].copy()
    found = fit_alignment(name, scaled)(torch.from_numpy(scaled).float()).flip(0)
    torch.testing.assert_close(found, plain, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", REAL)
def test_dependent_and_silent_channels_are_aligned_to_finite_signals(name):
    signals = correlated(seed=8)
    signals -= signals.mean(axis=1, keepdims=True)
    signals[:, 2] = 7.0
    aligned = fit_alignment(name, signals)(torch.from_numpy(signals).float())
    assert aligned.isfinite().all()
    assert aligned.abs().max() < 50
    with pytest.raises(InputError, match="constant in every channel; expected signals that change"):
        fit_alignment(name, np.full((9, 3, 4), 2.0))


def test_unknown_alignments_and_single_samples_are_refused():
    with pytest.raises(InputError, match=r"alignment 'euclid' is unknown; expected one of .* did you mean 'euclidean'"):
        TrainOptions(alignment="euclid")
    with pytest.raises(InputError, match="alignment 'none' is unknown"):
        fit_alignment("none", correlated())
    with pytest.raises(InputError, match="riemannian needs the covariance of every trial and these have one sample"):
        fit_alignment("riemannian", correlated(n_times=1))
    for name in ("none", "scale", "euclidean"):
        check_alignment(name, 1)
    assert fit_alignment("euclidean", correlated(n_times=1)).matrix.isfinite().all()


def test_rows_are_aligned_in_place_each_as_its_subject():
    signals = torch.from_numpy(correlated(700)).float()
    random = np.random.default_rng(0)
    alignments = {
        name: Alignment(torch.randn(5, 1), torch.from_numpy(random.standard_normal((5, 5))).float()) for name in "ab"
    }
    subjects = random.choice(["a", "b"], 700)
    subjects[:300] = "a"
    expected = torch.stack([alignments[s].matrix @ (x - alignments[s].centre) for s, x in zip(subjects, signals)])  # noqa: B905
    place = signals.data_ptr()
    align_rows(signals, subjects, alignments)
    assert signals.data_ptr() == place
    torch.testing.assert_close(signals, expected, atol=1e-5, rtol=1e-4)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("align")


@pytest.fixture(scope="module")
def common(place):
    return Common(store=place / "features", quiet=True)


@pytest.fixture(scope="module")
def study(place):
    return make_study(place / "study", n_subjects=3)


@pytest.fixture(scope="module")
def store(study, common):
    return FeatureStore.build(
        study.image_folder, study.images(), image_encoder("gabor"), preset("ubp", 13, 6).ladder + VANILLA.ladder,
        root=common.store, quiet=True,
    )  # fmt: skip


def job(setting="inter-subject", name="euclidean", blur=VANILLA, **changes):
    return Job("sub-02", blur, replace(OPTIONS, alignment=name, **changes), setting=setting)


@pytest.fixture(scope="module")
def runs(study, store, place):
    """An aligned model, and one without, of both settings."""
    for setting in config.SETTINGS:
        train(study, store, job(setting), place / "aligned")
        train(study, store, job(setting, "none"), place / "plain")
    return place


def model_of(runs, setting="inter-subject", which="aligned"):
    return runs / which / job(setting).folder


@pytest.mark.parametrize("setting", config.SETTINGS)
def test_every_subject_is_aligned_by_its_own_training_trials_and_saved(runs, study, store, setting):
    model = Model.load(model_of(runs, setting))
    who = ("sub-01", "sub-02", "sub-03") if setting == "inter-subject" else ("sub-02",)
    assert tuple(model.alignment) == who == model.description.aligned
    assert model.description.uses_unlabelled == (setting == "inter-subject")
    for subject in who:
        single = study.recording(subject).load("train", average=False)
        expected = fit_alignment("euclidean", single.signals)
        assert torch.equal(model.alignment[subject].matrix, expected.matrix)
        assert torch.equal(model.alignment[subject].centre, expected.centre)
    data = TrainingData.load(study, job(setting))
    means = job(setting).trials(study, "train")
    aligned = torch.stack(
        [model.alignment[s](torch.from_numpy(x[None]))[0] for s, x in zip(means.subjects, means.signals, strict=True)]
    )
    expected = (aligned - model.scale[0]) / model.scale[1]
    torch.testing.assert_close(torch.from_numpy(data.trials.signals), expected, atol=1e-4, rtol=1e-3)
    tensors = safetensors.torch.load_file(model_of(runs, setting) / WEIGHTS)
    assert {name for name in tensors if name.startswith("align.")} == {
        f"align.{subject}.{part}" for subject in who for part in ("centre", "matrix")
    }
    test = study.recording("sub-02").load("test").signals
    by_hand = (model.alignment["sub-02"](torch.from_numpy(test)) - model.scale[0]) / model.scale[1]
    with torch.no_grad():
        np.testing.assert_allclose(model.embed(test), model.encoder(by_hand).numpy(), atol=1e-5)


def test_concepts_held_out_take_no_part_and_at_most_so_many_trials_do(study, monkeypatch):
    about = job(validation_concepts=10)
    data = TrainingData.load(study, about)
    held = set(data.validation.concepts)
    assert len(held) == 10
    single = study.recording("sub-02").load("train", average=False)
    kept = single.select([concept not in held for concept in single.concepts])
    expected = fit_alignment("euclidean", kept.signals)
    assert torch.equal(data.alignment["sub-02"].matrix, expected.matrix)
    assert data.validation.subjects
    monkeypatch.setattr("ubp.training_data.MOST_TRIALS", 30)
    few = fit_alignments(study, about, data.trials, held)
    again = fit_alignments(study, about, data.trials, held)
    assert torch.equal(few["sub-02"].matrix, again["sub-02"].matrix)
    assert not torch.equal(few["sub-02"].matrix, expected.matrix)
    with pytest.raises(InputError, match="All concepts that sub-01 saw were taken out of training"):
        fit_alignments(study, about, data.trials, set(single.concepts))


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("setting", config.SETTINGS)
def test_test_signals_that_are_not_numbers_change_nothing(study, store, place, tmp_path, name, setting):
    import shutil

    shutil.copytree(study.root, tmp_path / "study")
    poisoned = Study.open(tmp_path / "study")
    for recording in poisoned.recordings.values():
        signals = np.load(recording.path)
        signals[(recording.trials["split"] == "test").to_numpy()] = np.nan
        np.save(recording.path, signals)
    poisoned = Study.open(tmp_path / "study")
    about = job(setting, name, epochs=1, validation_concepts=8)
    found = [Model.load(train(one, store, about, tmp_path / str(place))) for place, one in enumerate((study, poisoned))]
    clean, bad = (safetensors.torch.save(one.encoder.state_dict()) for one in found)
    assert clean == bad
    assert found[0].history == found[1].history
    for subject, alignment in found[0].alignment.items():
        assert torch.equal(alignment.matrix, found[1].alignment[subject].matrix)
        assert alignment.matrix.isfinite().all()


def test_the_protocol_tells_of_unlabelled_trials_and_the_two_are_compared(runs, common):
    tables = {which: evaluate(runs / which, ridge=True, common=common).table for which in ("aligned", "plain")}
    told = tables["aligned"].set_index(["setting", "method"])["protocol"].to_dict()
    assert told["inter-subject", "vanilla"] == UNLABELLED
    assert told["intra-subject", "vanilla"] == told["inter-subject", "ridge"] == INDUCTIVE
    assert set(tables["plain"]["protocol"]) == {INDUCTIVE}
    both = read_results([runs / "aligned", runs / "plain"], measure("top1"))
    row = both.table.set_index(["setting", "method"])["protocol"]
    assert row["inter-subject", "vanilla (aligned)"] == UNLABELLED
    assert row["inter-subject", "vanilla (plain)"] == INDUCTIVE


def test_transductive_tracks_tell_of_unlabelled_trials_too(runs, common, capsys):
    label = protocol_kind("csls", "streaming")
    for which in ("aligned", "plain"):
        table = transductive(runs / which, names=("csls",), common=common).table().set_index(["setting", "method"])
        told = table[table["known"] == "streaming"]["protocol"].to_dict()
        expected = label + UNLABELLED_TRIALS if which == "aligned" else label
        assert told["inter-subject", "vanilla"] == expected
        assert told["intra-subject", "vanilla"] == told["inter-subject", "ridge"] == label
        printed = " ".join(capsys.readouterr().out.split())
        assert printed.count("Aligned by unlabelled training trials of the subject: vanilla") == (which == "aligned")
    folders = [runs / which / "transductive/csls/streaming" for which in ("aligned", "plain")]
    both = read_results(folders, measure("top1")).table
    assert set(both["protocol"]) == {label, label + UNLABELLED_TRIALS}


def test_mixed_channels_are_undone_by_an_alignment_and_not_without(study):
    """Signals of somebody whose channels are scaled by other factors are embedded where they were."""
    recording = study.recording("sub-01").load("train", average=False).signals
    factors = np.array([1e-3, 5, 0.2, 40, 1, 7])[:, None].astype(np.float32)
    alignments = [fit_alignment("scale", part)(torch.from_numpy(part)) for part in (recording, recording * factors)]
    torch.testing.assert_close(*alignments, atol=1e-4, rtol=1e-3)


@pytest.fixture(scope="module")
def retriever(runs, common):
    folder = model_of(runs)
    model = Model.load(folder)
    return Retriever(model, open_gallery(None, model.description, common=common))


def test_signals_of_known_subjects_are_aligned_as_theirs(retriever, study):
    found = retriever.retrieve(study.root, subject="sub-01", average=True)
    test = study.recording("sub-01").load("test").signals
    expected = retriever.model.embed(test, "sub-01")
    assert not np.allclose(expected, retriever.model.embed(test, "sub-03"))
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found.similarity, unit @ retriever._images.T, atol=1e-5)
    assert not any("ligned" in note for note in found.notes)
    unnamed = retriever.retrieve(test)
    assert any("Aligned as signals of sub-02: `ubp retrieve --subject`" in note for note in unnamed.notes)


def test_signals_of_somebody_unknown_are_aligned_by_themselves_or_refused(retriever, study, runs, common):
    single = study.recording("sub-03").load("test", average=False).signals
    # somebody else, with other gains and another unit
    mixed = 1e6 * single * np.linspace(0.2, 5, 6)[:, None].astype(np.float32)
    found = retriever.retrieve(mixed, subject="sub-09")
    (note,) = [note for note in found.notes if "transductive" in note]
    assert note.startswith(f"Aligned by {len(mixed)} of these {len(mixed)} trials, without their images, as the model")
    alignment = fit_alignment("euclidean", mixed)
    expected = retriever.model.embed(alignment(torch.from_numpy(mixed)).numpy(), aligned=True)
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found.similarity, unit @ retriever._images.T, atol=1e-5)
    with pytest.raises(InputError, match=f"has 5 trials of sub-09, whom the model does not know.*{FEWEST_TRIALS}"):
        retriever.retrieve(mixed[:5], subject="sub-09")
    with pytest.raises(InputError, match="has no alignment of 'sub-09'; give trials to align them by"):
        retriever.model.embed(mixed, "sub-09")
    np.save(runs / "few.npy", mixed[:5])
    out = runs / "retrieved.csv"
    with pytest.raises(InputError, match="whom the model does not know"):
        retrieve(model_of(runs), runs / "few.npy", subject="sub-09", csv=out, common=common)
    assert not out.exists()


def test_of_many_trials_of_somebody_unknown_a_choice_is_taken(retriever, study):
    single = study.recording("sub-03").load("test", average=False).signals
    many = np.concatenate([single] * (MOST_TRIALS // len(single) + 2))
    found = retriever.retrieve(many, subject="sub-09")
    assert any(f"Aligned by {MOST_TRIALS} of these {len(many)} trials" in note for note in found.notes)


def test_the_unit_is_compared_after_the_alignment(retriever, study):
    test = study.recording("sub-02").load("test", average=False).signals
    with pytest.raises(InputError, match=r"about 9\.9e\+05 times those of the training signals"):
        retriever.retrieve(1e6 * test)


def test_calibration_answers_as_each_subject_is_aligned(study, store, tmp_path, common):
    about = job(calibration_concepts=15, blur=preset("ubp", 13, 6))
    folder = train(study, store, about, tmp_path)
    model = Model.load(folder)
    held = Calibration.load(folder, model.description).held
    assert len({who for who, _ in held.calibration}) == 2
    found = Calibration.load(folder, model.description)
    signals = held_trials(study, held, model.description.channels, None)[1]
    count = max(signals)
    for row, (who, _) in enumerate(held.calibration):
        aligned = model.alignment[who](torch.from_numpy(signals[count][row : row + 1])).numpy()
        expected = _similarity(model, aligned, found.reference)[0]
        np.testing.assert_allclose(found.answers[count].others[row], expected, atol=1e-4)
    retriever = Retriever.load(folder, common=common)
    assert np.isfinite(retriever.retrieve(study.root, subject="sub-02").probability).all()
    table = uncertainty(model, study)
    assert len(table) == model.description.n_pairs


def test_fits_of_pairs_whose_repetitions_are_drawn_are_of_images(study, store, tmp_path):
    about = job("intra-subject", "none", preset("ubp", 13, 6), repetitions="subset", augment=("mixup", "noise"))
    model = Model.load(train(study, store, about, tmp_path))
    assert model.description.n_pairs == model.description.n_images == 40
    assert len(uncertainty(model, study)) == 40
    assert model.description.options == about.options


def test_a_model_without_its_alignment_is_damaged(runs, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for path in model_of(runs).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    with safetensors.safe_open(folder / WEIGHTS, "pt") as file:
        about = file.metadata()
    tensors = safetensors.torch.load_file(folder / WEIGHTS)
    del tensors["align.sub-02.matrix"]
    safetensors.torch.save_file(tensors, folder / WEIGHTS, metadata=about)
    with pytest.raises(InputError, match=f"is damaged: its weights and history do not fit {DESCRIPTION}"):
        Model.load(folder)


def test_what_signals_cannot_have_is_refused_before_training(tmp_path):
    study = make_study(tmp_path / "study", n_times=1, n_train=8)
    check_shape(study, job("intra-subject"))
    for changes, message in (
        ({"alignment": "riemannian"}, "riemannian needs the covariance"),
        ({"augment": ("smoothing",)}, "smoothing changes signals along time and these have one sample per trial"),
    ):
        with pytest.raises(InputError, match=message):
            check_shape(study, Job("sub-02", VANILLA, replace(OPTIONS, **changes)))


def layers(n_subjects=2, name="eegproject", n_times=80):
    torch.manual_seed(0)
    about = {"n_subjects": n_subjects} if name == "atm-s" else {}
    return SubjectLayers(brain_encoder(name, 4, n_times, 16, **about), n_subjects)


@pytest.mark.parametrize("name", ["eegproject", "atm-s"])
def test_subject_layers_map_channels_of_known_subjects_and_none_of_others(name):
    encoder = layers(name=name).eval()
    signals, subject = torch.randn(6, 4, 80), torch.tensor([0, 1, 1, 0, 1, 0])
    own = (lambda rows: (subject[rows],)) if name == "atm-s" else (lambda rows: ())
    with torch.no_grad():
        assert torch.equal(encoder(signals), encoder.brain(signals))
        torch.testing.assert_close(encoder(signals, subject), encoder.brain(signals, *own(slice(None))))
        encoder.own.normal_()
        assert torch.equal(encoder(signals), encoder.brain(signals))
        for row in range(6):
            mapped = (torch.eye(4) + encoder.own[subject[row]]) @ signals[row]
            rows = slice(row, row + 1)
            expected = encoder.brain(mapped[None], *own(rows))
            torch.testing.assert_close(encoder(signals[rows], subject[rows]), expected, atol=1e-5, rtol=1e-4)


def test_subject_layers_are_left_out_of_half_of_the_training_trials():
    encoder = layers().train()
    encoder.brain.eval()
    with torch.no_grad():
        encoder.own.fill_(1.0)
        signals = torch.randn(1, 4, 80).expand(600, 4, 80)
        found = encoder(signals, torch.zeros(600, dtype=torch.long))
        free = torch.isclose(found, encoder.brain(signals[:1]), atol=1e-5).all(1)
    assert 0.4 < free.float().mean() < 0.6
    with pytest.raises(InputError, match="was made for"):
        encoder(torch.randn(2, 3, 80))


@pytest.mark.parametrize("changes", [{}, {"members": 2, "adapter": "linear"}, {"brain_encoder": "atm-s"}])
def test_models_with_subject_layers_are_saved_and_know_whose_signals_they_see(place, changes):
    study = make_study(place / f"layers-{len(changes)}-{changes.get('brain_encoder')}", n_times=80, n_train=10)
    store = FeatureStore.build(
        study.image_folder, study.images(), image_encoder("gabor"), VANILLA.ladder, root=place / "features", quiet=True
    )
    options = replace(OPTIONS, subject_layers=True, learning_rate=1e-2, **changes)
    model = Model.load(train(study, store, Job("sub-01", VANILLA, options), place / "layers" / study.root.name))
    signals = study.recording("sub-01").load("test").signals
    known, unknown = model.embed(signals), model.embed(signals, "sub-77")
    assert known.shape == unknown.shape
    assert not np.allclose(known, unknown)
    assert make_pairs(4).subject is None


def test_a_model_for_another_subject_is_validated_as_it_is_used(study, store):
    """Subject layers of those that were trained on do not choose the epoch for somebody who was not."""
    for setting in config.SETTINGS:
        about = job(setting, "none", subject_layers=True, validation_concepts=6)
        data = TrainingData.load(study, about)
        gallery = validation_gallery(data.validation, store, about, data.scale, data.trials)
        assert (gallery.subject is None) == (setting == "inter-subject")
        assert len(gallery.signals) == len(data.validation)
