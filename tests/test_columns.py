"""Tables whose columns are of several kinds: likelihoods against torch's, exact answers, categories in and out."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp, softmax
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_blobs, make_moons
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from torch import distributions

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae.initialization.mixed_samples import ContinuousColumns
from skgmvae.initialization.product_mixture import ProductFit, ProductMixture
from skgmvae.initialization.skewness import find_heavy_tails, find_log_normal
from skgmvae.models.columns import Column, Columns
from skgmvae.models.counts import draw_gamma
from skgmvae.models.heads import logsumexp_of_sums

ESTIMATORS = [VaDEClustering, GMVAEClustering, VAEEMClustering]
KINDS = [
    Column("categorical", 3),
    Column("gaussian"),
    Column("poisson"),
    Column("bernoulli"),
    Column("log_normal"),
    Column("negative_binomial"),
    Column("categorical", 2),
]
LOCATION = torch.tensor([0.0, 1.0, 0.8, 0.0, 0.5, 0.9, 0.0], dtype=torch.float64)
SCALE = torch.tensor([1.0, 2.0, 0.7, 1.0, 0.6, 1.3, 1.0], dtype=torch.float64)
X = torch.tensor([[2, -0.3, 4, 1, 0.7, 9, 0], [0, 2.5, 0, 0, 3.1, 0, 1]], dtype=torch.float64)


@pytest.fixture
def likelihood():
    columns = Columns(KINDS, LOCATION, SCALE).double().eval()
    columns.set_variance(torch.tensor([0.4, 0.9], dtype=torch.float64))
    with torch.no_grad():
        columns.counts.scaled_log_size.fill_(0.05)
    return columns


@pytest.fixture
def output():
    return torch.randn(2, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def reference(likelihood, output):
    """torch's distributions of the seven columns, given outputs in the order of the likelihood."""
    gaussian, log_normal, odds, three, two, poisson, dispersed = output.split([1, 1, 1, 3, 2, 1, 1], -1)
    size = likelihood.counts.log_size.exp()
    one = torch.tensor(0.4, dtype=torch.float64).sqrt(), torch.tensor(0.9, dtype=torch.float64).sqrt()
    return [
        distributions.Categorical(logits=three),
        distributions.Normal(1.0 + 2.0 * gaussian.squeeze(-1), 2.0 * one[0]),
        distributions.Poisson(poisson.squeeze(-1).exp()),
        distributions.Bernoulli(logits=odds.squeeze(-1)),
        distributions.LogNormal(0.5 + 0.6 * log_normal.squeeze(-1), 0.6 * one[1]),
        distributions.NegativeBinomial(size, logits=dispersed.squeeze(-1) - size.log()),
        distributions.Categorical(logits=two),
    ]


