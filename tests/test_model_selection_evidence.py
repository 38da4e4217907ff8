"""The evidence for a number of clusters, and the rule: against definitions, brute force, and known densities."""

import warnings

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse import csr_array
from scipy.special import comb
from scipy.stats import chi2, kstest, multivariate_normal, norm
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score, mutual_info_score
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skgmvae import VaDEClustering
from skgmvae.initialization.dip import dip_statistic
from skgmvae.initialization.mixture import COVARIANCE_TYPES, fit_mixture, log_joint
from skgmvae.model_selection import ComponentHierarchy, merge_components
from skgmvae.model_selection._density import _ridge, find_density, measure_misfit
from skgmvae.model_selection._dip import least_dip
from skgmvae.model_selection._evidence import examine
from skgmvae.model_selection._folds import correct_stability
from skgmvae.model_selection._merging import _link
from skgmvae.model_selection._partitions import find_edges, find_partitions
from skgmvae.model_selection._rule import Numbers, combine, is_separate
from skgmvae.model_selection._separation import description_length, information_lost, separation

# ------------------------------------------------------------------------------- density and separation


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_log_joint_is_that_of_the_mixture_after_an_m_step(kind):
    rng = np.random.default_rng(0)
    points, at = rng.normal(size=(50, 3)), rng.normal(size=(5, 3))
    mixture = fit_mixture(points, rng.integers(0, 2, 50), 2, kind, max_iter=3)
    weights = mixture.responsibilities.sum(0)
    means = mixture.responsibilities.T @ points / weights[:, None]
    scatters = [
        (r[:, None] * (points - m)).T @ (points - m) for r, m in zip(mixture.responsibilities.T, means, strict=True)
    ]
    covariances = np.array([scatter / weight for scatter, weight in zip(scatters, weights, strict=True)])
    if kind == "tied":
        covariances[:] = sum(scatters) / 50
    if kind == "diag":
        covariances = covariances * np.eye(3)
    covariances += 1e-5 * np.eye(3)
    expected = [
        np.log(w / 50) + multivariate_normal(m, C).logpdf(at)
        for w, m, C in zip(weights, means, covariances, strict=True)
    ]
    assert np.allclose(log_joint(mixture, points, at), np.transpose(expected))


def test_modes_and_saddle_of_two_gaussians_lie_on_their_ridge():
    rng = np.random.default_rng(1)
    means = rng.normal(size=(2, 3)) * 3
    roots = rng.normal(size=(2, 3, 3))
    covariances = roots @ roots.mT + np.eye(3)
    points = _ridge(means, covariances)
    assert np.allclose(points[[0, -1]], means)
    for x in points[1:-1]:  # the gradients of the two log-densities point in opposite directions
        gradients = [np.linalg.solve(C, m - x) for m, C in zip(means, covariances, strict=True)]
        cosine = gradients[0] @ gradients[1] / np.prod(np.linalg.norm(gradients, axis=1))
        assert cosine == pytest.approx(-1.0)


@pytest.mark.parametrize("n_features", [2, 8])
def test_separation_of_two_gaussians_is_that_of_their_density(n_features):
    distance = 5.0
    centers = np.zeros((2, n_features))
    centers[1, 0] = distance
    X, y = make_blobs(2000, centers=centers, random_state=0)
    partitions = find_partitions(X, [1, 2], np.random.RandomState(0))
    found = separation(
        partitions.by_number[2].labels, partitions.edges, find_density(partitions, np.random.RandomState(0)).density
    )
    # at the mean and half way between, in the direction of the other
    expected = np.log(norm.pdf(0) + norm.pdf(distance)) - np.log(2 * norm.pdf(distance / 2))
    assert found == pytest.approx(expected, abs=0.35)
    assert adjusted_rand_score(y, partitions.by_number[2].labels) > 0.95


