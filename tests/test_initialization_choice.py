"""The choice of initial clusters, and the views and mixtures behind it."""

import numpy as np
import pytest
from scipy.stats import multivariate_t, ortho_group
from sklearn.datasets import load_iris, make_blobs, make_moons
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

import skgmvae.initialization.choice
from skgmvae.initialization import bootstrap
from skgmvae.initialization.bootstrap import draw_samples
from skgmvae.initialization.choice import choose_clusters
from skgmvae.initialization.comparison import Losses, lost_relative_to, shares_kept
from skgmvae.initialization.mixture import fit_mixture, information_criterion
from skgmvae.initialization.mixture_search import fit_mixtures
from skgmvae.initialization.neighbor_graph import find_neighbors, self_tuned_graph
from skgmvae.initialization.rules import Evidence, choose_name
from skgmvae.initialization.spanning_tree import spanning_tree
from skgmvae.initialization.views import (
    compress_outliers,
    dequantize,
    make_views,
    rounding_variance,
    whiten,
    whiten_within,
)

N = 600


def chosen_ari(X, labels, kept=slice(None), seed=0):
    K = len(np.unique(labels))
    found = choose_clusters(np.asarray(X, dtype=float), K, np.random.RandomState(seed)).labels
    return adjusted_rand_score(labels[kept], found[kept])


@pytest.fixture
def blobs():
    return make_blobs(N, 5, centers=4, cluster_std=1.5, random_state=3)


@pytest.fixture
def random_state():
    return np.random.RandomState(0)


# ---------------------------------------------------------------- mixture
@pytest.mark.parametrize("kind", ["full", "tied", "diag"])
def test_mixture_agrees_with_scikit_learn(kind, blobs, random_state):
    points, labels = make_views(blobs[0], random_state).exact, blobs[1].astype(np.intp)
    ours = fit_mixture(points, labels, 4, kind)
    means = [points[labels == c].mean(0) for c in range(4)]
    theirs = GaussianMixture(4, covariance_type=kind, means_init=means, tol=1e-6, random_state=0).fit(points)
    assert ours.bound == pytest.approx(theirs.score(points), abs=1e-3)
    assert information_criterion(ours, 5) == pytest.approx(-theirs.bic(points) / 2 / N, abs=1e-3)


@pytest.mark.parametrize("kind", ["full", "diag"])
def test_t_distributions_maximize_their_likelihood(kind, random_state):
    """Of one component: the density is that of SciPy, and no covariance of another scale is better."""
    points = random_state.standard_t(4.0, size=(N, 3))
    mixture = fit_mixture(points, np.zeros(N, dtype=np.intp), 1, kind, dof=4.0, max_iter=1000)
    weights = mixture.weights[:, 0] / mixture.weights.sum()
    mean, total = weights @ points, mixture.weights.sum() / N
    covariance = np.cov(points.T, aweights=weights, bias=True) * (np.eye(3) if kind == "diag" else 1.0)
    scores = [multivariate_t(mean, s * covariance, 4.0).logpdf(points).mean() for s in (0.95, 1.0, 1.05)]
    assert mixture.bound == pytest.approx(scores[1], abs=1e-3)
    assert max(scores) == scores[1] and total == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(("kind", "dof"), [("full", np.inf), ("tied", np.inf), ("diag", 4.0)])
def test_samples_of_a_mixture_have_its_distribution(kind, dof, blobs, random_state):
    points, labels = make_views(blobs[0], random_state).exact, blobs[1].astype(np.intp)
    first = draw_samples(points, fit_mixture(points, labels, 4, kind, dof=dof), 5000, random_state)
    mixture = fit_mixture(*first, 4, kind, dof=dof)
    samples, components = draw_samples(first[0], mixture, 20_000, random_state)
    again = fit_mixture(samples, components, 4, kind, dof=dof)
    assert again.bound == pytest.approx(mixture.bound, abs=0.1)
    np.testing.assert_allclose(np.bincount(components) / 20_000, mixture.responsibilities.mean(0), atol=0.02)
    np.testing.assert_allclose(samples.mean(0), first[0].mean(0), atol=0.05)