def test_log_probabilities_are_those_of_torch(likelihood, output):
    expected = torch.stack([d.log_prob(x) for d, x in zip(reference(likelihood, output), X.T, strict=True)])
    found = likelihood.log_prob(likelihood.standardize(X, torch.float64), output)
    torch.testing.assert_close(found, expected.sum(0), rtol=0.0, atol=1e-5)  # 1e-6 per category is for new ones
    for d in range(len(KINDS)):  # a missing value leaves its column out
        holes = X.clone()
        holes[:, d] = torch.nan
        found = likelihood.log_prob(likelihood.standardize(holes, torch.float64), output)
        torch.testing.assert_close(found, expected.sum(0) - expected[d], rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("n_outputs", [2, 1])
def test_log_probabilities_of_components_are_those_of_their_own_outputs(likelihood, output, n_outputs):
    output, holes = output[:n_outputs], X.clone()
    holes[0, [0, 2]] = torch.nan
    holes[1, 6] = 7.0  # a new category
    x = likelihood.standardize(holes, torch.float64)
    offsets = 3.0 * torch.randn(4, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    offsets[0, 3:6] = torch.tensor([0.0, -600.0, 600.0])
    offsets[:, :2] = 0.0  # of continuous columns
    expected = likelihood.log_prob(x.unsqueeze(1), output.unsqueeze(1) + offsets)
    torch.testing.assert_close(likelihood.log_prob(x, output, offsets), expected)
    of_each = likelihood.log_prob(x.unsqueeze(1), output.unsqueeze(1), offsets.expand(2, -1, -1))
    torch.testing.assert_close(of_each.squeeze(1), expected)
    single = likelihood.float().log_prob(x.float(), output.float(), offsets[1:].float())
    torch.testing.assert_close(single.double(), expected[:, 1:], rtol=1e-4, atol=1e-4)


def test_logarithms_of_sums_hold_where_outputs_contradict_each_other():
    a, b = torch.tensor([[0.0, -60.0]]), torch.tensor([[-60.0, 0.0], [0.0, -200.0]])
    expected = torch.logsumexp(a.unsqueeze(1) + b, -1)
    torch.testing.assert_close(logsumexp_of_sums(a, b), expected)
    assert logsumexp_of_sums(3.0 * a, 3.0 * b[:1]).isfinite().all()


def test_moments_and_draws_are_those_of_torch(likelihood, output):
    expected = reference(likelihood, output)
    numbers = likelihood.to_numbers(likelihood.mean(output))
    draws = likelihood.draw(output.expand(40_000, 2, 10), torch.Generator().manual_seed(0))
    for d, distribution in enumerate(expected):
        if isinstance(distribution, distributions.Categorical):
            levels = torch.arange(distribution.probs.shape[-1]).double()
            mean = distribution.probs @ levels
            variance = distribution.probs @ levels**2 - mean**2
        else:
            mean, variance = distribution.mean, distribution.variance
        torch.testing.assert_close(numbers[:, d], mean)
        torch.testing.assert_close(likelihood.variance(output)[:, d], variance)
        error = (draws[..., d].mean(0) - mean).abs() / (variance / 40_000).sqrt()
        assert error.max() < 4.0
        torch.testing.assert_close(draws[..., d].var(0), variance, rtol=0.2, atol=1e-2)


def test_gamma_draws_have_the_distribution_that_scipy_has():
    for shape in (0.05, 0.7, 1.0, 30.0):
        draws = draw_gamma(torch.full((20_000,), shape, dtype=torch.float64), torch.Generator().manual_seed(0))
        assert stats.kstest(draws.numpy(), stats.gamma(shape).cdf).pvalue > 1e-3


def test_derivatives_are_those_of_autograd(likelihood, output):
    x, output = likelihood.standardize(X, torch.float64), output.requires_grad_(True)
    slope, curvature = likelihood.differentiate(x, output)
    expected = torch.autograd.grad(likelihood.log_prob(x, output).sum(), output)[0]
    torch.testing.assert_close(slope, expected)
    # the Fisher information is the variance of the slope over draws
    draws = likelihood.draw(output.detach().expand(40_000, 2, 10), torch.Generator().manual_seed(1))
    slopes, _ = likelihood.differentiate(
        likelihood.standardize(draws, torch.float64), output.detach().expand(40_000, 2, 10)
    )
    torch.testing.assert_close(curvature.detach(), slopes.var(0), rtol=0.1, atol=0.02)


def test_heavy_tails_have_the_distribution_that_scipy_has():
    kinds = [Column("gaussian"), Column("johnson_su", 0, 2.0, 0.5), Column("log_normal")]
    location, scale = torch.tensor([0.0, 0.3, 0.1]).double(), torch.tensor([1.0, 0.8, 1.0]).double()
    columns = Columns(kinds, location, scale).double().eval()
    columns.set_variance(torch.tensor([0.4, 0.5, 0.9], dtype=torch.float64))
    output = torch.tensor([[0.2, -0.7, 0.1], [1.0, 1.3, 0.4]], dtype=torch.float64)
    x = torch.tensor([[0.3, 1.2, 0.7], [0.1, 40.0, 2.0]], dtype=torch.float64)
    mean, deviation = 0.3 + 0.8 * output[:, 1], 0.8 * 0.5**0.5
    truth = stats.johnsonsu(-mean / deviation, 1.0 / deviation, loc=2.0, scale=0.5)
    rest = Columns([kinds[0], kinds[2]], location[[0, 2]], scale[[0, 2]]).double().eval()
    rest.set_variance(torch.tensor([0.4, 0.9], dtype=torch.float64))
    others = rest.log_prob(rest.standardize(x[:, [0, 2]], torch.float64), output[:, [0, 2]])
    found = columns.log_prob(columns.standardize(x, torch.float64), output)
    np.testing.assert_allclose((found - others).detach(), truth.logpdf(x[:, 1]))
    np.testing.assert_allclose(columns.mean(output)[:, 1].detach(), truth.mean())
    np.testing.assert_allclose(columns.variance(output)[:, 1].detach(), truth.var())
    drawn = columns.draw(output[:1].expand(4000, 3), torch.Generator().manual_seed(0))[:, 1].detach()
    assert stats.kstest(drawn, stats.johnsonsu(-mean[0] / deviation, 1.0 / deviation, 2.0, 0.5).cdf).pvalue > 1e-3
    output.requires_grad_(True)
    standardized = columns.standardize(x, torch.float64)
    slope = torch.autograd.grad(columns.log_prob(standardized, output).sum(), output)[0]
    torch.testing.assert_close(columns.differentiate(standardized, output)[0], slope)


def make_classes(rng, n=400):
    """Three classes in four categorical columns of strings."""
    y = rng.randint(3, size=n)
    p = rng.dirichlet(np.full(4, 0.3), (4, 3))
    codes = np.array([[rng.choice(4, p=p[d, c]) for d in range(4)] for c in y])
    return pd.DataFrame(np.array(list("abcd"))[codes], columns=list("wxyz")), y


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_categories_alone_are_a_latent_class_model(estimator):
    frame, y = make_classes(np.random.RandomState(0))
    model = estimator(3, max_iter=0, random_state=0).fit(frame)
    assert adjusted_rand_score(y, model.labels_) > 0.6
    # the shares of the categories in samples of each class, from the model's own draws of many samples
    labels = model.predict_proba(frame)
    joint = (
        np.log(model.weights_)
        + sum(
            np.log(np.stack([softmax(part) for part in logits]))[:, codes]
            for logits, codes in zip(get_logits(model), encode(frame), strict=True)
        ).T
    )
    np.testing.assert_allclose(labels, softmax(joint, axis=1), atol=1e-5)
    background = 1.0 / (len(frame) + 1.0)
    overall = sum(np.log((np.bincount(c, minlength=4) + 0.5) / (len(c) + 1.0))[c] for c in encode(frame))
    expected = np.logaddexp(np.log1p(-background) + logsumexp(joint, axis=1), np.log(background) + overall)
    np.testing.assert_allclose(model.score_samples(frame), expected, atol=0.01)
    every = pd.DataFrame(itertools.product("abcd", repeat=4), columns=list("wxyz"))
    assert abs(np.exp(model.score_samples(every)).sum() - 1.0) < 1e-4


def encode(frame):
    return [np.searchsorted(list("abcd"), frame[name]) for name in frame]


def get_logits(model):
    """Logits (K, 4) of each of four columns."""
    module = model.net_.module_
    outputs = module.linear.decoder.bias if hasattr(module, "linear") else module.autoencoder.component_outputs
    return np.split(outputs.detach().numpy(), 4, axis=1)


def make_table(rng, n=300):
    """Three groups in columns of all kinds, as a frame with holes."""
    y = rng.randint(3, size=n)
    frame = pd.DataFrame({"age": 30.0 + 10.0 * y + 3.0 * rng.randn(n)})
    frame["income"] = np.exp(0.6 * rng.randn(n) + y)
    cities = np.array(["Aix", "Bern", "Cork"])[np.where(rng.rand(n) < 0.8, y, rng.randint(3, size=n))]
    frame["city"] = pd.Series(cities, dtype=object)
    frame["smokes"] = rng.rand(n) < 0.2 + 0.3 * y
    frame["visits"] = rng.poisson(2.0 + 3.0 * y)
    frame["grade"] = pd.Categorical(np.array(["low", "high"])[rng.randint(2, size=n)])
    return frame, y


@pytest.mark.filterwarnings("ignore:none of the values of the categorical column 'city'")
def test_rare_and_new_categories_and_a_new_one_in_a_stream():
    frame, _ = make_table(np.random.RandomState(0))
    model = VaDEClustering(3, max_iter=0, random_state=0).fit(frame)
    other = frame.assign(city="Oslo")
    known, new = model.score_samples(frame), model.score_samples(other)
    assert np.isfinite(new).all()
    assert (new < known - 5.0).all()
    # a new category says nothing about the component, as a missing one
    np.testing.assert_allclose(model.predict_proba(other), model.predict_proba(frame.assign(city=None)), atol=1e-9)
    model.partial_fit(other)
    assert list(model.categories_[2]) == ["Aix", "Bern", "Cork"]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_frame_goes_in_and_comes_out(estimator, tmp_path):
    frame, y = make_table(np.random.RandomState(0))
    holes = frame.mask(np.random.RandomState(1).rand(*frame.shape) < 0.1)
    holes["grade"] = holes["grade"].astype("category")
    model = estimator(3, max_iter=5, tol=100.0, likelihood={"visits": "poisson"}, random_state=0).fit(holes)
    kinds = ("gaussian", "log_normal", "categorical", "bernoulli", "poisson", "categorical")
    assert model.likelihood_ == kinds
    assert adjusted_rand_score(y, model.labels_) > 0.6
    samples, components = model.sample(400, random_state=0)
    assert list(samples.columns) == list(frame.columns)
    assert set(samples["city"]) == {"Aix", "Bern", "Cork"}
    assert samples["smokes"].dtype == bool
    assert samples["city"].dtype == frame["city"].dtype
    nothing = holes.iloc[:1].mask(np.ones((1, 6), bool))
    assert model.score_samples(nothing) == 0.0
    assert samples["grade"].dtype == "category"
    assert (samples["income"] > 0.0).all()
    assert (samples["visits"] == samples["visits"].round()).all()
    assert adjusted_rand_score(components, model.predict(samples)) > 0.5
    imputed = model.impute(holes)
    assert not imputed.isna().any(axis=None)
    assert (imputed["city"] == frame["city"]).mean() > 0.95
    given, _ = model.sample(200, given={"city": "Cork", "smokes": True}, random_state=0)
    assert set(given["city"]) == {"Cork"}
    assert given["age"].mean() > frame["age"].mean() + 4.0
    with pytest.raises(ValueError, match="'Oslo' is not among the categories 'Aix', 'Bern', 'Cork'"):
        model.sample(given={"city": "Oslo"})
    model.save(tmp_path / "model")
    loaded = estimator.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.score_samples(holes), model.score_samples(holes))
    pd.testing.assert_frame_equal(loaded.sample(5, random_state=0)[0], model.sample(5, random_state=0)[0])
    assert clone(loaded).get_params()["likelihood"] == {"visits": "poisson"}


def test_a_frame_of_polars_comes_out_as_one():
    polars = pytest.importorskip("polars")
    frame, _ = make_table(np.random.RandomState(0))
    table = polars.DataFrame({name: frame[name].tolist() for name in frame})
    model = VaDEClustering(3, max_iter=0, random_state=0).fit(table)
    samples, _ = model.sample(3, random_state=0)
    assert samples.schema == table.schema
    assert np.array_equal(model.predict(table), model.labels_)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_conditional_answers_of_the_initial_mixture_are_exact(estimator):
    """The mean of a continuous column given a category, by Bayes' rule over the components."""
    rng = np.random.RandomState(0)
    y = rng.randint(2, size=400)
    X = np.c_[4.0 * y + rng.randn(400), np.where(rng.rand(400) < 0.7, y, 1 - y)]
    model = estimator(2, max_iter=0, categorical_features=[1], random_state=0).fit(X)
    rows = np.array([[np.nan, 0.0], [np.nan, 1.0]])
    p = model.predict_proba(rows)
    np.testing.assert_allclose(model.impute(rows)[:, 0], p @ model.means_[:, 0], atol=1e-6)
    logits = get_two_logits(model)
    expected = model.weights_ * softmax(logits, axis=1).T
    np.testing.assert_allclose(p, expected / expected.sum(1, keepdims=True), atol=1e-6)
    drawn, _ = model.sample(4000, given={1: 0.0}, random_state=0)
    assert abs(drawn[:, 0].mean() - (p @ model.means_[:, 0])[0]) < 4.0 * 2.2 / np.sqrt(4000)


@pytest.mark.parametrize("estimator", [VaDEClustering, VAEEMClustering])
@pytest.mark.parametrize("kind", ["log_normal", "johnson_su"])
def test_what_no_component_explains_has_a_plausible_value_of_a_skewed_column(estimator, kind):
    rng = np.random.RandomState(0)
    X = np.c_[50.0 + 10.0 * rng.randn(300), np.exp(rng.randn(300)), np.sinh(2.0 * rng.randn(300))]
    model = estimator(2, max_iter=0, likelihood=["gaussian", "log_normal", "johnson_su"], random_state=0).fit(X)
    d = 1 if kind == "log_normal" else 2
    row = np.array([[1e4, X[0, 1], X[0, 2]]])
    row[0, d] = np.nan
    assert X[:, d].min() < model.impute(row)[0, d] < X[:, d].max()
    draws = model.impute(row, 1000, random_state=0)[:, 0, d]
    assert np.abs(draws).max() < 10.0 * np.abs(X[:, d]).max()
    of_draws, of_samples = (np.arcsinh(np.quantile(values, [0.2, 0.5, 0.8])) for values in (draws, X[:, d]))
    np.testing.assert_allclose(of_draws, of_samples, atol=0.5)


def test_values_near_zero_of_a_log_normal_column_score_low():
    rng = np.random.RandomState(0)
    X = np.c_[50.0 + 10.0 * rng.randn(300), np.exp(10.0 + rng.randn(300))]
    model = VaDEClustering(1, max_iter=0, likelihood={1: "log_normal"}, random_state=0).fit(X)
    scores = model.score_samples([[50.0, value] for value in (1.0, 1e-3, 1e-9, 1e-300)])
    assert scores.max() < np.quantile(model.score_samples(X), 0.02) and np.ptp(scores) < 1e-6
    axis = np.linspace(X[:, 1].min(), 5e5, 400_001)
    density = np.exp(model.score_samples(np.c_[np.full(len(axis), np.nan), axis]))
    below = axis[0] * np.exp(model.score_samples([[np.nan, 1.0]])[0])
    np.testing.assert_allclose(np.trapezoid(density, axis) + below, 1.0, atol=0.01)


@pytest.mark.parametrize("estimator", [VaDEClustering, VAEEMClustering])
def test_what_no_component_explains_has_the_categories_and_counts_of_all_samples(estimator):
    rng = np.random.RandomState(0)
    y = rng.choice(2, 300, p=[0.3, 0.7])
    X = np.c_[8.0 * y + rng.randn(300), y, rng.negative_binomial(2.0, 0.2, 300)]
    model = estimator(2, max_iter=0, likelihood={1: "categorical", 2: "negative_binomial"}, random_state=0).fit(X)
    row = [[-1e4, np.nan, np.nan]]
    assert model.predict(row) == model.predict(X[y == 0][:1])
    np.testing.assert_allclose(model.impute(row), [[-1e4, 1.0, X[:, 2].mean()]], rtol=1e-4)
    draws = model.impute(row, 500, random_state=0)[:, 0]
    assert abs(draws[:, 1].mean() - y.mean()) < 4.0 * y.std() / np.sqrt(500)
    assert abs(draws[:, 2].mean() - X[:, 2].mean()) < 4.0 * X[:, 2].std() / np.sqrt(500)


def get_two_logits(model):
    module = model.net_.module_
    outputs = module.linear.decoder.bias[:, 1:] if hasattr(module, "linear") else module.autoencoder.component_outputs
    return outputs.detach().numpy()


@pytest.mark.parametrize("estimator", [VaDEClustering, VAEEMClustering])
def test_training_learns_what_categories_say_of_a_curve(estimator):
    """A category depends on the position along a line within the component, which the initial mixture cannot say."""
    rng = np.random.RandomState(0)
    t = rng.uniform(-2.0, 2.0, 900)
    X = np.c_[t, t**2 + 0.2 * rng.randn(900), (np.abs(t) > 1.0)]
    options = {"categorical_features": [2], "max_subcomponents": 1, "random_state": 0}
    trained = estimator(1, **options).fit(X[:600])
    initial = estimator(1, max_iter=0, **options).fit(X[:600])
    assert trained.score(X[600:]) > initial.score(X[600:]) + 0.3
    p = trained.impute(np.c_[[0.0, 1.8], [0.0, 3.24], [np.nan, np.nan]])
    np.testing.assert_array_equal(p[:, 2], [0.0, 1.0])


def test_bent_clusters_beside_a_category_are_kept():
    rng = np.random.RandomState(0)
    X, y = make_moons(400, noise=0.1, random_state=rng)
    frame = pd.DataFrame(X, columns=["a", "b"]).assign(c=np.where(rng.rand(400) < 0.7, np.array(["u", "v"])[y], "w"))
    model = VaDEClustering(2, max_iter=0, random_state=0).fit(frame)
    assert model.init_params_ == "clusters of the continuous columns"
    assert adjusted_rand_score(y, model.labels_) > 0.8


def spoil(frame, how, rng):
    """A column that a mixture would split, or rather than the groups a far value."""
    n, z = len(frame), np.exp(rng.randn(len(frame)) + 1.0)
    if how == "one wild value":
        frame.loc[7, "a"] = 1e3
    elif how == "some wild values":
        frame.loc[:4, "b"] += 1e3 * rng.choice([-1, 1], 5)
    elif how == "a code":
        frame.loc[rng.rand(n) < 0.1, "a"] = 999.0
    elif how == "many zeros":
        frame["z"] = np.where(rng.rand(n) < 0.6, 0.0, z)
    elif how == "many zeros, as two columns":
        frame["is zero"] = rng.rand(n) < 0.6
        frame["z"] = np.where(frame["is zero"], np.nan, z)
    elif how == "counts, many of them zero":
        frame["count"] = np.where(rng.rand(n) < 0.8, 0, rng.poisson(20, n))
    elif how == "counts, some of them wild":
        frame["count"] = rng.poisson(5, n) * np.where(rng.rand(n) < 0.02, 500, 1)
    elif how == "few values":
        frame["z"] = rng.choice([0.0, 1.0, 2.0, 7.0, 9.0, 30.0], n, p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.05])
    elif how == "two peaks":
        frame["z"] = rng.randn(n) + 8.0 * (rng.rand(n) < 0.5)
    elif how == "two peaks, twice":
        frame[["y", "z"]] = rng.randn(n, 2) + 8.0 * (rng.rand(n, 2) < 0.5)
    return frame


