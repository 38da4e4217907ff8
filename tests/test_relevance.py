"""Columns that say nothing about clusters are left out where these are looked for."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import make_blobs, make_circles, make_moons
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import StandardScaler

from skgmvae import VaDEClustering
from skgmvae.initialization.choice import choose_clusters
from skgmvae.initialization.relevance import _compare, find_relevant
from skgmvae.initialization.strategies import _name_columns
from skgmvae.model_selection._tables import make_points

N = 600
SHAPES = {"moons": (make_moons, 0.06, {}), "rings": (make_circles, 0.05, {"factor": 0.4})}
NOISE = {
    "normal": lambda rng, n: rng.normal(size=(N, n)),
    "heavy tails": lambda rng, n: rng.standard_t(3, size=(N, n)),
    "skewed": lambda rng, n: rng.exponential(size=(N, n)),
    "counts": lambda rng, n: rng.poisson(4, size=(N, n)),
    "rounded": lambda rng, n: rng.normal(size=(N, n)).round(1),
    "flat": lambda rng, n: rng.uniform(size=(N, n)),
}


def make_hidden(shape, noise, n_columns, seed=0):
    make, deviation, options = SHAPES[shape]
    X, y = make(N, noise=deviation, random_state=seed, **options)
    return StandardScaler().fit_transform(np.c_[X, NOISE[noise](np.random.default_rng(seed), n_columns)]), y


def centered(x):
    n, distances = len(x), np.abs(x[:, None] - x)
    sums = distances.sum(1)
    return np.where(
        np.eye(n, dtype=bool),
        0.0,
        distances - sums / (n - 2) - sums[:, None] / (n - 2) + sums.sum() / ((n - 1) * (n - 2)),
    )


def test_statistics_are_unbiased_distance_correlations():
    x = np.random.default_rng(0).normal(size=(70, 4)).round(1)  # with ties
    x[:, 3] += x[:, 0]
    expected = np.empty((4, 2))
    for i, j in np.ndindex(4, 2):
        a, b = centered(x[:, i]), centered(x[:, j])
        expected[i, j] = 70 * (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
    np.testing.assert_allclose(_compare(x, x[:, :2]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("noise", ["normal", "heavy tails", "skewed", "counts", "rounded"])
@pytest.mark.parametrize("shape", SHAPES)
def test_noise_does_not_hide_clusters(shape, noise):
    X, y = make_hidden(shape, noise, 4)
    is_relevant, model = find_relevant(X).may_tell, VaDEClustering(2, max_iter=0, random_state=0).fit(X)
    assert is_relevant[:2].all() and is_relevant[2:].sum() <= 1
    used = ", ".join(map(str, np.flatnonzero(is_relevant)))
    assert f" of {is_relevant.sum()} of the 6 " in model.init_params_ and model.init_params_.endswith(
        f"inputs ({used})"
    )
    assert adjusted_rand_score(y, model.labels_) > 0.95
    np.testing.assert_array_equal(make_points([X, X[:50]], None)[1], X[:50, is_relevant])


def test_columns_of_several_modes_or_flat_ones_stay_beside_others_that_depend_on_each_other():
    rng = np.random.default_rng(0)
    pair = rng.normal(size=(500, 1)) + 0.5 * rng.normal(size=(500, 2))
    for distance, expected in ((0.0, False), (3.0, True), (5.0, True)):
        alone = rng.normal(size=(500, 1)) + distance * rng.integers(0, 2, (500, 1))
        depends, may_tell = find_relevant(np.c_[pair, alone])
        assert depends.tolist() == [True, True, False] and may_tell.tolist() == [True, True, expected]
    assert find_relevant(np.c_[pair, np.ones(500)]).may_tell.tolist() == [True, True, False]


@pytest.mark.parametrize("shape", SHAPES)
def test_flat_noise_is_left_out_if_clusters_are_clear_without_it(shape):
    """Uniform columns could be clusters that overlap; but without them, hardly any information is lost."""
    X, y = make_hidden(shape, "flat", 3)
    depends, may_tell = find_relevant(X)
    assert may_tell.all() and depends.tolist() == [True, True, False, False, False]
    choice = choose_clusters(X, 2, np.random.RandomState(0))
    assert choice.columns.tolist() == [True, True, False, False, False] and adjusted_rand_score(y, choice.labels) > 0.95


def test_a_column_of_two_modes_decides_where_the_others_show_no_clusters():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 500)
    X = StandardScaler().fit_transform(
        np.c_[rng.normal(size=(500, 3)) @ rng.normal(size=(3, 3)), rng.normal(size=500) + 5 * y]
    )
    assert not find_relevant(X).depends[3]
    choice = choose_clusters(X, 2, np.random.RandomState(0))
    assert choice.columns is None and adjusted_rand_score(y, choice.labels) > 0.9


def measure(X, y):
    X = StandardScaler().fit_transform(X)
    return adjusted_rand_score(y, choose_clusters(X, len(np.unique(y)), np.random.RandomState(0)).labels)


@pytest.mark.parametrize(("share", "distance"), [(0.12, 5.0), (0.05, 7.0), (0.2, 4.0)])
def test_a_small_group_in_one_column_beside_two_that_depend_on_each_other(share, distance):
    """Such as those with a high value in the laboratory, beside height and weight: no dip, and not flat."""
    rng = np.random.default_rng(0)
    height, y = rng.normal(size=400), (rng.uniform(size=400) < share).astype(int)
    X = np.c_[height, height + rng.normal(size=400), rng.normal(size=400), rng.normal(size=400) + distance * y]
    assert measure(X, y) > 0.85


def test_two_columns_that_are_nearly_copies_are_no_clusters():
    """A line can be cut anywhere, and loses little."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=400), rng.integers(0, 2, 400)
        assert measure(np.c_[x, 2.54 * x + 0.01 * rng.normal(size=400), rng.normal(size=400) + 3.5 * y], y) > 0.75