def test_one_cluster_has_no_separation_and_loses_nothing():
    X = np.random.default_rng(0).normal(size=(60, 2))
    partitions = find_partitions(X, [1], np.random.RandomState(0))
    labels = partitions.by_number[1].labels
    assert separation(labels, partitions.edges, find_density(partitions, np.random.RandomState(0)).density) == 0.0
    assert information_lost(partitions.links, labels, 1) == 0.0
    assert least_dip(partitions.points, labels, partitions.edges) == 0.0


def draw_graph(rng, n=30):
    upper = np.triu(rng.uniform(size=(n, n)) < 0.2, 1)
    return csr_array((upper | upper.T).astype(float))


def test_lost_information_is_one_less_the_share_that_the_other_end_tells():
    rng = np.random.default_rng(0)
    graph, labels = draw_graph(rng), rng.integers(0, 3, 30)
    a, b = labels[graph.tocoo().row], labels[graph.tocoo().col]
    assert information_lost(graph, labels, 3) == pytest.approx(1.0 - mutual_info_score(a, b) / mutual_info_score(a, a))


def test_description_length_counts_tables_sizes_and_labels():
    rng = np.random.default_rng(0)
    graph, labels = draw_graph(rng, 12), np.repeat([0, 1, 2], [3, 4, 5])
    links = graph.tocoo()
    E, information = graph.sum() / 2, mutual_info_score(labels[links.row], labels[links.col])
    n_labelings = comb(12, 3) * comb(9, 4)
    expected = np.log(comb(6 + E - 1, E)) + np.log(comb(11, 2)) + np.log(n_labelings)
    assert description_length(graph, labels, 3) == pytest.approx(expected / E - information)


# ------------------------------------------------------------------------------- dip


def solve_dip(values):
    """The dip by linear programs, one for each sample as the mode."""
    x, n = np.sort(values), len(values)
    return min(solve_dip_with_mode(x, mode) for mode in range(n))


def solve_dip_with_mode(x, mode):
    """Variables: the distribution function at the samples, its limit at the mode from the left, and the distance."""
    n, rows, bounds = len(x), [], []

    def require(terms, bound):  # Σ c v ≤ bound
        row = np.zeros(n + 2)
        for variable, c in terms:
            row[variable] += c
        rows.append(row)
        bounds.append(bound)

    def before(i):
        return n if i == mode else i

    for i in range(n):
        require([(before(i), 1), (n + 1, -1)], i / n)
        require([(i, -1), (n + 1, -1)], -(i + 1) / n)
    require([(n, 1), (mode, -1)], 0)
    for i in range(n - 1):
        require([(i, 1), (before(i + 1), -1)], 0)
    for i in range(1, n - 1):
        left, right = 1 / (x[i] - x[i - 1]), 1 / (x[i + 1] - x[i])
        if i != mode:  # slopes rise before the mode and fall after it
            sign = 1 if i < mode else -1
            terms = [(i - 1, -left), (i, left), (i, right), (before(i + 1) if i < mode else i + 1, -right)]
            require([(variable, sign * c) for variable, c in terms], 0)
    cost = np.eye(n + 2)[-1]
    return linprog(cost, A_ub=np.array(rows), b_ub=bounds, bounds=[(None, None)] * (n + 1) + [(0, None)]).fun


@pytest.mark.parametrize("n", [4, 7, 11, 14])
def test_dip_is_the_least_distance_from_a_unimodal_distribution(n):
    rng = np.random.default_rng(n)
    for gap in (0.0, 2.0, 8.0):
        values = rng.normal(size=n) + gap * (rng.uniform(size=n) < 0.5)
        assert dip_statistic(values) == pytest.approx(solve_dip(values), abs=1e-9)


def test_dip_of_uniform_samples_has_its_published_distribution():
    rng = np.random.default_rng(0)
    dips = np.sqrt(200) * np.array([dip_statistic(rng.uniform(size=200)) for _ in range(400)])
    # Hartigan & Hartigan (1985), table 1: mean 0.0259 and 95 % quantile 0.0370 for 200 samples
    assert dips.mean() == pytest.approx(0.0259 * np.sqrt(200), abs=0.015)
    assert np.quantile(dips, 0.95) == pytest.approx(0.0370 * np.sqrt(200), abs=0.04)