@pytest.mark.parametrize(("n_ones", "decides"), [(3, False), (4, True)])
def test_a_nearly_constant_flag_leaves_the_search_to_the_other_columns(n_ones, decides):
    X, y = make_blobs(300, centers=3, n_features=4, random_state=0)
    model = VaDEClustering(3, max_iter=0, random_state=0).fit(np.column_stack([X, np.arange(300) < n_ones]))
    assert model.likelihood_[-1] == "bernoulli" and ("inputs" in model.init_params_) is not decides
    assert adjusted_rand_score(y, model.labels_) > 0.9


@pytest.mark.parametrize(
    "how",
    [
        *("one wild value", "some wild values", "many zeros", "many zeros, as two columns", "few values"),
        *("counts, many of them zero", "counts, some of them wild", "a code", "two peaks", "two peaks, twice"),
    ],
)
@pytest.mark.filterwarnings("ignore:X has:UserWarning")
def test_values_that_would_be_components_do_not_hide_the_groups(how):
    for seed in range(2):
        rng = np.random.RandomState(seed)
        y = rng.randint(0, 2, 400)
        category = np.where(rng.rand(400) < 0.8, np.array(["u", "v"])[y], "w")
        frame = pd.DataFrame({"a": rng.randn(400) + 2.5 * y, "b": rng.randn(400) - 1.5 * y, "c": category})
        frame["flag"] = np.where(rng.rand(400) < 0.85, y, 1 - y).astype(bool)
        likelihood = {"count": "negative_binomial"} if how.startswith("counts") else "auto"
        model = VaDEClustering(2, likelihood=likelihood, max_iter=0, random_state=seed).fit(spoil(frame, how, rng))
        known = frame["a"] != 999.0
        assert adjusted_rand_score(y[known], model.labels_[known]) > 0.85


