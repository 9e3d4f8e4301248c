from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from ubp.data.study import Study
from ubp.evaluate import rank_gallery
from ubp.images.encoders import image_encoder
from ubp.images.features import FeatureStore
from ubp.metrics import mean_percentile_rank
from ubp.presets import preset
from ubp.ridge import ALPHAS, RidgeBaseline, ridge_path

DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.mark.parametrize("n_features", [5, 80])
def test_the_path_equals_scikit_learn_for_every_penalty(n_features):
    random = np.random.default_rng(0)
    signals, held = random.standard_normal((40, n_features)), random.standard_normal((7, n_features))
    vision = random.standard_normal((40, 6))
    for alpha, predicted in zip(ALPHAS, ridge_path(signals, vision, held, ALPHAS), strict=True):
        expected = Ridge(alpha=alpha, fit_intercept=False).fit(signals, vision).predict(held)
        assert predicted == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_baseline_predicts_a_linear_relation_and_chooses_more_penalty_for_more_noise():
    random = np.random.default_rng(1)
    vision = random.standard_normal((300, 8)).astype(np.float32) + 3
    clean = ((vision - 3) @ random.standard_normal((8, 12))).reshape(300, 4, 3).astype(np.float32)
    chosen = []
    for noise in (0.01, 30.0):
        signals = clean + noise * random.standard_normal(clean.shape).astype(np.float32)
        concepts = [str(i) for i in range(250)]
        baseline = RidgeBaseline().fit(signals[:250], vision[:250], concepts)
        chosen.append(baseline.alpha_)
        if noise < 1:
            assert baseline.predict(signals[250:]) == pytest.approx(baseline.centre(vision[250:]), abs=0.1)
    assert chosen[0] < chosen[1]


@pytest.mark.skipif(not DATA.exists(), reason="the validation recordings are not beside this checkout")
@pytest.mark.parametrize(
    ("session", "top1", "top5", "percentile"),
    [("210325", 0.215, 0.626, 0.939), ("210305", 0.075, 0.537, 0.901), ("210224", 0.241, 0.541, 0.912)],
)
def test_baseline_gives_the_known_figures_on_real_recordings(session, top1, top5, percentile, tmp_path):
    study = Study.open(DATA / "v4")
    recording = study.recording(f"sub-{session}")
    train, test = recording.load("train"), recording.load("test")
    encoder = image_encoder(f"onnx:{DATA / 'encoders/mobilenet_v1_embedding.onnx'}")
    crisp = preset("vanilla").base
    images = sorted({*train.images, *test.images})
    store = FeatureStore.build(study.image_folder, images, encoder, [crisp], root=tmp_path, quiet=True)
    gallery = sorted(set(test.images))
    n = len(gallery)
    # the known figures were made with penalty 100, chosen on folds that are not written down
    baseline = RidgeBaseline(alphas=(100.0,)).fit(train.signals, store.vectors(crisp, train.images), train.concepts)
    vision = baseline.centre(store.vectors(crisp, gallery))
    rank = rank_gallery(baseline.predict(test.signals), test, vision, gallery).rank
    assert np.mean(rank <= 1) == pytest.approx(top1, abs=1.01 / n)
    assert np.mean(rank <= 5) == pytest.approx(top5, abs=1.01 / n)
    assert mean_percentile_rank(rank, n) == pytest.approx(percentile, abs=0.002)
    assert 10 <= RidgeBaseline().fit(train.signals, store.vectors(crisp, train.images), train.concepts).alpha_ <= 1000