def test_dip_between_two_clusters_is_that_on_the_line_between_their_means():
    X, y = make_blobs(300, centers=[[0, 0, 0], [6, 6, 0]], random_state=0)
    assert least_dip(X, y, find_edges(X)) > 1.5
    assert least_dip(X, (X[:, 2] > 0).astype(int), find_edges(X)) < 0.6


# ------------------------------------------------------------------------------- stability and rule


def test_stability_is_corrected_for_that_of_the_null():
    corrected = correct_stability([{1: 1.0, 2: 0.9, 3: 0.4}], [{1: 1.0, 2: 0.5, 3: 0.3}, {1: 1.0, 2: 0.3, 3: 0.5}])
    assert corrected == [pytest.approx({1: 0.0, 2: 0.5 / 0.6, 3: 0.0})]


def test_evidence_needs_less_separation_where_dips_links_or_a_mixture_speak_for_it():
    separations = np.array([0.9, 0.9, 0.45, 0.45, 1.1, 0.55, 0.55, 0.35])
    lost, dips = np.array([0.1, 0.1, 0.01, *[0.1] * 5]), np.array([0.1, 0.8, 0.1, 0.8, *[0.1] * 4])
    misfits = np.array([*[np.nan] * 5, 1.1, 1.3, 1.1])
    found = is_separate(Numbers(separations, lost, dips, misfits, 0.0 * misfits, *np.full((3, 8), np.nan)))
    assert found.tolist() == [False, True, True, False, True, True, False, False]


def test_pieces_of_one_cluster_lose_too_much_information_to_be_evidence():
    lost = np.array([0.24, 0.26, 0.4])
    assert is_separate(Numbers(np.full(3, 5.0), lost, *np.zeros((3, 3)), *np.full((3, 3), np.nan))).tolist() == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(("lost", "whitened", "is_found"), [(0.6, 0.05, True), (0.6, 0.3, False), (0.2, 0.01, False)])
def test_clusters_that_neighbors_miss_are_those_of_the_mixture_if_they_are_apart_when_whitened(
    lost, whitened, is_found
):
    unknown = np.full(4, np.nan)
    misfit, of_three = np.array([np.nan, np.nan, 2.0, np.nan]), np.array([np.nan, np.nan, whitened, np.nan])
    losses, separations = np.array([0.0, 0.3, lost, 0.3]), np.array([0.0, 0.6, 0.7, -0.3])
    evidence = Numbers(separations, losses, np.full(4, 0.1), misfit, 0.0 * misfit, unknown, unknown, of_three)
    assert is_separate(evidence).tolist() == [False, False, is_found, False]
    assert combine((1, 2, 3, 4), evidence).argmax() == (2 if is_found else 0)


@pytest.mark.parametrize("n_clusters", [1, 3])
def test_clusters_apart_where_correlated_columns_hardly_vary_are_counted(n_clusters):
    rng = np.random.RandomState(0)
    X = 5.0 * rng.randn(300, 1) + 0.4 * rng.randn(300, 5)
    X[:, 0] += 2.5 * rng.randint(n_clusters, size=300)
    numbers = range(1, 6)
    found = examine(X, numbers, np.random.RandomState(0)).values
    assert combine(numbers, Numbers.read(found, numbers)).argmax() + 1 == n_clusters


@pytest.mark.parametrize(
    ("misfit", "lost", "tied", "is_evident"),
    [(1.4, 0.08, 1.0, True), (1.6, 0.08, 1.0, False), (1.4, 0.12, 1.0, False), (1.4, 0.08, 0.0, False)],
)
def test_mixture_of_equal_covariances_decides_if_its_components_are_normal_and_lose_little(
    misfit, lost, tied, is_evident
):
    separations, unknown = np.array([0.0, 9.0, -0.3, -0.4]), np.full(4, np.nan)
    losses, misfits = np.array([0.0, 0.01, lost, 0.2]), np.array([np.nan, np.nan, misfit, np.nan])
    evidence = Numbers(separations, losses, np.full(4, 0.1), misfits, 0.0 * misfits + tied, unknown, unknown, unknown)
    assert is_separate(evidence).tolist() == [False, True, False, False]
    scores = combine((1, 2, 3, 4), evidence)
    assert scores.argmax() == (2 if is_evident else 1) and scores[0] == -np.inf
    assert combine((1, 2, 3, 4), evidence, n_searched=2)[:2].argmax() == 1
    if is_evident:
        assert scores[2] == scores[1] + 1.0


