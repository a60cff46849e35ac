"""Language bias on rankings whose bias is plain to see."""

import numpy as np

from hybrid.bias import own_language_share, rank_distance


def test_rank_distance_is_lowest_minus_highest_of_the_relevant():
    ranks = np.array([[1, 2, 3], [5, 1, 90], [7, 0, 0], [0, 0, 0]])
    gains = np.array([[1, 1, 1], [1, 1, 1], [1, 0, 0], [0, 0, 0]])
    assert rank_distance(ranks, gains).tolist() == [2.0, 89.0, 0.0, 0.0]


def test_rank_distance_leaves_out_what_is_not_ranked_or_not_relevant():
    assert rank_distance(np.array([[3, 0, 50]]), np.array([[1, 1, 0]])).tolist() == [0.0]


def test_own_language_share_counts_only_what_is_shown():
    shown = np.array([[0, 0, 1, 2], [1, 1, -1, -1], [-1, -1, -1, -1]])
    assert own_language_share(shown, np.array([0, 0, 0])).tolist() == [0.5, 0.0, 0.0]
    assert own_language_share(shown, np.array([2, 1, 1])).tolist() == [0.25, 1.0, 0.0]