# ---------------------------------------------------------------- views
def test_an_ordinary_table_is_standardized_and_nothing_else(random_state):
    X = load_iris().data
    for view in make_views(X, random_state):
        np.testing.assert_allclose(view, (X - X.mean(0)) / X.std(0))


def test_compression_keeps_order_and_leaves_the_bulk():
    x = np.concatenate([np.random.RandomState(0).normal(size=1000), [-1e9, 30.0, 1e3, 1e12]])[:, None]
    z = compress_outliers(x)
    np.testing.assert_array_equal(np.argsort(z[:, 0]), np.argsort(x[:, 0]))
    assert np.abs(z).max() < 50.0


def test_dequantized_values_keep_their_order(random_state):
    x = random_state.choice([0.0, 1.0, 5.0], 300)
    z = dequantize(x, random_state)
    assert len(np.unique(z)) == 300
    assert z[x == 0.0].max() < z[x == 1.0].min() < z[x == 1.0].max() < z[x == 5.0].min()


def test_rounding_variance_is_that_of_a_uniform_distribution(random_state):
    X = random_state.normal(size=(5000, 2))
    rounded = np.stack([np.round(2 * X[:, 0]) / 2, X[:, 1]], axis=1)
    expected = np.mean((rounded - X) ** 2, axis=0)
    np.testing.assert_allclose(rounding_variance(rounded), expected, rtol=0.05)


def test_rare_values_do_not_make_a_column_finer(random_state):
    flag = random_state.choice([0.0, 1.0, 2.0], 1000, p=[0.49, 0.02, 0.49])
    rare = (random_state.uniform(size=1000) < 0.01).astype(float)
    np.testing.assert_allclose(rounding_variance(np.stack([flag, rare], axis=1)), [4.0 / 12.0, 1.0 / 12.0])


@pytest.mark.parametrize("n_flags", [1, 3])
@pytest.mark.parametrize("p", [(0.5, 0.0, 0.5), (0.49, 0.02, 0.49), (0.8, 0.0, 0.2)])
def test_mixtures_do_not_find_the_values_of_a_column(n_flags, p, random_state):
    """Clusters that overlap, beside columns of two or three values that say nothing about them."""
    y = random_state.randint(2, size=400)
    flags = random_state.choice([0.0, 1.0, 2.0], (400, n_flags), p=p)
    X = np.hstack([1.4 * y[:, None] + random_state.normal(size=(400, 3)), flags])
    points = (X - X.mean(0)) / X.std(0)
    links = self_tuned_graph(find_neighbors(points, 5), 5)
    mixtures = fit_mixtures(points, {}, 2, links, rounding_variance(points), random_state)
    assert min(adjusted_rand_score(y, mixtures[kind].labels) for kind in ("tied", "diag")) > 0.5


@pytest.mark.parametrize("seed", range(3))
def test_a_single_column_is_clustered_and_left_as_it_is(seed):
    random_state = np.random.RandomState(seed)
    y = random_state.randint(2, size=300)
    X = 4.0 * y[:, None] + random_state.normal(size=(300, 1))
    given = X.copy()
    assert adjusted_rand_score(y, choose_clusters(X, 2, random_state).labels) > 0.75
    neighbors = find_neighbors(X, 10)
    spanning_tree(X, neighbors)
    np.testing.assert_array_equal(X, given)


def test_whitened_covariances_are_the_identity(blobs):
    X, labels = blobs
    np.testing.assert_allclose(np.cov(whiten(X).T, bias=True), np.eye(5), atol=1e-10)
    within = whiten_within(X, labels, 4)
    residuals = within - np.stack([within[labels == c].mean(0) for c in range(4)])[labels]
    np.testing.assert_allclose(residuals.T @ residuals / N, np.eye(5), atol=1e-10)