def test_clusters_of_a_single_column_are_found():
    """No other column depends on them."""
    rng = np.random.RandomState(0)
    y = rng.randint(0, 2, 400)
    frame = pd.DataFrame({"a": rng.randn(400) + 5.0 * y, "b": rng.randn(400), "c": rng.choice(list("uvw"), 400)})
    assert adjusted_rand_score(y, VaDEClustering(2, max_iter=0, random_state=0).fit_predict(frame)) > 0.95
    flag = pd.DataFrame({"d": y.astype(bool)})
    assert adjusted_rand_score(y, VaDEClustering(2, max_iter=0, random_state=0).fit_predict(flag)) == 1.0


def test_dependence_is_the_mutual_information_of_columns():
    rng = np.random.RandomState(0)
    n, rho, y = 4000, 0.8, rng.rand(4000) < 0.5
    normal = rng.multivariate_normal([0.0, 0.0], [[1.0, rho], [rho, 1.0]], n)
    kinds = [*[Column("gaussian")] * 2, Column("bernoulli"), Column("categorical", 2), *[Column("poisson")] * 2]
    likelihood = Columns(kinds, torch.zeros(6, dtype=torch.float64), torch.ones(6, dtype=torch.float64))
    counts = rng.poisson(
        np.where(y, 30.0, 3.0)[:, None], (n, 2)
    )  # each tells the component, and so do flag and category
    X = likelihood.standardize(torch.from_numpy(np.c_[normal, y, y, counts]), torch.float64)
    mixture = ProductMixture(X, likelihood)
    R = torch.from_numpy(np.eye(2)[y.astype(int)])
    for is_diagonal, of_normal in ((True, 0.0), (False, -0.5 * np.log1p(-(rho**2)))):
        found = mixture.find_dependence(ProductFit("", is_diagonal, R, 0.0))
        assert found == pytest.approx(3.0 * np.log(2.0) + of_normal, abs=0.03)
    X = torch.from_numpy(np.c_[8.0 * y + rng.randn(n), rng.randn(n), rng.rand(n) < 0.5])  # clusters of one column
    likelihood = Columns(kinds[:3], torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64))
    found = ProductMixture(X, likelihood).find_dependence(ProductFit("", True, R, 0.0))
    assert found == pytest.approx(0.0, abs=0.01)


