import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score, top_k_accuracy_score
from sklearn.metrics.pairwise import cosine_similarity as sklearn_cosine

import reference
from ubp.metrics import (
    chance,
    cosine_similarity,
    mean_percentile_rank,
    mean_reciprocal_rank,
    n_way_accuracy,
    ranks,
    top_k,
)


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_ranks_equal_sorting_with_ties(random):
    similarity = random.integers(0, 6, (40, 15)).astype(np.float32)
    target = random.integers(0, 15, 40)
    assert ranks(similarity, target).tolist() == reference.rank(similarity.tolist(), target.tolist())


def test_metrics_equal_scikit_learn_where_nothing_ties(random):
    similarity = random.standard_normal((60, 30))
    target = random.permutation(np.tile(np.arange(30), 2))
    rank = ranks(similarity, target)
    for k in (1, 5, 29):
        assert top_k(rank, k, 30).mean() == pytest.approx(
            top_k_accuracy_score(target, similarity, k=k, labels=range(30))
        )
    truth = np.eye(30)[target]
    assert mean_reciprocal_rank(rank) == pytest.approx(label_ranking_average_precision_score(truth, similarity))


def test_a_model_that_says_the_same_of_every_image_is_in_the_middle_and_hits_nothing():
    similarity = np.ones((10, 21))
    rank = ranks(similarity, np.arange(10))
    assert (rank == 11).all()
    assert mean_percentile_rank(rank, 21) == 0.5
    assert not top_k(rank, 5, 21).any()


def test_perfect_and_worst_rankings():
    best, worst = np.eye(8), -np.eye(8)
    seen = np.arange(8)
    assert mean_percentile_rank(ranks(best, seen), 8) == 1
    assert mean_percentile_rank(ranks(worst, seen), 8) == 0
    assert mean_reciprocal_rank(ranks(best, seen)) == 1


def test_random_rankings_are_at_chance(random):
    similarity = random.standard_normal((4000, 20))
    rank = ranks(similarity, random.integers(0, 20, 4000))
    for k in (1, 5):
        expected = chance(20, k)
        assert top_k(rank, k, 20).mean() == pytest.approx(expected, abs=4 * np.sqrt(expected / 4000))


@pytest.mark.parametrize(("n", "k"), [(2, 1), (5, 1), (5, 3), (11, 2), (12, 5)])
def test_n_way_equals_repeated_random_galleries_with_ties(random, n, k):
    similarity = random.integers(0, 5, (8, 12)).astype(float)
    target = random.integers(0, 12, 8)
    draws = 3000
    sampled = reference.n_way(similarity, target, n, k, random, draws)
    assert n_way_accuracy(similarity, target, n, k) == pytest.approx(sampled, abs=4.5 * 0.5 / np.sqrt(draws))


def test_n_way_of_the_whole_gallery_is_top_k(random):
    similarity = random.integers(0, 9, (50, 12)).astype(float)
    target = random.integers(0, 12, 50)
    for k in (1, 3, 12):
        whole = n_way_accuracy(similarity, target, 12, k)
        assert whole == pytest.approx(top_k(ranks(similarity, target), k, 12).astype(float), abs=1e-12)


def test_two_way_without_ties_is_the_mean_percentile_rank(random):
    similarity = random.standard_normal((50, 12))
    target = random.integers(0, 12, 50)
    two_way = n_way_accuracy(similarity, target, 2).mean()
    assert two_way == pytest.approx(mean_percentile_rank(ranks(similarity, target), 12))


def test_cosine_equals_scikit_learn_and_gives_zero_for_a_zero_vector(random):
    brain, vision = random.standard_normal((5, 7)).astype(np.float32), random.standard_normal((6, 7)).astype(np.float32)
    assert cosine_similarity(brain, vision) == pytest.approx(sklearn_cosine(brain, vision), abs=1e-6)
    brain[0] = 0
    assert (cosine_similarity(brain, vision)[0] == 0).all()
    assert cosine_similarity(brain * 7, vision)[1:] == pytest.approx(cosine_similarity(brain, vision)[1:], abs=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, t: ranks(s[:, :1], t * 0), "1 image; expected at least 2"),
        (lambda s, t: ranks(s, t + 4), "columns from 0 to 3"),
        (lambda s, t: ranks(s * np.nan, t), "NaN or infinite"),
        (lambda s, t: top_k(ranks(s, t), 5, 4), "k is 5, but the gallery has 4 images"),
        (lambda s, t: n_way_accuracy(s, t, 5), "n is 5, but the gallery has 4 images"),
        (lambda s, t: n_way_accuracy(s, t, 3, 4), "k is 4; expected k from 1 to 3"),
    ],
)
def test_wrong_arguments_say_what_was_expected(random, call, message):
    with pytest.raises(ValueError, match=message):
        call(random.standard_normal((4, 4)), np.arange(4))