# ---------------------------------------------------------------- kinds of tables
NUISANCES = {
    "flag": lambda rng: rng.randint(2, size=(N, 1)),
    "eight flags": lambda rng: rng.randint(2, size=(N, 8)),
    "rare flags": lambda rng: rng.uniform(size=(N, 2)) < 0.03,
    "one-hot": lambda rng: np.eye(4)[rng.randint(4, size=N)],
    "two one-hots": lambda rng: np.hstack([np.eye(4)[rng.randint(4, size=N)], np.eye(3)[rng.randint(3, size=N)]]),
    "ordinal": lambda rng: rng.randint(5, size=(N, 3)),
    "counts": lambda rng: rng.poisson(1.0, size=(N, 2)),
    "zero-inflated": lambda rng: rng.lognormal(size=(N, 4)) * (rng.uniform(size=(N, 4)) < 0.4),
    "log-normal": lambda rng: rng.lognormal(0.0, 1.5, size=(N, 2)),
}


@pytest.mark.parametrize("kind", NUISANCES)
def test_irrelevant_columns_do_not_hide_clusters(kind, blobs, random_state):
    X, labels = blobs
    assert chosen_ari(np.hstack([X, NUISANCES[kind](random_state)]), labels) > 0.95


def test_flags_do_not_hide_clusters_of_any_shape(random_state):
    X, labels = make_moons(N, noise=0.05, random_state=0)
    assert chosen_ari(np.hstack([X, random_state.randint(2, size=(N, 2))]), labels) > 0.95


@pytest.mark.parametrize("angle", [0.0, 0.3, 0.6435, 1.2])
def test_clusters_along_a_direction_of_low_variance(angle, random_state):
    labels = random_state.randint(3, size=N)
    X = np.stack([10.0 * random_state.normal(size=N), labels + 0.1 * random_state.normal(size=N)], axis=1)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    assert chosen_ari(X @ rotation, labels) > 0.95


@pytest.mark.parametrize("n_features", [4, 12])
def test_clusters_along_a_direction_of_low_variance_among_many(n_features, random_state):
    labels = random_state.randint(4, size=N)
    X = random_state.normal(size=(N, n_features))
    X[:, 0] *= 10.0
    X[:, 1] = labels + 0.1 * X[:, 1]
    rotation = np.linalg.qr(random_state.normal(size=(n_features, n_features)))[0]
    assert chosen_ari(X @ rotation, labels) > 0.95


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_clusters_that_cross_each_other(seed):
    """Thin ellipses, of which the ends are farther apart than the middles: a cut at an end loses less information."""
    random_state = np.random.RandomState(seed)
    labels = random_state.randint(2, size=300)
    X = random_state.normal(size=(300, 2)) * [5.0, 0.2]
    X[labels == 1] = X[labels == 1][:, ::-1]
    assert chosen_ari(X, labels, seed=seed) > 0.75


@pytest.mark.parametrize("columns", [[0], [3], [0, 1, 2, 3]])
@pytest.mark.parametrize("n_wild", [1, 5])
def test_outliers_do_not_hide_clusters(columns, n_wild, random_state):
    X, labels = make_blobs(500, 4, centers=3, random_state=1)
    wild = random_state.choice(500, n_wild, replace=False)
    X[np.ix_(wild, columns)] += 1000.0 * X.std() * random_state.normal(size=(n_wild, len(columns)))
    assert chosen_ari(X, labels, np.delete(np.arange(500), wild)) > 0.95


def test_equal_outliers_are_no_cluster(random_state):
    X, labels = make_blobs(500, 4, centers=3, random_state=7)
    X[:5] = X.mean(0) + 10.0 * X.std(0)
    assert chosen_ari(X, labels, np.arange(5, 500)) > 0.95


def test_noise_columns_do_not_hide_clusters(random_state):
    X, labels = make_blobs(N, 3, centers=3, random_state=2)
    assert chosen_ari(np.hstack([X, random_state.normal(size=(N, 60))]), labels) > 0.95


def test_classes_of_binary_columns(random_state):
    labels = random_state.randint(4, size=200)
    rates = np.where(random_state.uniform(size=(4, 16)) < 0.5, 0.05, 0.95)
    assert chosen_ari(random_state.uniform(size=(200, 16)) < rates[labels], labels) > 0.9