def test_continuous_columns_are_made_fit_for_normal_distributions():
    rng = np.random.RandomState(0)
    X = np.c_[rng.randn(200), np.where(rng.rand(200) < 0.5, 0.0, rng.rand(200)), rng.randint(0, 3, 200), np.ones(200)]
    X[0, 0], X[1, :3], empty = 1e6, np.nan, np.full((200, 1), np.nan)
    columns = ContinuousColumns(np.hstack([X, empty]))
    found = columns.transform(np.hstack([X, empty]), rng)
    np.testing.assert_array_equal(found[2:, 0], X[2:, 0])  # as they are
    assert 5.0 < found[0, 0] < 25.0
    assert np.isnan(found[1, :3]).all() and np.isnan(found[:, 4]).all() and (found[:, 3] == 1.0).all()
    for d in (1, 2):
        scores = found[~np.isnan(X[:, d]), d]
        assert stats.kstest(scores, "norm").pvalue > 0.05
        values = X[~np.isnan(X[:, d]), d]
        assert all(scores[values == low].max() < scores[values > low].min() for low in np.unique(values)[:-1])
    further = columns.transform(np.array([[0.5, 0.0, -1.0, 3.0, 2.0], [0.5, 9.0, 1.5, 3.0, np.nan]]), rng)
    assert np.abs(further[0, 1]) < 1.0 and further[1, 1] == further[:, 1].max() and np.isfinite(further[:, :3]).all()
    assert further[0, 2] < -2.0 and 0.0 < further[1, 2] < 1.0  # below all values, and between two


def test_logarithms_are_chosen_where_they_fit_clearly_better():
    rng = np.random.RandomState(0)
    y = rng.randint(5, size=600) == 0
    X = np.c_[np.exp(0.8 * rng.randn(600)), 10.0 + 6.0 * y + rng.randn(600), rng.randn(600) + 50.0, rng.rand(600) + 1.0]
    assert find_log_normal(X).tolist() == [True, False, False, False]
    model = VaDEClustering(1, max_iter=0, random_state=0).fit(X)
    assert model.likelihood_ == ("log_normal", "gaussian", "gaussian", "gaussian")
    with pytest.warns(
        UserWarning, match=r"1 of 1 samples have log-density -inf.* exclude their values: 0 \(log_normal"
    ):
        assert np.isneginf(model.score_samples(np.array([[0.0, 10.0, 50.0, 1.0]])))
    logs = X.copy()
    logs[:, 0] = np.log(X[:, 0])
    plain = VaDEClustering(1, max_iter=0, likelihood="gaussian", random_state=0).fit(logs)
    np.testing.assert_allclose(model.score_samples(X), plain.score_samples(logs) - logs[:, 0], atol=1e-5)


