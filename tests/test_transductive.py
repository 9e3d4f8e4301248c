"""Transductive similarities against slow versions, planted answers, and everything that could leak the order."""

import itertools

import numpy as np
import pytest
from scipy.linalg import expm, orthogonal_procrustes
from scipy.optimize import linear_sum_assignment
from scipy.stats import binom

from sentences import one_sentence
from ubp.errors import InputError
from ubp.metrics import cosine_similarity, ranks
from ubp.transductive import (
    CONDITIONS,
    TRANSDUCTIVE,
    assignment,
    csls,
    half_shown,
    mutual_nearest,
    one_by_one,
    procrustes,
)

every_track = pytest.mark.parametrize("rerank", [track.rerank for track in TRANSDUCTIVE.values()], ids=TRANSDUCTIVE)
every_condition = pytest.mark.parametrize("score", [one.score for one in CONDITIONS.values()], ids=CONDITIONS)


def brute_force(similarity):
    """Best sum over all one-to-one assignments with each query and image together, less the best of all."""
    n_queries, n_gallery = similarity.shape
    best = np.full(similarity.shape, -np.inf)
    for images in itertools.permutations(range(n_gallery), n_queries):
        total = sum(similarity[query, image] for query, image in enumerate(images))
        for query, image in enumerate(images):
            best[query, image] = max(best[query, image], total)
    return best - best.max()


def slow_csls(similarity, k):
    result = np.empty_like(similarity)
    for i, row in enumerate(similarity):
        for j, column in enumerate(similarity.T):
            of_query = sum(sorted(row, reverse=True)[:k]) / min(k, len(row))
            of_image = sum(sorted(column, reverse=True)[:k]) / min(k, len(column))
            result[i, j] = 2 * similarity[i, j] - of_query - of_image
    return result


def pairs(random, n=60, noise=1.0, dim=24):
    """Queries that are noisy copies of the images of a gallery, row for row."""
    vision = random.standard_normal((n, dim)) * np.linspace(2, 0.5, dim)
    return vision + noise * random.standard_normal((n, dim)), vision


def top1(scores):
    return float(np.mean(ranks(scores, np.arange(len(scores))) == 1))


@pytest.mark.parametrize("shape", [(5, 5), (1, 5), (3, 5), (4, 6), (5, 6)])
@pytest.mark.parametrize("ties", [False, True])
def test_assignment_equals_brute_force_over_permutations(shape, ties):
    random = np.random.default_rng([*shape, ties])
    for _ in range(30):
        similarity = random.integers(-2, 3, shape).astype(float) if ties else random.standard_normal(shape)
        found, expected = assignment(similarity), brute_force(similarity)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)
        if ties:
            np.testing.assert_array_equal(found, expected)


def test_the_assigned_image_comes_first():
    random = np.random.default_rng(0)
    similarity = cosine_similarity(*pairs(random))
    scores = assignment(similarity)
    np.testing.assert_array_equal(scores.argmax(axis=1), linear_sum_assignment(similarity, maximize=True)[1])
    assert (np.sort(scores, axis=1)[:, -1] == 0).all()
    assert (np.sort(scores, axis=1)[:, -2] < 0).all()


def test_one_query_alone_keeps_its_order():
    similarity = np.random.default_rng(0).standard_normal((1, 9))
    np.testing.assert_allclose(assignment(similarity), similarity - similarity.max(), atol=1e-8)
    order = np.argsort(similarity)
    np.testing.assert_array_equal(np.argsort(csls(similarity)), order)


@pytest.mark.parametrize("k", [1, 3, 50])
def test_csls_equals_a_loop(k):
    similarity = np.random.default_rng(k).standard_normal((7, 9))
    np.testing.assert_allclose(csls(similarity, k), slow_csls(similarity, k), atol=1e-12)


def test_csls_takes_a_hub_back():
    similarity = np.full((12, 12), 0.1) + 0.5 * np.eye(12)
    similarity[:, 0] += 0.6  # near to every query
    assert top1(similarity) == pytest.approx(1 / 12)
    assert top1(csls(similarity, k=5)) == 1


@pytest.mark.parametrize("angle", [0.5, 0.9])
def test_procrustes_finds_a_planted_rotation(angle):
    random = np.random.default_rng(1)
    vision = random.standard_normal((80, 16))
    generator = random.standard_normal((16, 16))
    generator -= generator.T
    rotation = expm(angle * generator / np.linalg.norm(generator, 2) * np.pi / 2)
    brain = vision @ rotation + 0.3 * random.standard_normal(vision.shape) + 0.5
    before = top1(cosine_similarity(brain, vision))
    after = TRANSDUCTIVE["procrustes"].rerank(brain, vision)
    assert 0.2 < before < 0.95
    assert top1(after) > max(0.98, before + 0.05)
    matched = cosine_similarity((brain - brain.mean(axis=0)) @ rotation.T, vision - vision.mean(axis=0)).diagonal()
    np.testing.assert_allclose(after.diagonal(), matched, atol=0.1)