def test_rule_chooses_the_number_after_which_separation_falls_and_loss_rises():
    numbers, dips, unknown = (1, 2, 3, 4, 5), np.zeros(5), np.full(5, np.nan)
    lost = np.array([0.0, 0.01, 0.01, 0.2, 0.22])

    def score(*separations, lost=lost, dips=dips, misfits=unknown, tied=0.0, of_all_columns=(unknown, unknown)):
        evidence = Numbers(np.array(separations), lost, dips, misfits, 0.0 * misfits + tied, *of_all_columns, unknown)
        return combine(numbers, evidence)

    scores = score(0.0, 3.0, 2.5, -0.1, -0.3)
    assert scores.argmax() == 2 and scores[0] == -np.inf
    expected = np.log((2.5 + 0.7) / (-0.1 + 0.7)) + 0.75 * np.log(0.203 / 0.013)
    assert scores[2] == pytest.approx(expected)
    # without evidence it is one; what is unknown is never chosen
    assert score(0.0, 0.5, 0.3, -0.1, -0.3, lost=0.3 + lost).tolist()[:2] == [0.0, -np.inf]
    assert score(0.0, 3.0, np.nan, np.nan, np.nan).argmax() == 1
    # clusters without evidence of their own must not be unimodal
    unimodal, bimodal = (score(0.0, 3.0, 0.9, -0.1, -0.3, lost=0.1 + lost, dips=dips + d) for d in (0.2, 0.4))
    assert unimodal[2] == -np.inf and np.isfinite(bimodal[2]) and unimodal[1] == bimodal[1]
    # the mixture of the lowest BIC, if its components are normal and separate
    of_four = np.array([np.nan, np.nan, np.nan, 0.9, np.nan])
    assert score(0.0, 3.0, 2.5, 2.0, -0.3, lost=0.1 + 0.0 * lost).argmax() == 3
    gains = score(0.0, 3.0, 2.5, 2.0, -0.3, misfits=of_four)[1:4] - score(0.0, 3.0, 2.5, 2.0, -0.3)[1:4]
    np.testing.assert_allclose(gains, [0.0, 0.0, 1.0])
    assert score(0.0, 0.5, 0.5, 0.55, -0.3, lost=0.04 + lost, misfits=of_four).argmax() == 3
    # among that number and more, the lowest BIC of mixtures of all columns, of those with distinct components
    bic, distinct = np.array([1.0, 9.0, 8.0, 7.0, 6.0]), np.array([1.0, 1.0, 1.0, 1.0, 0.0])
    assert score(0.0, 3.0, 2.5, -0.1, -0.3, of_all_columns=(bic, distinct)).argmax() == 3
    assert score(0.0, 3.0, 2.5, -0.1, -0.3, of_all_columns=(bic, 0.0 * distinct)).argmax() == 2
    assert score(0.0, *unknown[1:], of_all_columns=(bic, distinct)).argmax() == 0
    assert score(0.0, *unknown[1:], of_all_columns=(-bic, distinct)).argmax() == 1


def test_misfit_is_the_kolmogorov_smirnov_distance_of_the_worst_component():
    rng = np.random.default_rng(0)
    points = np.vstack([rng.normal(size=(300, 2)), rng.uniform(-1.7, 1.7, size=(300, 2))])
    R = np.repeat(np.eye(2), 300, axis=0)
    means, covariances = (
        R.T @ points / 300.0,
        np.stack([np.cov(part.T, ddof=0) for part in (points[:300], points[300:])]),
    )
    found = [measure_misfit(points, R * mask, means, covariances) for mask in ([1.0, 0.0], [0.0, 1.0], [1.0, 1.0])]
    for c, part in enumerate((points[:300], points[300:])):
        squares = np.einsum("nd,de,ne->n", part - means[c], np.linalg.inv(covariances[c]), part - means[c])
        assert found[c] == pytest.approx(np.sqrt(300) * kstest(squares, chi2(2).cdf).statistic)
    assert found[0] < 1.2 < found[1] == found[2]