def test_heavy_tails_are_chosen_where_asinh_fits_clearly_better(tmp_path):
    rng = np.random.RandomState(0)
    y = rng.randint(2, size=600)
    tails, normals, lopsided = y + rng.standard_t(2.5, 600), rng.randn(600) * (1.0 + 2.0 * y), rng.rand(600) ** 4
    X = np.c_[tails, normals, 8.0 * y + rng.randn(600), lopsided, np.round(tails / 4.0), np.repeat(0.0, 600)]
    assert find_heavy_tails(X).tolist() == [True] + [False] * 5
    X[::9, 0] = np.nan
    model = VaDEClustering(2, max_iter=0, max_subcomponents=1, random_state=0).fit(X[:, :3])
    assert model.likelihood_ == ("johnson_su", "gaussian", "gaussian")
    assert adjusted_rand_score(y, model.labels_) > 0.98
    options = {"max_iter": 0, "max_subcomponents": 1, "random_state": 0}
    plain = VaDEClustering(2, likelihood="gaussian", **options).fit(X[:, :3])
    fresh = np.c_[y + rng.standard_t(2.5, 600), X[:, 1:3]]
    assert model.score(fresh) > plain.score(fresh) + 0.1
    model.save(tmp_path / "model")
    loaded = VaDEClustering.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.score_samples(X[:, :3]), model.score_samples(X[:, :3]))
    np.testing.assert_array_equal(loaded.sample(9, random_state=0)[0], model.sample(9, random_state=0)[0])
    assert np.isfinite(model.impute(X[:, :3])).all()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"likelihood": {"age": "poisson"}}, "needs whole numbers from 0 on; feature 'age' has fractional values"),
        ({"likelihood": {"height": "gaussian"}}, "likelihood names an unknown feature, 'height'"),
        ({"likelihood": ["gaussian"]}, "has 1 entries for 6 features"),
        ({"likelihood": {"age": "gamma"}}, "got 'gamma'"),
        ({"likelihood": {"city": "gaussian"}}, "is categorical, and its likelihood cannot be 'gaussian'"),
        ({"categorical_features": None}, r"not numbers: 'city' \(.*'grade' \(category\).*Drop them"),
        ({"categorical_features": ["towns"]}, "categorical_features names an unknown feature, 'towns'"),
        ({"categorical_features": [True]}, "has 1 booleans for 6 features"),
    ],
)
def test_what_does_not_fit_is_named(parameters, message):
    frame, _ = make_table(np.random.RandomState(0), 60)
    with pytest.raises(ValueError, match=message):
        VaDEClustering(2, max_iter=0, **parameters).fit(frame)


def test_columns_with_too_many_categories_are_refused():
    frame = pd.DataFrame({"name": [f"person {i}" for i in range(300)], "age": np.arange(300.0)})
    with pytest.raises(ValueError, match="'name' has 300 categories, and at most 255"):
        VaDEClustering(2).fit(frame)


@pytest.mark.parametrize(
    ("column", "kind", "example"),
    [
        ([f"{40 + n / 4:g} kg" for n in range(300)], "numbers", "40 kg"),
        ([str(day) for day in np.datetime64("2020-01-01") + np.arange(300)], "dates", "2020-01-01"),
        ([f"{10 + n % 40}{'ABCDEF'[n % 6]}" for n in range(300)], None, ""),  # seats
        ([f"{10 + n % 90}A" for n in range(300)], None, ""),
        ([f"{n % 30}.{n % 40}.20" for n in range(300)], None, ""),  # versions
    ],
)
def test_strings_of_numbers_with_units_and_of_dates_are_named(column, kind, example):
    frame = pd.DataFrame({"x": column, "age": np.random.RandomState(0).randn(300)})
    some, options = frame.assign(x=column[:100] * 3), {"max_iter": 0, "random_state": 0}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        VaDEClustering(2, **options).fit(some)
    found = [str(warning.message) for warning in caught]
    if kind is None:
        assert not found
        return
    assert len(found) == 1
    assert f"{kind}" in found[0] and f"written as strings: 'x' (such as '{example}')" in found[0]
    with pytest.raises(ValueError, match=f"Most are {kind} written as strings, such as '"):
        VaDEClustering(2).fit(frame)


def test_columns_without_any_known_category_are_named():
    rng = np.random.RandomState(0)
    frame = pd.DataFrame({"is_old": rng.rand(60) < 0.5, "town": rng.choice(["Bern", "Chur"], 60), "x": rng.randn(60)})
    model = VaDEClustering(2, max_iter=0, random_state=0).fit(frame)
    message = r"categorical column 'is_old', such as 'yes', is among the categories of fit, such as False, True: all"
    with pytest.warns(UserWarning, match=message) as caught:
        model.predict(frame.assign(is_old="yes", town=["Bern", "Basel"] * 30))
    with pytest.warns(UserWarning, match="categorical column 'town', such as '(bern|chur)', is among"):
        model.predict(frame.assign(town=frame["town"].str.lower()))
    assert len(caught) == 1 and caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(frame.assign(town="Basel"))  # a single new category
        model.predict(frame.assign(town=None))


def test_dates_in_objects_are_dates():
    days = pd.date_range("2020-01-01", periods=60)
    for column in (days.date, days.to_period("D")):
        with pytest.raises(ValueError, match=r"dates, durations or intervals: 'day' .* days since the first"):
            VaDEClustering(2).fit(pd.DataFrame({"day": column, "x": np.arange(60.0)}))


def test_frames_lost_in_a_pipeline_are_told_of():
    frame = pd.DataFrame({"town": ["Bern", "Chur"] * 30, "x": np.random.RandomState(0).randn(60)})
    scaled = make_column_transformer((StandardScaler(), ["x"]), remainder="passthrough")
    with pytest.raises(ValueError, match=r"to float: 'Bern'.*set_output\(transform='pandas'\)"):
        make_pipeline(scaled, VaDEClustering(2)).fit(frame)
    model = VaDEClustering(2, categorical_features=["remainder__town"], max_iter=0, random_state=0)
    with pytest.raises(ValueError, match=r"and no names: fit to a DataFrame, .*set_output\(transform='pandas'\)"):
        make_pipeline(scaled, model).fit(frame)
    pipeline = make_pipeline(scaled, model).set_output(transform="pandas").fit(frame)
    assert pipeline[-1].likelihood_ == ("gaussian", "categorical")


def test_numbers_that_are_written_as_strings_are_named():
    rng = np.random.RandomState(0)
    shares = rng.randint(1, 60, 300)
    frame = pd.DataFrame({"share": ["?", *(f"{n}.5 %" for n in shares[1:])], "zip": [f"0{n:04}" for n in shares]})
    frame["age"] = rng.randn(300)
    with pytest.warns(
        UserWarning, match=r"numbers that are written as strings: 'share' \(such as '1.5 %'\)\. As"
    ) as caught:
        VaDEClustering(2, max_iter=0, random_state=0).fit(frame)
    assert len(caught) == 1 and caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        VaDEClustering(2, max_iter=0, random_state=0).fit(frame.astype({"share": "category"}))
    frame["share"] = [f"{n:,.2f}" for n in 1000.0 + np.arange(300)]
    with pytest.raises(ValueError, match="Most are numbers written as strings, such as '1,000.00': remove signs"):
        VaDEClustering(2).fit(frame)