def test_clusters_of_unequal_sizes(random_state):
    X = np.concatenate([random_state.normal(size=(990, 3)), 0.5 * random_state.normal(size=(10, 3)) + 8])
    assert chosen_ari(X, np.repeat([0, 1], [990, 10])) > 0.95


# ---------------------------------------------------------------- choice
def test_the_same_seed_gives_the_same_bits(blobs):
    X = np.hstack([blobs[0], np.random.RandomState(1).randint(2, size=(N, 1))])
    first, second = (choose_clusters(X, 4, np.random.RandomState(7)) for _ in range(2))
    assert first.responsibilities.tobytes() == second.responsibilities.tobytes()
    assert first.name == second.name and first.candidates.keys() == second.candidates.keys()
    for name, labels in first.candidates.items():
        np.testing.assert_array_equal(labels, second.candidates[name])


@pytest.mark.parametrize(
    ("X", "n_components"),
    [
        (np.arange(6.0)[:, None], 1),
        (np.arange(4.0)[:, None], 3),
        (np.arange(5.0)[:, None], 3),
        (np.arange(2.0)[:, None], 3),
        (np.ones((30, 3)), 3),
        (np.repeat(np.eye(3), 20, axis=0), 3),
        (np.repeat(np.eye(5), 20, axis=0), 3),
        (np.random.RandomState(0).normal(size=(40, 100)), 4),
        (np.random.RandomState(0).normal(size=(60, 1)), 4),
        (np.c_[np.random.RandomState(0).normal(size=(60, 2)), np.full(60, 1e20)], 2),
    ],
    ids=[
        "one",
        "K + 1",
        "few",
        "fewer than K",
        "constant",
        "K points",
        "duplicates",
        "wide",
        "narrow",
        "constant column",
    ],
)
def test_small_and_degenerate_tables(X, n_components):
    choice = choose_clusters(X, n_components, np.random.RandomState(0))
    assert choice.responsibilities.shape == (len(X), n_components)
    np.testing.assert_allclose(choice.responsibilities.sum(1), 1.0)
    np.testing.assert_array_equal(choice.responsibilities.argmax(1), choice.labels)


def test_further_samples_follow_their_nearest_ones(blobs, monkeypatch):
    monkeypatch.setattr(skgmvae.initialization.choice, "MAX_SAMPLES", 200)
    choice = choose_clusters(blobs[0], 4, np.random.RandomState(0))
    assert all(len(labels) == 200 for labels in choice.candidates.values())
    assert adjusted_rand_score(choice.labels, blobs[1]) > 0.95


@pytest.mark.parametrize("seed", range(3))
def test_clusters_of_logarithms_are_found_among_these(seed):
    rng = np.random.RandomState(seed)
    means, labels = 2.5 * rng.normal(size=(3, 4)), rng.randint(3, size=N)
    logarithms = means[labels] + rng.normal(size=(N, 4))
    found = choose_clusters(np.exp(logarithms), 3, np.random.RandomState(0), transformed=logarithms)
    expected = choose_clusters(logarithms, 3, np.random.RandomState(0))
    assert found.is_of_transformed and found.name == expected.name
    assert found.responsibilities.tobytes() == expected.responsibilities.tobytes()
    assert adjusted_rand_score(labels, found.labels) > 0.8


@pytest.mark.parametrize("most", [5_000, 200])
def test_clusters_of_the_values_are_taken_if_neighbors_of_both_kinds_keep_them(most, blobs, monkeypatch):
    """The search among the transformed values is led astray; those among the values find the blobs."""
    X, labels, choose = blobs[0], blobs[1], skgmvae.initialization.choice._choose
    transformed = X + 20.0

    def mislead(views, n_clusters, random_state):
        choice, is_second = choose(views, n_clusters, random_state), bool(calls)
        calls.append(choice)
        return choice if is_second else choice._replace(labels=random_state.randint(4, size=len(choice.labels)))

    for is_misled in (True, False):
        calls = []
        monkeypatch.setattr(skgmvae.initialization.choice, "MAX_SAMPLES", most)
        monkeypatch.setattr(skgmvae.initialization.choice, "_choose", mislead if is_misled else choose)
        found = choose_clusters(X, 4, np.random.RandomState(0), transformed=transformed)
        assert found.is_of_transformed != is_misled
        assert adjusted_rand_score(labels, found.labels) > 0.95