# ------------------------------------------------------------------------------- merging


@pytest.fixture(scope="module")
def oversplit():
    X, y = make_blobs(300, centers=[[0, 0], [9, 0], [0, 9]], random_state=0)
    return GaussianMixture(6, random_state=0).fit(X), X, y


def test_components_of_one_mode_merge_first(oversplit):
    model, X, y = oversplit
    hierarchy = merge_components(model, X)
    labels = hierarchy.cut(3)[model.predict(X)]
    assert adjusted_rand_score(y, labels) == 1.0
    heights = hierarchy.linkage[:, 2]
    assert (np.diff(heights) >= 0).all() and heights[2] < 1.5 < 5 < heights[3]
    assert hierarchy.linkage[-1, 3] == 6
    assert hierarchy.cut(6).tolist() == list(range(6)) and hierarchy.cut(1).tolist() == [0] * 6
    assert len(set(zip(hierarchy.cut(2).tolist(), hierarchy.cut(3).tolist(), strict=True))) == 3  # nested


def test_components_without_samples_merge_at_zero(oversplit):
    model, X, _ = oversplit
    hierarchy = merge_components(model, X[model.predict(X) != 2])
    assert hierarchy.linkage[0, 1:3].tolist() == [2.0, 0.0] and len(hierarchy.linkage) == 5


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_merge_as_their_numbers(library, oversplit):
    _, X, _ = oversplit
    module = pytest.importorskip(library)
    frame = module.DataFrame({f"x{d}": column for d, column in enumerate(X.T)})
    fitted = GaussianMixture(6, random_state=0).fit(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # feature names that do not fit
        hierarchy = merge_components(fitted, frame)
    expected = merge_components(GaussianMixture(6, random_state=0).fit(X), X)
    # sums of a mixture of columns are rounded otherwise than those of rows on some processors
    np.testing.assert_allclose(hierarchy.linkage, expected.linkage, rtol=1e-9)
    column = ["a"] * len(X)
    other = frame.assign(city=column) if library == "pandas" else frame.with_columns(city=module.Series(column))
    with pytest.raises(ValueError, match="needs numbers, but columns 'city' have others"):
        merge_components(fitted, other)
    with pytest.raises(ValueError, match="needs complete samples"):
        merge_components(fitted, np.where(X > 0.0, X, np.nan))


@pytest.mark.parametrize("options", [{"likelihood": "poisson"}, {"categorical_features": [0]}])
def test_components_of_counts_and_codes_are_not_merged(options):
    X = np.random.RandomState(0).poisson(np.repeat([[2, 9], [12, 3]], 40, axis=0)).clip(0, 15).astype(float)
    model = VaDEClustering(2, max_iter=0, random_state=0, **options).fit(X)
    for estimator in (model, make_pipeline(FunctionTransformer(), model)):
        with pytest.raises(ValueError, match="needs continuous features"):
            merge_components(estimator, X)


def test_clusters_that_nothing_joins_merge_last():
    linkage = _link(np.zeros(3), np.full((3, 3), -np.inf), np.arange(3), 3)
    assert linkage[:, :2].tolist() == [[0, 1], [3, 2]] and linkage[:, 3].tolist() == [2, 3]


def test_single_component_and_numbers_that_are_none(oversplit):
    hierarchy = merge_components(GaussianMixture(1).fit(oversplit[1]), oversplit[1])
    assert hierarchy.linkage.shape == (0, 4) and hierarchy.cut(1).tolist() == [0]
    with pytest.raises(ValueError, match="between 1 and 3, the number of components; got 4"):
        ComponentHierarchy(np.array([[0, 2, 0.3, 2], [1, 3, 4.0, 3]])).cut(4)