def test_zero_inflated_columns_are_named():
    rng = np.random.RandomState(0)
    frame = pd.DataFrame({"rain": np.where(rng.rand(100) < 0.4, 0.0, rng.randn(100) ** 2), "heat": rng.randn(100)})
    with pytest.warns(UserWarning, match=r"zero in many samples: 'rain' \(4\d%\)\. .* NaN in place of zero") as caught:
        VaDEClustering(2, max_iter=0, random_state=0).fit(frame)
    assert caught[0].filename == __file__
    apart = pd.DataFrame({"dry": frame["rain"] == 0.0, "rain": frame["rain"].where(frame["rain"] > 0.0)})
    assert np.isfinite(VaDEClustering(2, max_iter=0, random_state=0).fit(apart).score(apart))


def test_precisions_name_columns_without_variance():
    frame = pd.DataFrame({"age": np.random.RandomState(0).randn(60), "country": "US"})
    model = VaDEClustering(2, max_iter=0, random_state=0).fit(frame)
    for name in ("precisions_", "precisions_cholesky_"):
        with pytest.raises(np.linalg.LinAlgError, match="no inverse; drop columns that are constant: 'country'"):
            getattr(model, name)


def test_numberings_and_copies_are_named():
    rng = np.random.RandomState(0)
    frame = pd.DataFrame({"id": rng.permutation(400)[:250], "cm": rng.randn(250) + 170.0, "kg": rng.randn(250)})
    frame = frame.assign(day=86_400.0 * np.where(np.arange(250) % 9 == 0, np.nan, np.arange(250)))
    with pytest.warns(UserWarning, match="different and leave few gaps: 'id', 'day'. If they only number") as caught:
        VaDEClustering(2, max_iter=0, random_state=0).fit(frame)
    assert len(caught) == 1
    frame = frame.assign(inches=-frame["cm"].mask(rng.rand(250) < 0.2) / 2.54, id=rng.randint(0, 400, 250))
    frame = frame.drop(columns="day")
    with pytest.warns(UserWarning, match="copies of others, but for their units: 'inches' .of 'cm'.") as caught:
        VaDEClustering(2, max_iter=0, random_state=0).fit(frame)
    assert len(caught) == 1
    prices = pd.DataFrame({"age": rng.randn(250), "euros": np.exp(rng.randn(250))}).assign(
        cents=lambda f: 100 * f.euros
    )
    with pytest.warns(UserWarning, match="copies of others, but for their units: 'cents'"):
        assert VaDEClustering(2, max_iter=0, random_state=0).fit(prices).likelihood_[1] == "log_normal"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        VaDEClustering(2, max_iter=0, random_state=0).fit(frame[["id", "cm", "kg"]])