def test_copies_of_a_sample_are_no_cluster(random_state):
    labels = random_state.randint(3, size=200)
    X = 0.6 * random_state.normal(size=(3, 60))[labels] + random_state.normal(size=(200, 60))
    rows = np.concatenate([np.zeros(20, dtype=np.intp), np.arange(200)])
    found = choose_clusters(X[rows], 3, random_state)
    assert adjusted_rand_score(labels[rows], found.labels) > 0.9
    assert found.responsibilities.shape == (220, 3)


def test_samples_that_are_equal_by_rounding_count_as_often_as_they_are_there(random_state):
    """Of an array of few different samples, the frequencies are the density."""
    X = np.round(random_state.normal(size=(2000, 2)) + [[3.0, 0.0]] * random_state.binomial(1, 0.5, (2000, 1)), 1)
    assert np.unique(X, axis=0, return_counts=True)[1].max() > 5
    assert len(next(iter(choose_clusters(X, 2, random_state).candidates.values()))) == 2000


def test_equal_covariances_of_many_correlated_columns_are_found(random_state):
    """A size in all columns, and two groups of other proportions: neighbors are those of the same size."""
    labels = random_state.randint(2, size=300)
    size, proportions = random_state.normal(size=(300, 1)), random_state.normal(size=(2, 23))
    X = size + 0.15 * proportions[labels] + 0.12 * random_state.normal(size=(300, 23))
    found = choose_clusters(X, 2, random_state)
    assert found.name == "tied mixture" and adjusted_rand_score(labels, found.labels) > 0.95


def test_each_kind_of_neighbors_has_a_veto(random_state):
    """Labels of two groups in one column each: the values show the first, the transformed values the second."""
    first, second = random_state.randint(2, size=(2, N))
    points = random_state.normal(size=(2, N, 2))
    points[0, :, 0] += 8 * first
    points[1, :, 0] += 8 * second
    of_values, of_transformed = (choose_clusters(X, 2, random_state) for X in points)
    assert adjusted_rand_score(first, of_values.labels) == adjusted_rand_score(second, of_transformed.labels) == 1.0
    found = choose_clusters(points[0], 2, random_state, transformed=points[1])
    assert found.is_of_transformed and adjusted_rand_score(second, found.labels) == 1.0


@pytest.mark.parametrize(("n_features", "counts"), [(2, True), (20, False)])
def test_coordinates_in_which_clusters_are_spherical_count_with_enough_samples(n_features, counts, random_state):
    """80 samples: clusters along the narrow direction of two, beside noise."""
    labels, points = np.arange(80) % 2, random_state.normal(size=(80, n_features))
    points[:, 1] = points[:, 0] + 0.01 * (labels - 0.5) + 0.001 * points[:, 1]
    other, links = (points[:, 0] > 0.0).astype(np.intp), self_tuned_graph(find_neighbors(points, 5), 5)
    lost = 1.0 - shares_kept(links, [labels, other], 2)
    ratio = lost_relative_to(labels, [other], points, links, 2).larger
    assert bool(ratio > 10.0 * lost[1] / lost[0]) is counts
    assert counts or ratio == lost[1] / lost[0]


def weighed(*, gain, among_points, gap=1.0, within=1.0, lost=0.3, kept=0.9, is_expected=False):
    """Evidence that is for none of the rules, but for what is given."""
    return Evidence(gap, gain, Losses(among_points, within, lost), kept, is_expected, best="genie")


class Found:
    """Names that the rules choose from."""

    mixture_name, graph_name, is_wide, is_line, labels = "mixture", "graph", False, False, ()


class Wide(Found):
    is_wide = True


class Line(Found):
    is_line, labels = True, ("merged mixture",)


