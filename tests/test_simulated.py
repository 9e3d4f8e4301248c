"""The simulated study: physics against closed forms, trials against a slow rebuilding, gaps found by ridge."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import eval_legendre

from ubp.data import forward
from ubp.data import simulated_trials as make
from ubp.data.simulated import Simulation, simulate
from ubp.data.study import Study
from ubp.errors import InputError
from ubp.images.blur import Blur, blur
from ubp.images.gabor import GaborEncoder
from ubp.images.load import load_image
from ubp.images.scenes import scene

SMALL = Simulation(n_concepts=12, images_per_concept=2, n_test=8, image_size=48, channels=forward.POSTERIOR, seed=3)


@pytest.fixture(scope="module")
def material():
    table = make.image_table(SMALL)
    return table, make.make_vectors(table, SMALL)


def trials(table, vectors, options, subject=0):
    """Truth, signals without noise, and noise of one subject; noise alone is what is left at an SNR of 0."""
    truth = make.make_truth(table, options, subject)
    chosen = vectors[[SMALL.widths.index(w) for w in options.widths]]
    signals = np.concatenate(list(make.make_signals(table, truth, chosen, options, subject)))
    noise = np.concatenate(list(make.make_signals(table, truth, chosen, replace(options, snr=0.0), subject)))
    return truth, signals - noise, noise


def test_electrodes_lie_where_their_names_say():
    where = dict(zip(forward.CHANNELS, forward.channel_positions(forward.CHANNELS), strict=True))
    assert len(where) == 63
    np.testing.assert_allclose([np.linalg.norm(p) for p in where.values()], forward.HEAD_RADIUS)
    for name, (x, _, _) in where.items():
        digits = name.lstrip("AFTPCOpz")
        assert np.sign(np.round(x, 6)) == (0 if not digits else 1 if int(digits) % 2 == 0 else -1), name
    assert where["Oz"][1] < where["POz"][1] < where["Pz"][1] < where["Cz"][1] < where["AFz"][1]
    assert where["Cz"][2] == pytest.approx(forward.HEAD_RADIUS)


def homogeneous_sphere(electrodes, places, directions, conductivity):
    """Legendre series of the potential on an insulated sphere, differentiated numerically along the dipole."""
    radius = forward.HEAD_RADIUS
    order = np.arange(1, 400)

    def series(place):
        depth = np.linalg.norm(place)
        cosine = electrodes @ place / (radius * depth)
        terms = (2 * order + 1) / order * (depth / radius) ** order / radius
        return eval_legendre(order[None], np.clip(cosine, -1, 1)[:, None]) @ terms

    step = 1e-6
    field = [
        (series(p + step * q) - series(p - step * q)) / (2 * step) for p, q in zip(places, directions, strict=True)
    ]
    field = np.array(field).T / (4 * np.pi * conductivity)
    return field - field.mean(0)


def test_lead_field_in_a_homogeneous_head_is_the_closed_form():
    rng = np.random.default_rng(0)
    electrodes = forward.channel_positions(forward.CHANNELS)
    places, directions = forward.place_sources(rng, 12)
    found = forward.lead_field(electrodes, places, directions, (0.3,) * 4)
    expected = homogeneous_sphere(electrodes, places, directions, 0.3)
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


def test_lead_field_turns_with_the_head_and_the_skull_smears_it():
    rng = np.random.default_rng(1)
    electrodes = forward.channel_positions(forward.CHANNELS)
    places, directions = forward.place_sources(rng, 6)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    field = forward.lead_field(electrodes, places, directions)
    turned = forward.lead_field(electrodes @ turn.T, places @ turn.T, directions @ turn.T)
    np.testing.assert_allclose(turned, field, rtol=1e-4, atol=1e-4 * np.abs(field).max())
    bare = forward.lead_field(electrodes, places, directions, (0.33,) * 4)
    assert (np.abs(field).max(0) < 0.6 * np.abs(bare).max(0)).all()


def test_noise_has_the_spectrum_asked_for():
    n_times, sfreq = 256, 100.0
    factor = forward.noise_factor(n_times, sfreq)
    np.testing.assert_allclose((factor.astype(float) ** 2).sum(1), 1, rtol=1e-5)  # unit variance at all times
    noise = np.random.default_rng(0).standard_normal((4000, n_times)) @ factor.T
    window = np.hanning(n_times)
    frequency = np.fft.rfftfreq(n_times, 1 / sfreq)
    power = (np.abs(np.fft.rfft(noise * window)) ** 2).mean(0)
    band = (frequency > 1.5) & (frequency < 45)
    expected = (frequency**2 + 0.25) ** -0.5 + 0.02
    ratio = power[band] / expected[band]
    assert np.abs(ratio / ratio.mean() - 1).max() < 0.15
    low = (frequency > 1.5) & (frequency < 12)
    assert np.polyfit(np.log(frequency[low]), np.log(power[low]), 1)[0] == pytest.approx(-0.9, abs=0.12)


def test_noise_is_correlated_over_neighbours(material):
    options = replace(SMALL, channels=forward.CHANNELS, n_test=8, test_repetitions=100)
    truth = make.make_truth(material[0], options, 0)
    noise = np.concatenate(list(make.make_signals(*material[:1], truth, material[1], replace(options, snr=0.0), 0)))
    assert noise.var(axis=(0, 2)).mean() == pytest.approx(1, rel=0.05)
    correlation = np.corrcoef(noise.transpose(1, 0, 2).reshape(63, -1))
    mixing = make.make_brain(options, 0).mixing
    covariance = mixing.astype(float) @ mixing.T
    scale = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(correlation, covariance / np.outer(scale, scale), atol=0.08)
    at = forward.CHANNELS.index
    assert correlation[at("PO3"), at("POz")] > 0.5 > correlation[at("PO3"), at("Fp2")]


@pytest.mark.parametrize("snr", [0.05, 2.0])
@pytest.mark.parametrize("gap", [True, False])
def test_snr_is_the_one_asked_for(material, snr, gap):
    options = replace(SMALL, snr=snr, system_gap=gap, random_gap=False, train_repetitions=10)
    table, vectors = material
    if not gap:
        vectors = crisp_vectors(table)[None]
        truth = make.make_truth(table, options, 0)
        noise = np.concatenate(list(make.make_signals(table, truth, vectors, replace(options, snr=0.0), 0)))
        signal = np.concatenate(list(make.make_signals(table, truth, vectors, options, 0))) - noise
    else:
        truth, signal, noise = trials(table, vectors, options)
    first = ((truth.split == "train") & (truth.repetition == 1)).to_numpy()
    assert signal[first].var(0, ddof=1).mean() == pytest.approx(snr, rel=1e-3)
    assert noise.var(0).mean() == pytest.approx(1, rel=0.05)


def crisp_vectors(table):
    pixels = [scene(c, i, 48) for c, i in zip(table.concept_seed, table.image_seed, strict=True)]
    return GaborEncoder(48)(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255).numpy()


def test_a_trial_is_gain_times_the_response_to_the_blurred_image_it_answers_to(material):
    table, vectors = material
    truth, signal, _ = trials(table, vectors, SMALL)
    brain = make.make_brain(SMALL, 0)
    encoder = GaborEncoder(48)
    seeds = table.set_index("image")[["concept_seed", "image_seed"]]

    def response(image, width):
        picture = torch.from_numpy(scene(*map(int, seeds.loc[image]), 48)).permute(2, 0, 1)[None].float() / 255
        return encoder(blur(picture, Blur(int(width)))).numpy()[0] @ brain.readout @ brain.evoked

    clean = np.array([response(image, SMALL.true_width) for image in table.image[table.split == "train"]])
    scale = np.sqrt(SMALL.snr / clean.var(0, ddof=1).mean())
    rows = [0, 7, *np.flatnonzero(truth.lapse)[:3], len(truth) - 1]
    for row in rows:
        trial = truth.iloc[row]
        expected = scale * trial.gain * response(trial.seen, trial.width)
        np.testing.assert_allclose(signal[row].ravel(), expected, rtol=0.01, atol=1e-3 * np.abs(expected).max())


def test_responses_come_after_the_image_and_early_ones_in_the_back(material):
    options = replace(SMALL, channels=forward.CHANNELS, random_gap=False, snr=1.0, sfreq=200.0)
    _, signal, _ = trials(*material, options)
    power = signal.var(0)
    assert (power[:, :11] < 1e-6).all()  # 50 ms
    assert power[:, 20:80].mean() > 1.5 * power.mean()
    frontal = [name.startswith(("F", "AF")) for name in forward.CHANNELS]
    assert power[np.invert(frontal)].mean() > 3 * power[frontal].mean()


def test_truth_follows_the_options(material):
    table, _ = material
    options = replace(SMALL, train_repetitions=100, lapse=0.2, gain_spread=0.4, width_change=0.3)
    truth = make.make_truth(table, options, 0)
    assert truth.lapse.mean() == pytest.approx(0.2, abs=0.03)
    assert np.log(truth.gain).std() == pytest.approx(0.4, abs=0.03)
    share = truth.width.value_counts(normalize=True)
    for width, expected in {7: 0.15, 13: 0.7, 19: 0.15}.items():
        assert share[width] == pytest.approx(expected, abs=0.03)
    assert (truth.seen == truth.image)[~truth.lapse].all()
    where = table.set_index("image").split
    assert (where[truth.seen].to_numpy() == truth.split).all()
    assert not set(truth.concept[truth.split == "train"]) & set(truth.concept[truth.split == "test"])
    assert not truth.equals(make.make_truth(table, options, 1))


def test_random_gap_off_is_off(material):
    table, vectors = material
    options = replace(SMALL, random_gap=False)
    truth, signal, noise = trials(table, vectors, options)
    assert options.widths == (13,)
    assert (truth.width == 13).all()
    assert (truth.gain == 1).all()
    assert not truth.lapse.any()
    assert (truth.seen == truth.image).all()
    groups = truth.groupby("image").indices.values()
    assert max(np.ptp(signal[rows], axis=0).max() for rows in groups) < 1e-5
    _, with_gap, same_noise = trials(table, vectors, SMALL)
    assert np.array_equal(noise, same_noise)
    assert max(np.ptp(with_gap[rows], axis=0).max() for rows in groups) > 0.1


def test_system_gap_off_is_off(material):
    table, _ = material
    options = replace(SMALL, system_gap=False)
    assert options.widths == (1,)
    vectors = make.make_vectors(table, options)
    np.testing.assert_array_equal(vectors[0], crisp_vectors(table))
    truth = make.make_truth(table, options, 0)
    assert (truth.width == 1).all()
    assert truth.lapse.any()
    pd.testing.assert_frame_equal(truth.drop(columns="width"), make.make_truth(table, SMALL, 0).drop(columns="width"))


def test_subjects_are_related_brains():
    signals = {}
    for spread in (0.0, 0.3, 1.0):
        brains = [make.make_brain(replace(SMALL, subject_spread=spread), i) for i in range(2)]
        maps = [(brain.readout @ brain.evoked).ravel() for brain in brains]
        signals[spread] = np.corrcoef(maps)[0, 1]
    assert signals[0.0] == pytest.approx(1, abs=1e-6)
    assert signals[0.0] > signals[0.3] > 0.15 > abs(signals[1.0])


def test_a_study_is_the_same_to_the_byte(tmp_path):
    options = replace(SMALL, n_subjects=2)
    digests = []
    for name in ("a", "b"):
        study = simulate(tmp_path / name, options, quiet=True)
        files = sorted(p for p in study.root.rglob("*") if p.is_file())
        digests.append(
            {p.relative_to(study.root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
        )
    assert digests[0] == digests[1]
    alone = simulate(tmp_path / "c", replace(options, n_subjects=1), quiet=True)
    assert (
        hashlib.sha256((alone.root / "sub-01/signals.npy").read_bytes()).hexdigest() == digests[0]["sub-01/signals.npy"]
    )
    other = simulate(tmp_path / "d", replace(options, seed=4), quiet=True)
    for name in ("sub-01/signals.npy", "images/test/concept_00013/concept_00013_01.png"):
        assert hashlib.sha256((other.root / name).read_bytes()).hexdigest() != digests[0][name]


def test_the_study_folder_is_right(tmp_path, material):
    study = simulate(tmp_path / "study", SMALL, quiet=True)
    study.validate()
    assert Study.open(study.root).info.modality == "simulated"
    assert json.loads(study.info.source.removeprefix("ubp simulate "))["seed"] == 3
    recording = study.recording("sub-01")
    assert recording.signals.shape == (24 * 2 + 8 * 4, 17, 80)
    assert recording.signals.dtype == np.float16
    assert list(recording.channels.columns) == ["name", "type", "x", "y", "z"]
    truth = pd.read_csv(study.root / "sub-01/truth.csv")
    for column in ("image", "split", "repetition"):
        assert (truth[column] == recording.trials[column]).all()
    table, vectors = material
    pd.testing.assert_frame_equal(truth, make.make_truth(table, SMALL, 0)[list(truth.columns)], check_dtype=False)
    blocks = np.concatenate(list(make.make_signals(table, make.make_truth(table, SMALL, 0), vectors, SMALL, 0)))
    np.testing.assert_array_equal(recording.signals, blocks.astype(np.float16))
    row = table.iloc[-1]
    stored = load_image(study.image_path(row.image), 48).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(stored, scene(int(row.concept_seed), int(row.image_seed), 48))


def ridge_top1(options, table, features, levels):
    """Top-1 over gallery levels of a ridge map from averaged signals to unit features, alpha chosen for all at once."""
    truth = make.make_truth(table, options, 0)
    at = [levels.index(w) for w in options.widths]
    signals = np.concatenate(list(make.make_signals(table, truth, features[at], options, 0)))
    n_train = options.n_concepts * options.images_per_concept
    split = n_train * options.train_repetitions
    train = signals[:split].reshape(options.train_repetitions, n_train, -1).mean(0)
    test = signals[split:].reshape(options.test_repetitions, options.n_test, -1).mean(0)
    test, train = test - train.mean(0), train - train.mean(0)
    values, basis = np.linalg.eigh(train @ train.T)
    shrunk = (test @ train.T @ basis) / (values + 0.05 * values.max())
    accuracy = []
    for level in features:
        target = level / np.linalg.norm(level, axis=1, keepdims=True)
        guess = shrunk @ (basis.T @ (target[:n_train] - target[:n_train].mean(0)))
        accuracy.append(((guess @ target[n_train:].T).argmax(1) == np.arange(options.n_test)).mean())
    return dict(zip(levels, accuracy, strict=True))


def test_ridge_finds_the_gap_that_was_put_in_and_none_where_there_is_none():
    levels = [1, 7, 13, 19, 31]
    options = Simulation(n_concepts=130, images_per_concept=3, n_test=150, channels=forward.POSTERIOR, snr=0.2)
    table = make.image_table(options)
    pixels = np.stack([scene(c, i) for c, i in zip(table.concept_seed, table.image_seed, strict=True)])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    features = np.stack([GaborEncoder()(blur(images, Blur(width))).numpy() for width in levels])
    gap = ridge_top1(options, table, features, levels)
    none = ridge_top1(replace(options, system_gap=False, random_gap=False), table, features, levels)
    assert max(gap, key=gap.get) in (7, 13, 19)
    assert gap[13] > gap[1] + 0.03
    assert gap[13] > gap[31] + 0.03
    assert none[1] > none[13] > none[31]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_subjects": 0}, "n_subjects is 0; expected at least 1"),
        ({"true_width": 12}, "true_width is 12; expected an odd"),
        ({"width_step": 3}, "width_step is 3; expected an even"),
        ({"image_size": 64}, "image_size is 64; expected a multiple of 48"),
        ({"lapse": 1.5}, "lapse is 1.5; expected a number from 0 to 1"),
        ({"snr": float("nan")}, "snr is nan"),
        ({"dtype": "int8"}, "dtype is 'int8'"),
        ({"duration": 0.001}, "duration is 0.001"),
        ({"n_concepts": 1, "images_per_concept": 1}, "one training image"),
    ],
)
def test_bad_options_get_one_sentence(change, words):
    with pytest.raises(InputError, match=words):
        replace(SMALL, **change)


def test_unknown_channel_and_full_folder_get_one_sentence(tmp_path):
    with pytest.raises(InputError, match="XX9 cannot be placed"):
        simulate(tmp_path / "a", replace(SMALL, channels=("Oz", "XX9")), quiet=True)
    assert not (tmp_path / "a").exists()
    (tmp_path / "b").mkdir()
    (tmp_path / "b/keep.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        simulate(tmp_path / "b", SMALL, quiet=True)
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_subjects_differ_in_snr_by_equal_ratios_and_in_nothing_else(material):
    options = replace(SMALL, n_subjects=3, snr=0.2, snr_range=9.0, random_gap=False)
    assert [options.subject_snr(subject) for subject in range(3)] == pytest.approx([0.6, 0.2, 0.2 / 3])
    assert replace(options, n_subjects=1).subject_snr(0) == pytest.approx(0.2)
    same = replace(options, snr_range=1.0)
    for subject, ratio in enumerate((3.0, 1.0, 1 / 3)):
        _, signal, noise = trials(*material, options, subject)
        _, other, other_noise = trials(*material, same, subject)
        np.testing.assert_array_equal(noise, other_noise)
        np.testing.assert_allclose(signal, np.sqrt(ratio) * other, atol=1e-4)