def test_procrustes_of_the_right_pairs_has_scipys_rotation():
    random = np.random.default_rng(2)
    vision = random.standard_normal((60, 6))
    turned = vision @ expm(0.2 * (np.eye(6, k=1) - np.eye(6, k=-1)))
    brain = turned + 0.05 * random.standard_normal(vision.shape)
    found = procrustes(brain, vision, weight=1e-9)
    centred = [rows - rows.mean(axis=0) for rows in (brain, vision)]
    units = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in centred]
    expected = units[0] @ orthogonal_procrustes(*units)[0] @ units[1].T
    assert top1(found) == 1
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_mutual_nearest_leaves_out_what_ties():
    similarity = np.array([[0.9, 0.1, 0.0], [0.8, 0.5, 0.5], [0.0, 0.3, 0.6], [0.0, 0.3, 0.6]])
    assert mutual_nearest(similarity).T.tolist() == [[0, 0]]
    assert mutual_nearest(np.ones((3, 3))).shape == (2, 0)


@every_track
def test_all_queries_together_help_noisy_queries(rerank):
    random = np.random.default_rng(3)
    gains = []
    for _ in range(8):
        brain, vision = pairs(random, n=80, noise=1.6)
        brain = brain + 1.5 * random.standard_normal(brain.shape[1])
        gains.append(top1(rerank(brain, vision)) - top1(cosine_similarity(brain, vision)))
    assert np.mean(gains) > 0.02


@every_track
@every_condition
def test_shuffled_pairs_stay_at_chance(rerank, score):
    random = np.random.default_rng(4)
    n, draws, hits = 20, 60, 0.0
    for _ in range(draws):
        brain, vision = pairs(random, n=n)
        hits += n * top1(score(rerank, brain[random.permutation(n)], vision))
    low, high = binom.ppf([0.0005, 0.9995], n * draws, 1 / n)
    # a permutation has one hit on average and a variance of one, as the binomial has
    assert low <= hits <= high


@every_track
def test_the_order_of_queries_and_images_does_not_matter(rerank):
    random = np.random.default_rng(5)
    brain, vision = pairs(random, n=30)
    rows, columns = random.permutation(30), random.permutation(30)
    np.testing.assert_allclose(
        rerank(brain[rows], vision[columns]), rerank(brain, vision)[rows][:, columns], rtol=0, atol=1e-6
    )


@every_track
@every_condition
def test_a_model_that_says_the_same_of_every_image_hits_nothing(rerank, score):
    vision = np.random.default_rng(6).standard_normal((12, 8))
    for brain, images in (
        (np.zeros((12, 8)), vision),
        (vision, np.tile(vision[:1], (12, 1))),
        (np.tile(vision[:1], (12, 1)), np.tile(vision[:1], (12, 1))),
    ):
        assert top1(np.round(score(rerank, brain, images), 6)) == 0
    same = score(rerank, np.zeros((12, 8)), np.tile(vision[:1], (12, 1)))
    np.testing.assert_array_equal(ranks(same, np.arange(12)), np.full(12, 6.5))


def test_queries_that_tie_for_an_image_share_it():
    similarity = np.array([[0.9, 0.1], [0.9, 0.1]])
    np.testing.assert_array_equal(ranks(assignment(similarity), np.array([0, 1])), [1.5, 1.5])


@every_track
def test_one_by_one_knows_the_earlier_queries_alone(rerank):
    random = np.random.default_rng(7)
    brain, vision = pairs(random, n=14)
    scores = one_by_one(rerank, brain, vision, seed=3)
    order = np.random.default_rng(3).permutation(14)
    later = brain.copy()
    later[order[8:]] = random.standard_normal((6, brain.shape[1]))
    again = one_by_one(rerank, later, vision, seed=3)
    np.testing.assert_array_equal(again[order[:8]], scores[order[:8]])
    np.testing.assert_array_equal(scores[order[-1]], rerank(brain[order], vision)[-1])
    assert not np.array_equal(again[order[8:]], scores[order[8:]])


@every_track
def test_half_shown_knows_its_own_half_alone(rerank):
    random = np.random.default_rng(8)
    brain, vision = pairs(random, n=15)
    first, second = np.array_split(np.random.default_rng(2).permutation(15), 2)
    scores = half_shown(rerank, brain, vision, seed=2)
    for part in (first, second):
        np.testing.assert_array_equal(scores[part], rerank(brain[part], vision))


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: assignment(np.ones((4, 3))), "4 queries cannot be assigned to 3 images"),
        (lambda: assignment(np.full((2, 2), np.nan)), "NaN or infinite"),
        (lambda: csls(np.ones((2, 2)), k=0), "k is 0"),
    ],
)
def test_bad_input_is_one_sentence(call, expected):
    with pytest.raises(InputError) as error:
        call()
    one_sentence(error, expected)