@pytest.mark.parametrize(
    ("found", "evidence", "name"),
    [
        (Found, weighed(gap=2.5, gain=-1.0, among_points=1.0), "single linkage"),
        (Found, weighed(gap=1.5, gain=-1.0, among_points=0.4), "mixture"),
        (Wide, weighed(gain=-1.0, among_points=0.7), "graph"),
        (Line, weighed(gap=2.5, gain=1.0, among_points=0.1), "single linkage"),
        (Line, weighed(gap=1.5, gain=0.0, among_points=0.1), "mixture"),
        (Line, weighed(gap=1.5, gain=1.0, among_points=0.1), "merged mixture"),
        (Wide, weighed(gain=-1.0, among_points=0.8), "mixture"),
        (Wide, weighed(gain=-1.0, among_points=0.6, kept=0.4), "mixture"),
        (Wide, weighed(gain=-1.0, among_points=0.6, within=3.0), "mixture"),
        (Wide, weighed(gain=0.1, among_points=0.6, within=3.0), "graph"),
        (Found, weighed(gap=1.5, gain=0.1, among_points=1.0), "genie"),
        (Found, weighed(gap=1.5, gain=-1.0, among_points=0.2), "genie"),
        # at the thresholds, and just beyond
        (Found, weighed(gap=2.0, gain=1.0, among_points=0.0), "single linkage"),
        (Found, weighed(gap=1.999, gain=1.0, among_points=0.0), "genie"),
        (Found, weighed(gain=0.02, among_points=1 / 3), "mixture"),
        (Found, weighed(gain=0.0201, among_points=1 / 3), "genie"),
        (Found, weighed(gain=0.02, among_points=0.333), "genie"),
        (Wide, weighed(gain=0.02, among_points=0.75), "mixture"),
        (Wide, weighed(gain=0.02, among_points=0.749), "graph"),
        (Wide, weighed(gain=0.0201, among_points=1.0), "graph"),
        # all others lose clearly more
        (Found, weighed(gain=9.0, among_points=3.0), "mixture"),
        (Found, weighed(gain=9.0, among_points=2.99), "genie"),
        (Wide, weighed(gain=9.0, among_points=np.inf), "mixture"),
        # samples of the mixture would look the same
        (Found, weighed(gap=1.5, gain=0.0, among_points=0.2, is_expected=True), "mixture"),
        (Found, weighed(gap=1.5, gain=0.1, among_points=0.2, is_expected=True), "genie"),
        # the views contradict each other
        (Found, weighed(gain=0.0, among_points=0.2, within=3.0), "genie"),
        (Found, weighed(gain=0.0, among_points=0.2, within=3.0, is_expected=True), "mixture"),
        (Found, weighed(gain=9.0, among_points=0.2, within=3.0), "genie"),
        (Found, weighed(gain=9.0, among_points=0.2, within=3.0, is_expected=True), "mixture"),
        (Found, weighed(gain=9.0, among_points=0.4, within=3.0), "mixture"),
        # where clusters are spherical, those of the mixture are apart
        (Found, weighed(gain=0.0, among_points=0.0, within=9.0, lost=0.199), "mixture"),
        (Found, weighed(gain=9.0, among_points=0.0, within=9.0, lost=0.199), "mixture"),
        (Found, weighed(gain=0.0, among_points=0.0, within=9.0, lost=0.2), "genie"),
        (Found, weighed(gain=0.0, among_points=0.0, within=0.3, lost=0.199), "genie"),
    ],
)
def test_the_rules_are_applied_in_their_order(found, evidence, name):
    assert choose_name(found, evidence) == name


