"""Slow, obvious versions of what the package computes, to compare with."""

import math
import statistics

import numpy as np


def contrastive_loss(matrix):
    """Mean over pairs of the two cross-entropies, by loops."""
    n = len(matrix)
    total = 0.0
    for i in range(n):
        row = math.log(sum(math.exp(matrix[i][j]) for j in range(n)))
        column = math.log(sum(math.exp(matrix[j][i]) for j in range(n)))
        total += 0.5 * (row - matrix[i][i]) + 0.5 * (column - matrix[i][i])
    return total / n


class Prior:
    """The blur prior with Python floats, one pair at a time."""

    def __init__(self, n_pairs, z=1.959963984540054, weight=0.3, compare="smoothed"):
        self.average = [1.0] * n_pairs
        self.level = ["base"] * n_pairs
        self.z, self.weight, self.compare = z, weight, compare

    def update(self, pairs, similarity):
        for pair, value in zip(pairs, similarity, strict=True):
            self.average[pair] = self.weight * value + (1 - self.weight) * self.average[pair]
        values = [self.average[pair] for pair in pairs]
        mean, deviation = statistics.mean(values), statistics.stdev(values)
        low, high = mean - self.z * deviation, mean + self.z * deviation
        for pair, raw in zip(pairs, similarity, strict=True):
            value = self.average[pair] if self.compare == "smoothed" else raw
            self.level[pair] = "more" if value < low else "less" if value > high else "base"


def rank(similarity, target):
    """Rank of the seen image, ties sharing their mean rank, by sorting."""
    result = []
    for row, seen in zip(similarity, target, strict=True):
        ordered = sorted(row, reverse=True)
        places = [place + 1 for place, value in enumerate(ordered) if value == row[seen]]
        result.append(sum(places) / len(places))
    return result


def n_way(similarity, target, n, k, random, draws):
    """Top-k accuracy in randomly drawn sub-galleries."""
    hits = np.zeros(len(target))
    for _ in range(draws):
        for query, (row, seen) in enumerate(zip(similarity, target, strict=True)):
            others = random.choice(np.delete(np.arange(len(row)), seen), n - 1, replace=False)
            small = [row[seen], *row[others]]
            hits[query] += rank([small], [0])[0] <= k
    return hits / draws