def test_columns_of_few_whole_numbers_are_named_unless_many_are():
    rng = np.random.RandomState(0)
    cigarettes = np.where(rng.rand(200) < 0.2, 5 * rng.randint(1, 5, 200), 0)
    frame = pd.DataFrame({"cigarettes": cigarettes, "age": rng.randn(200), "weight": rng.randn(200)})
    with pytest.warns(UserWarning, match=r"zero in most samples: 'cigarettes' \(8\d%\)\. .* 'negative_binomial'; if"):
        VaDEClustering(2, max_iter=0, random_state=0).fit(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        VaDEClustering(2, max_iter=0, likelihood={"cigarettes": "negative_binomial"}, random_state=0).fit(frame)
        pixels = rng.poisson(0.2, (200, 6)).astype(float)
        VaDEClustering(2, max_iter=0, random_state=0).fit(pixels)


def test_codes_are_named():
    rng = np.random.RandomState(0)
    X = np.c_[rng.randn(200), rng.randn(200), rng.randint(0, 30, 200)]
    X[:8, 1], X[8, 1], X[9:11, 0] = 999.0, -4e3, 1e3  # a code, one wild value, two
    with pytest.warns(UserWarning, match=r"many samples share: 'feature_1' \(999\)\..* replace them by NaN") as caught:
        VaDEClustering(2, max_iter=0, random_state=0).fit(pd.DataFrame(X).add_prefix("feature_"))
    (of_codes,) = (warning for warning in caught if "999" in str(warning.message))
    assert of_codes.filename == __file__


@pytest.mark.filterwarnings("ignore:X has values far:UserWarning")
def test_codes_do_not_hide_groups_of_numbers():
    for seed in (1, 2):
        rng = np.random.RandomState(seed)
        y = rng.randint(0, 3, 300)
        X = np.c_[3.5 * y, np.array([10.0, 6.0, 13.0])[y], 0.5 * y] + rng.randn(300, 3)
        X[rng.rand(300) < 0.1, 0] = 999.0
        known = X[:, 0] < 999.0
        model = VaDEClustering(3, max_iter=0, random_state=seed).fit(X)
        assert adjusted_rand_score(y[known], model.labels_[known]) > 0.9


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_components_are_described_by_what_sets_them_apart(estimator):
    rng = np.random.RandomState(0)
    y = rng.randint(2, size=500)
    frame = pd.DataFrame({"same": rng.randn(500), "apart": 6.0 * y + rng.randn(500)})
    frame["city"] = np.where(rng.rand(500) < 0.9, np.array(["Aix", "Bern"])[y], "Cork")
    model = estimator(2, max_iter=0, random_state=0).fit(frame)
    table = pd.DataFrame(model.describe())
    high = int(model.means_[:, 1].argmax())
    mine = table[table["component"] == high].set_index("feature")
    assert list(mine.index) == ["apart", "city", "same"]
    assert abs(mine["typical"]["apart"] - 6.0) < 0.2
    assert abs(mine["spread"]["apart"] - 1.0) < 0.1
    assert abs(mine["rest"]["apart"]) < 0.2
    assert abs(mine["difference"]["apart"] - 6.0) < 0.5
    assert mine["typical"]["city"] == "Bern"
    assert abs(mine["spread"]["city"] - 0.9) < 0.05
    assert mine["rest"]["city"] < 0.05
    assert abs(mine["difference"]["same"]) < 0.3
    assert estimator(1, max_iter=0, random_state=0).fit(frame).describe()["difference"].tolist() == [0.0] * 3


def test_profiles_show_densities_and_shares_of_the_components():
    plt = pytest.importorskip("matplotlib.pyplot")
    from skgmvae.plotting import ComponentProfilesDisplay

    frame, _ = make_table(np.random.RandomState(0))
    model = VaDEClustering(3, max_iter=0, random_state=0).fit(frame)
    display = ComponentProfilesDisplay.from_estimator(model, n_features=4)
    assert [ax.get_title() for ax in display.axes_] == display.names
    assert display.names[0] == "age"
    assert "grade" not in display.names
    bars = display.axes_[display.names.index("city")].patches
    heights = np.array([bar.get_height() for bar in bars]).reshape(3, 3)
    np.testing.assert_allclose(heights.sum(1), 1.0)
    for curve in display.axes_[0].patches[1::2]:
        values, edges, _ = curve.get_data()
        assert abs((values * np.diff(edges)).sum() - 1.0) < 1e-9
    plt.close(display.figure_)


@pytest.mark.filterwarnings("ignore:none of the values of the categorical column")
def test_values_of_other_types_are_new_categories_and_stay_as_they_are():
    rng = np.random.RandomState(0)
    frame = pd.DataFrame({"a": rng.randn(100), "flag": rng.rand(100) < 0.5, "k": rng.randint(3, size=100)})
    model = VaDEClustering(2, likelihood={"k": "categorical"}, max_iter=0, random_state=0).fit(frame)
    assert model.likelihood_ == ("gaussian", "bernoulli", "categorical")
    row = frame.head(1)
    unseen = model.score_samples(row.assign(k=7))
    for k in (0.9, -0.9, "0", "x"):
        np.testing.assert_array_equal(model.score_samples(row.assign(k=k)), unseen)
    with pytest.warns(UserWarning, match="exclude their values: 'flag'"):
        assert model.score_samples(row.assign(flag="True")) != model.score_samples(row.assign(flag=True))
    assert model.impute(row.assign(k="x", a=np.nan))["k"].item() == "x"
    grades = pd.Series(
        np.array(["S", "M", "L"])[frame["k"]], dtype=pd.CategoricalDtype(["S", "M", "L", "XL"], ordered=True)
    )
    model = VaDEClustering(2, max_iter=0, random_state=0).fit(frame.assign(k=grades))
    assert model.sample(5, random_state=0)[0]["k"].dtype == grades.dtype
    constant = VaDEClustering(2, max_iter=0, random_state=0).fit(frame.assign(flag=True))
    assert constant.likelihood_[1] == "bernoulli"


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_flags_alone_have_probabilities_that_sum_to_one(estimator):
    rng = np.random.RandomState(0)
    y = rng.randint(2, size=300)
    flags = pd.DataFrame(rng.rand(300, 6) < np.array([0.15, 0.85])[y][:, None], columns=list("abcdef"))
    model = estimator(2, tol=100.0, random_state=0).fit(flags)
    assert adjusted_rand_score(y, model.labels_) > 0.6
    every = pd.DataFrame(itertools.product([False, True], repeat=6), columns=list("abcdef"))
    assert abs(np.exp(model.score_samples(every)).sum() - 1.0) < 0.02


def test_impossible_values_say_nothing_of_the_component_and_cannot_be_given():
    frame, _ = make_table(np.random.RandomState(0))
    options = {"likelihood": {"visits": "poisson"}, "max_iter": 0, "random_state": 0}
    model = VaDEClustering(3, **options).fit(frame)
    zero = frame.head(5).assign(income=0.0)
    with pytest.warns(UserWarning, match=r"exclude their values: 'income' \(log_normal: values above 0\)"):
        assert np.isneginf(model.score_samples(zero)).all()
    unknown = frame.head(5).assign(income=np.nan)
    np.testing.assert_allclose(model.predict_proba(zero), model.predict_proba(unknown))
    np.testing.assert_allclose(model.transform(zero), model.transform(unknown))
    for given, message in (({"income": -1.0}, "values above 0"), ({"visits": 2.5}, "whole numbers from 0 on")):
        with pytest.raises(ValueError, match=f"given.*needs {message}; got"):
            model.sample(given=given)
    with pytest.raises(ValueError, match="needs whole numbers"):
        model.partial_fit(frame.assign(visits=-1))
    with pytest.raises(ValueError, match="continuous columns only"):
        model.to_onnx("never.onnx")


@pytest.mark.parametrize("covariance_type", ["tied", "diag", "spherical"])
def test_restricted_covariances_beside_categories(covariance_type):
    frame, y = make_table(np.random.RandomState(0))
    model = VaDEClustering(3, covariance_type=covariance_type, tol=100.0, max_iter=5, random_state=0).fit(frame)
    assert adjusted_rand_score(y, model.labels_) > 0.6
    assert np.isfinite(model.score(frame))


@pytest.mark.parametrize("step", [0.01, 1.0, 10.0])
def test_amounts_of_money_are_log_normal_however_they_are_rounded(step):
    rng = np.random.default_rng(0)
    incomes, ages = rng.lognormal(4.7, 0.6, (2000, 1)), rng.normal(40.0, 10.0, (2000, 1)).clip(1.0)
    rounded = step * np.ceil(np.hstack([incomes, ages]) / step)
    assert find_log_normal(rounded).tolist() == [True, False]


def test_warnings_of_excluded_values_point_to_the_callers_line_and_say_what_helps():
    X = np.random.RandomState(0).rand(60, 3)
    model = make_pipeline(MinMaxScaler(), VaDEClustering(1, likelihood="bernoulli", max_iter=0, random_state=0)).fit(X)
    with pytest.warns(UserWarning, match=r"clip the values, as MinMaxScaler\(clip=True\) does") as caught:
        model.score(X + 1.0)
    assert [warning.filename for warning in caught] == [__file__]
