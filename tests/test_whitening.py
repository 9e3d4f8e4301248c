import mne
import numpy as np
import pytest
import scipy.linalg
import sklearn.covariance
from sklearn.discriminant_analysis import _cov

from ubp.data.epochs import EpochCut, cut_epochs
from ubp.data.whitening import ledoit_wolf, noise_covariance, whiten, whitener
from ubp.errors import InputError


def trials(n_trials=7, n_channels=20, n_times=90, seed=0):
    random = np.random.default_rng(seed)
    mixing = random.standard_normal((n_channels, n_channels))
    return np.exp(3 * random.standard_normal((n_channels, 1))) * (
        mixing @ random.standard_normal((n_trials, n_channels, n_times)) + random.standard_normal((1, n_channels, 1))
    )


@pytest.mark.parametrize("shape", [(7, 20, 90), (3, 5, 4), (2, 30, 10), (40, 2, 3), (4, 1, 9)])
def test_ledoit_wolf_equals_scikit_learn(shape):
    x = trials(*shape)
    covariance, shrinkage = ledoit_wolf(x)
    for i, trial in enumerate(x):
        expected, amount = sklearn.covariance.ledoit_wolf(trial.T)
        np.testing.assert_allclose(covariance[i], expected, rtol=0, atol=1e-10 * np.abs(expected).max())
        assert shrinkage[i] == pytest.approx(amount, abs=1e-10)


def test_noise_covariance_equals_scikit_learn():
    x = trials(n_trials=40)
    x[3, 2] = 7.3  # a channel that is constant in one trial
    weights = np.random.default_rng(1).random(40)
    expected = sum(w * _cov(trial.T, shrinkage="auto") for w, trial in zip(weights, x, strict=True))
    found = noise_covariance(x, weights)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10 * np.abs(expected).min())


def test_noise_covariance_does_not_depend_on_units():
    x, units = trials(), np.array([1e-6, 1e6] * 10)
    one = np.ones(len(x))
    np.testing.assert_allclose(
        noise_covariance(x * units[:, None], one), noise_covariance(x, one) * np.outer(units, units), rtol=1e-9
    )


def test_whitener_equals_the_fractional_power_and_whitens():
    covariance = noise_covariance(trials(), np.full(7, 1 / 7))
    matrix = whitener(covariance)
    np.testing.assert_allclose(matrix, scipy.linalg.fractional_matrix_power(covariance, -0.5), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(matrix @ covariance @ matrix, np.eye(20), atol=1e-8)
    np.testing.assert_allclose(whiten(matrix, trials()), matrix @ trials(), rtol=1e-9, atol=1e-9)


def test_a_singular_covariance_is_refused():
    with pytest.raises(InputError, match=r"2 channels is singular"):
        whitener(np.ones((2, 2)))
    with pytest.raises(InputError, match="singular"):
        whitener(np.zeros((3, 3)))


@pytest.mark.parametrize("sfreq", [1000, 500, 333, 250, 200, 128, 100])
@pytest.mark.parametrize("epoch", [(-0.2, 1.0), (-0.2, 0.8), (-0.1, 0.513)])
def test_epochs_equal_mne(sfreq, epoch):
    random = np.random.default_rng(0)
    signals = random.standard_normal((3, 70_000)).cumsum(axis=1) + 1e3
    samples = np.sort(random.choice(np.arange(300, 68_900), 60, replace=False))
    raw = mne.io.RawArray(signals, mne.create_info(3, 1000.0, "eeg"), verbose="ERROR")
    events = np.column_stack([samples, np.zeros_like(samples), np.ones_like(samples)])
    reference = mne.Epochs(raw, events, 1, *epoch, baseline=(None, 0), preload=True, verbose="ERROR")
    if sfreq < 1000:
        reference.resample(sfreq, verbose="ERROR")
    cut = EpochCut(1000.0, sfreq, epoch, (epoch[0], 0.0), epoch)
    found = np.full((60, 2, cut.n_times), np.nan)
    for where, block in cut_epochs(signals, np.array([2, 0]), samples, cut):
        found[where] = block
    # mne may add a sample after the last second when it rounds the number of samples up
    expected = reference.get_data()[:, [2, 0]]
    assert expected.shape[2] - found.shape[2] in (0, 1)
    np.testing.assert_allclose(found, expected[:, :, : found.shape[2]], rtol=0, atol=1e-11)
    assert cut.tmin == pytest.approx(reference.times[0])


def test_the_window_crops_what_was_resampled():
    signals = np.random.default_rng(0).standard_normal((2, 3000))
    whole = EpochCut(1000.0, 250.0, (-0.2, 1.0), None, (-0.2, 1.0))
    part = EpochCut(1000.0, 250.0, (-0.2, 1.0), None, (0.0, 1.0))
    assert (whole.n_times, part.n_times, part.tmin) == (300, 250, 0.0)
    np.testing.assert_allclose(whole.apply(signals[:, :1201])[:, 50:], part.apply(signals[:, :1201]), atol=1e-12)
    assert list(whole.fits(np.array([199, 200, 1999, 2000]), 3000)) == [False, True, True, False]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sfreq": 2000.0}, "2000 Hz is not between"),
        ({"sfreq": 0.0}, "0 Hz is not between"),
        ({"epoch": (1.0, 1.0)}, "is empty"),
        ({"baseline": (-0.5, 0.0)}, "baseline .* does not lie"),
        ({"window": (0.0, 2.0)}, "window .* does not lie"),
        ({"window": (0.001, 0.002)}, "holds no sample"),
    ],
)
def test_impossible_cuts_are_refused(changes, message):
    good = {"raw_sfreq": 1000.0, "sfreq": 250.0, "epoch": (-0.2, 1.0), "baseline": (-0.2, 0.0), "window": (0.0, 1.0)}
    with pytest.raises(InputError, match=message):
        EpochCut(**(good | changes))