def test_groups_in_turn_are_both_seen():
    """Of 2,000 samples, dependence is tested among 1,000: not those before the treatment, in every second row."""
    rng, y = np.random.default_rng(0), np.arange(2000) % 2
    X = rng.normal(size=(2000, 16))
    X[:, :8] += 1.2 * (y[:, None] == np.arange(8) % 2)
    X[:, -1] = X[:, -2] + 0.5 * rng.normal(size=2000)
    assert find_relevant(X).depends[:8].mean() > 0.8


def test_columns_that_all_tell_a_little_stay():
    """Two normal distributions of different widths in 20 columns: no two of these depend on each other clearly."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 20)) * rng.choice([1.0, 2.0], (1500, 1))
    assert find_relevant(X).depends.mean() > 0.9


def test_a_group_in_one_of_many_independent_columns():
    """The others hide it from every distance; that no column depends on another one says so."""
    rng, y = np.random.default_rng(0), np.arange(500) % 2
    X = rng.normal(size=(500, 60))
    X[:, 7] += 5 * y
    assert measure(X, y) > 0.9


def test_a_rare_group_in_the_only_column_left_does_not_depend_on_the_random_state():
    """A line loses little information wherever it is cut, which speaks against no mixture."""
    rng = np.random.RandomState(4)
    y = (rng.rand(1000) < 0.02).astype(int)
    X = rng.normal(size=(1000, 5))
    X[:, 0] += 6 * y
    for seed in range(3):
        choice = choose_clusters(StandardScaler().fit_transform(X), 2, np.random.RandomState(seed))
        assert choice.columns.tolist() == [True] + [False] * 4 and adjusted_rand_score(y, choice.labels) > 0.9


@pytest.mark.parametrize("seed", range(2))
def test_the_end_of_a_long_tail_is_no_cluster(seed):
    rng = np.random.RandomState(seed)
    y = (rng.rand(600) < 0.3).astype(int)
    assert measure(np.where(y, rng.normal(8, 1, 600), rng.exponential(1.5, 600))[:, None], y) > 0.8


def test_columns_of_correlated_noise_do_not_remove_the_one_that_tells():
    """Its groups overlap, so that it has one mode; without it, there are no clusters better than a single normal."""
    for seed in (4, 8, 9):
        rng = np.random.RandomState(seed)
        y, z = (rng.rand(1000) < 0.3).astype(int), rng.normal(size=(1000, 1))
        noise = np.sqrt(0.6) * z + np.sqrt(0.4) * rng.normal(size=(1000, 3))
        assert measure(np.c_[rng.normal(size=1000) + 2.5 * y, noise], y) > 0.5


@pytest.mark.parametrize("factor", [1e-305, 1e160, 1e300])
def test_the_unit_of_the_columns_does_not_matter(factor):
    X = make_hidden("moons", "normal", 4)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_relevant(X * factor).may_tell.tolist() == find_relevant(X).may_tell.tolist()


def test_a_copy_of_a_column_is_no_dependence():
    rng = np.random.default_rng(0)
    u, v, x = rng.integers(0, 2, 400), rng.integers(0, 2, 400), rng.normal(size=(400, 3))
    X = np.c_[x, -2 * x[:, 0], x[:, 0] ** 3]
    X[:, 1] += 3.5 * u
    X[:, 2] += 3.5 * v
    assert find_relevant(X).may_tell.tolist() == [False, True, True, False, False]
    assert measure(X, 2 * u + v) > 0.75


def test_constant_columns_are_not_called_left_out():
    X = np.c_[make_blobs(200, n_features=3, random_state=0)[0], np.ones(200)]
    assert choose_clusters(X, 3, np.random.RandomState(0)).columns is None


def test_names_of_initializations_give_the_columns_if_these_are_few():
    few, nearly_all = np.arange(30) == 4, np.arange(30) != 7
    assert _name_columns(few, "inputs") == "1 of the 30 inputs (4)"
    assert _name_columns(nearly_all, "inputs") == "29 of the 30 inputs (all but 7)"
    assert _name_columns(np.arange(30) % 2 > 0, "inputs") == "15 of the 30 inputs"


def test_copies_of_samples_are_no_evidence():
    X, y = make_hidden("moons", "normal", 8)
    once, twice = find_relevant(X), find_relevant(np.repeat(X, 2, axis=0))
    assert once.depends.tolist() == twice.depends.tolist() == [True] * 2 + [False] * 8
    assert measure(np.repeat(X, 3, axis=0), np.repeat(y, 3)) > 0.95


def test_constant_columns_beside_one_without_clusters():
    X = np.c_[np.random.default_rng(0).normal(size=(300, 2)), np.ones(300)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_clusters(X, 2, np.random.RandomState(0)).columns is None


def test_all_columns_stay_where_nothing_tells_them_apart():
    rng = np.random.default_rng(0)
    few, independent = rng.normal(size=(90, 5)), np.random.default_rng(3).normal(size=(500, 5))
    few[:, 1] += few[:, 0]
    blobs = make_blobs(300, n_features=5, centers=3, random_state=0)[0]
    repeated = np.repeat(blobs[:60], 4, axis=0)
    for X in (few, independent, blobs, repeated, np.empty((0, 4)), rng.normal(size=(400, 2))):
        assert find_relevant(X).depends.all()