@pytest.mark.parametrize(("shape", "n_features"), [("rings", 3), ("rings", 10), ("moons", 10), ("spirals", 8)])
def test_bent_clusters_in_a_plane_of_correlated_columns_are_found(shape, n_features, random_state):
    """Where mixtures have spherical clusters, the noise around the plane is as wide as the plane."""
    labels, t = np.arange(N) % 2, random_state.uniform(size=N)
    if shape == "spirals":
        angle, radius = 2 * np.pi * np.sqrt(t) + 0.5, (2 * np.pi * np.sqrt(t) + 0.5) / 4
        plane = radius * np.array([np.cos(angle + np.pi * labels), np.sin(angle + np.pi * labels)])
    else:
        angle = np.pi * (2 * t if shape == "rings" else t + labels)
        plane = np.array([np.cos(angle), np.sin(angle)])
        plane = plane * (1 - 0.6 * labels) if shape == "rings" else plane + np.outer([1.0, 0.5], labels)
    noise = np.pad(plane.T, ((0, 0), (0, n_features - 2))) + 0.05 * random_state.normal(size=(N, n_features))
    X = noise @ ortho_group.rvs(n_features, random_state=random_state)
    assert chosen_ari(X, labels) > 0.95


@pytest.mark.parametrize(
    ("observed", "of_draws", "is_expected"),
    [
        ((0.1, 0.1), (0.5, 0.6), False),
        ((0.1, 0.32), (0.5, 0.6), True),
        ((0.0, 0.0), (0.3, 0.3), False),
        # the second view does not speak against it
        ((0.1, 3.0), (0.5, 3.0), False),
        ((0.3, 3.0), (0.5, 3.0), True),  # no less than half
        ((0.0, 3.0), (0.17, 3.0), False),
        ((0.0, 3.0), (0.16, 3.0), True),  # in the draws, too, others lose so little that the points cannot tell
    ],
)
def test_what_speaks_against_a_mixture_must_not_be_so_for_samples_from_it(
    observed, of_draws, is_expected, blobs, monkeypatch
):
    losses = Losses(*observed, 0.5)
    ratios = iter([losses, *[Losses(*of_draws, 0.5)] * 5])
    monkeypatch.setattr(bootstrap, "_find_losses", lambda *args: next(ratios))
    random_state, views = np.random.RandomState(0), make_views(blobs[0], np.random.RandomState(0))
    mixture = fit_mixture(views.exact, blobs[1], 4, "full")
    found = bootstrap.crosses_as_expected(views, mixture, losses, 4, random_state)
    assert found is is_expected and next(ratios, None) is None


@pytest.mark.parametrize("seed", range(4))
def test_a_mixture_in_doubt_is_not_believed_for_a_short_search(seed):
    moons, labels = make_moons(1000, noise=0.08, random_state=600)
    noise = np.random.default_rng(600).normal(size=(1000, 3)) @ [[1.0, 0.5, 0.2], [0.0, 1.0, -0.6], [0.0, 0.0, 0.5]]
    assert chosen_ari(np.c_[moons, noise], labels, seed=seed) > 0.9  # a tied mixture has .5


@pytest.mark.parametrize("length", ["normal", "lognormal", "batches"])
def test_long_thin_clusters_stay_those_of_a_mixture(length, random_state):
    """A partition across them loses less information among neighbors, most of all at a gap between lengths."""
    found = []
    for _ in range(4):
        labels = random_state.randint(2, size=N)
        draws = {
            "normal": random_state.normal(size=N),
            "lognormal": np.exp(0.8 * random_state.normal(size=N)),
            "batches": random_state.randint(3, size=N) + 0.15 * random_state.normal(size=N),
        }
        shape = random_state.normal(size=(2, 4))
        shape -= shape.mean(1, keepdims=True)
        shape *= 6.0 / np.linalg.norm(shape[0] - shape[1])
        noise = shape[labels] + random_state.normal(size=(N, 4))
        found.append(chosen_ari((draws[length] / draws[length].std())[:, None] + 0.15 * noise, labels))
    assert min(found) > 0.9


@pytest.mark.parametrize("n_values", [2, 3, 5])
def test_as_many_values_as_clusters_are_the_clusters(n_values):
    """The rounding that mixtures average over would blur them."""
    X = np.repeat(np.arange(1.0, n_values + 1.0), 30).reshape(-1, 1)
    for seed in range(3):
        assert chosen_ari(X, X.ravel(), seed=seed) == 1.0
