"""Held-out log-likelihood and samples of the models at their defaults, beside a GaussianMixture chosen by CV.

    python benchmarks/density/tables.py

appends a JSON line per table, method and seed to benchmarks/results/tables.jsonl (what is there is skipped) and writes
docs/benchmarks/tables.md from them. --no-fits only writes the page. The tables penguins and autompg need the packages
palmerpenguins and mlxtend.
"""

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import ks_2samp
from sklearn import datasets
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import adjusted_rand_score, roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict, train_test_split
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment, methods, pages
from benchmarks.common.results import Line, append_missing, read_lines
from skgmvae import VaDEClustering

PEER = "GaussianMixture"
METHODS = (PEER, *methods.ESTIMATORS)
LARGER = "larger mixture"  # a GaussianMixture of more components, as many as are best
COMPARED = (PEER, LARGER, *methods.ESTIMATORS)
MULTIPLES = (1, 2, 3, 4, 6, 8)  # of the number of classes
LEAST_SAMPLES = 10  # per component
INITIAL = "initial mixture"  # of VaDEClustering, without a training
KEY = ("data", "method", "seed")
GRID = {"covariance_type": ["full", "tied", "diag"], "reg_covar": [1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 0.3]}
N_DRAWN = 5000  # samples for marginals and correlations
DISCRETE = ("digits",)  # of integers, and many of them zero: without a bound
EXPLANATION = f"""\
Seventeen tables, each split at random into 70 % for the fit and 30 % held out, stratified by class and standardized
by the samples of the fit. All methods are given the number of classes as their number of components, but no labels.
The models of this package are at their defaults. The GaussianMixture has `n_init=5` and those `covariance_type` and
`reg_covar`, of {len(GRID["covariance_type"]) * len(GRID["reg_covar"])} combinations, that have the highest score in
5-fold cross-validation. The *larger mixture* is the same, but with as many components as have the highest such score,
up to {MULTIPLES[-1]} per class: a component of our models, too, may consist of up to eight
[Gaussians](../vade.md#subcomponents). Components of the larger mixture are no clusters. Seeds determine split and fit.
They were fixed beforehand, as were the tables and settings of this script. The defaults of the package were tuned on
all of these tables; of autompg, only held-out scores were in sight, when the learning rate of VaDE was chosen.

Densities of columns with few distinct values are unbounded, since a model may concentrate all mass on these values.
The column `sex` of diabetes is therefore left out. Digits, whose pixels are integers, are not counted in the mean."""
SCORES = """\
## Held-out log-likelihood

Nats per standardized sample, mean ± standard deviation over seeds; higher is better. *Winner* has the highest mean;
*best of ours* is the highest mean of the three models minus that of the GaussianMixture, and *than larger* minus that
of the larger mixture. It is chosen on the held-out samples, which favors ours. Differences that are smaller than the
standard deviations say little."""
TRAINED = """\
### What training contributes

A model remains the Gaussian mixture of its initial clusters unless training clearly improves the score of samples that
are held out of the fit. Share of the fits in which it did; and the score of the initial mixture of VaDEClustering
(`max_iter=0`), minus that of the GaussianMixture. Its gain comes from the initial clusters, the regularization of
covariances, several Gaussians for a cluster that is no ellipse, the heavy-tailed background, and the likelihoods of
skewed columns, not from networks."""
SAMPLES = f"""\
## Samples

Held-out samples are compared with as many draws of `sample` by the area under the ROC curve of a classifier that
tries to tell them apart (HistGradientBoosting, 5-fold cross-validation); .5 is best. They are compared with
{N_DRAWN:,} draws by the mean Kolmogorov–Smirnov distance over features, and by the mean absolute difference of
correlations, which is partly due to the small number of held-out samples. Means ± standard deviations over seeds."""
CLUSTERS = """\
## Clusters

Adjusted Rand index of held-out samples with the classes. For tables without classes, the two halves of a continuous
variable are used as classes."""


class Split(NamedTuple):
    """Standardized samples to fit and held out, labels of the latter, and the number of classes."""

    train: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    n_classes: int


def main(argv: list[str] | None = None) -> int:
    """Fit what is missing, then write the page."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)
    seeds = range(arguments.seeds if arguments.fits else 0)
    keys = ((name, method, seed) for seed, name, method in itertools.product(seeds, arguments.data, arguments.model))
    append_missing(arguments, KEY, keys, measure)
    arguments.page.write_text(make_page(read_lines(arguments.out)))
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = pages.make_parser(__doc__, name="tables", seeds=5, threads=1)
    parser.add_argument("--data", nargs="+", choices=TABLES, default=list(TABLES), metavar="NAME", help="default: all")
    choices = (*COMPARED, INITIAL)
    parser.add_argument("--model", nargs="+", choices=choices, default=choices, help="default: all")
    return parser


# ---------------------------------------------------------------------------------- tables


def split(name: str, seed: int) -> Split:
    """A table, standardized by the training samples; columns that are constant there are left out."""
    return split_samples(*TABLES[name](), seed)


def split_samples(X: np.ndarray, y: np.ndarray, seed: int) -> Split:
    """Samples and their classes, split and standardized as the tables are."""
    train, test, _, labels = train_test_split(X, y, test_size=0.3, random_state=seed, stratify=y)
    varies = train.std(axis=0) > 0.0
    scaler = StandardScaler().fit(train[:, varies])
    return Split(scaler.transform(train[:, varies]), scaler.transform(test[:, varies]), labels, len(np.unique(y)))


def _halve(t: np.ndarray) -> np.ndarray:
    return (t > np.median(t)).astype(int)


def _diabetes() -> tuple[np.ndarray, np.ndarray]:
    X, y = datasets.load_diabetes(return_X_y=True)
    return np.delete(X, 1, axis=1), _halve(y)  # without sex


def _penguins() -> tuple[np.ndarray, np.ndarray]:
    from palmerpenguins import load_penguins

    table = load_penguins()
    columns = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
    table = table[table[columns].notna().all(axis=1)]
    return table[columns].to_numpy(float), table["species"].to_numpy(str)


def _autompg() -> tuple[np.ndarray, np.ndarray]:
    from mlxtend.data import autompg_data

    X, mpg = autompg_data()  # cylinders, displacement, horsepower, weight, acceleration, year, origin
    return np.column_stack([X[:, 1:5], mpg]), X[:, 6].astype(int)


def _heavy_tails() -> tuple[np.ndarray, np.ndarray]:
    rng, n = np.random.RandomState(1000), 600
    y, centers = rng.randint(0, 3, n), rng.normal(0, 4, (3, 4))
    return centers[y] + rng.standard_t(3, (n, 4)), y


def _correlated() -> tuple[np.ndarray, np.ndarray]:
    rng, n, D = np.random.RandomState(1001), 800, 20
    y = rng.randint(0, 3, n)
    factors = [np.linalg.qr(rng.normal(size=(D, D)))[0] * rng.uniform(0.2, 2, D) for _ in range(3)]
    centers = rng.normal(0, 1, (3, D))
    return np.stack([centers[c] + factors[c] @ rng.normal(size=D) for c in y]), y


def _unequal() -> tuple[np.ndarray, np.ndarray]:
    rng, n = np.random.RandomState(1002), 700
    y = rng.choice(3, n, p=[0.8, 0.15, 0.05])
    centers, deviations = np.array([[0, 0, 0], [4, 0, 0], [0, 5, 3.0]]), np.array([1.0, 0.5, 0.3])
    return centers[y] + deviations[y][:, None] * rng.normal(size=(n, 3)), y


def _bananas() -> tuple[np.ndarray, np.ndarray]:
    rng, n = np.random.RandomState(1003), 600
    X, y = rng.normal(size=(n, 6)), rng.randint(0, 2, n)
    X[:, 1] += X[:, 0] ** 2 * (2 * y - 1)
    X[:, 2] += 0.5 * X[:, 3] ** 2
    X[:, 0] += 4 * y
    return X, y


def _lognormal() -> tuple[np.ndarray, np.ndarray]:
    rng, n = np.random.RandomState(1004), 600
    y, centers = rng.randint(0, 3, n), rng.normal(0, 1.2, (3, 5))
    return np.exp(centers[y] + 0.5 * rng.normal(size=(n, 5))), y


def _swiss_roll() -> tuple[np.ndarray, np.ndarray]:
    X, t = datasets.make_swiss_roll(800, noise=0.5, random_state=5)
    return X, _halve(t)


def _s_curve() -> tuple[np.ndarray, np.ndarray]:
    X, t = datasets.make_s_curve(800, noise=0.1, random_state=5)
    return X, _halve(t)


TABLES: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
    "iris": lambda: datasets.load_iris(return_X_y=True),
    "wine": lambda: datasets.load_wine(return_X_y=True),
    "diabetes": _diabetes,
    "breast_cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
    "penguins": _penguins,
    "autompg": _autompg,
    "blobs": lambda: datasets.make_blobs(600, 4, centers=4, random_state=7),
    "moons": lambda: datasets.make_moons(600, noise=0.1, random_state=3),
    "circles": lambda: datasets.make_circles(600, noise=0.06, factor=0.5, random_state=3),
    "heavy tails": _heavy_tails,
    "correlated": _correlated,
    "unequal": _unequal,
    "bananas": _bananas,
    "log-normal": _lognormal,
    "swiss roll": _swiss_roll,
    "s-curve": _s_curve,
    "digits": lambda: datasets.load_digits(return_X_y=True),
}

# --------------------------------------------------------------------------------- figures


def fit_mixture(X: np.ndarray, n_components: int, seed: int) -> GaussianMixture:
    """The GaussianMixture of the grid with the highest score in cross-validation."""
    search = GridSearchCV(GaussianMixture(n_components, random_state=seed), GRID, error_score=-np.inf, refit=False)
    with np.errstate(invalid="ignore"):
        best = search.fit(X).best_params_
    return GaussianMixture(n_components, n_init=5, random_state=seed, **best).fit(X)


def fit_larger(X: np.ndarray, n_classes: int, seed: int) -> GaussianMixture:
    """The same with more components, as many as have the highest score in cross-validation."""
    model = fit_mixture(X, n_classes, seed)
    numbers = [m * n_classes for m in MULTIPLES if m == 1 or m * n_classes * LEAST_SAMPLES <= len(X)]
    search = GridSearchCV(
        clone(model).set_params(n_init=1), {"n_components": numbers}, error_score=-np.inf, refit=False
    )
    with np.errstate(invalid="ignore"):
        return clone(model).set_params(**search.fit(X).best_params_).fit(X)


def fit_method(method: str, data: Split, seed: int) -> Any:
    """A model of this package at its defaults, or the GaussianMixture."""
    if method == PEER:
        return fit_mixture(data.train, data.n_classes, seed)
    if method == LARGER:
        return fit_larger(data.train, data.n_classes, seed)
    if method == INITIAL:
        return VaDEClustering(data.n_classes, max_iter=0, random_state=seed).fit(data.train)
    return methods.fit(methods.ESTIMATORS[method](data.n_classes, random_state=seed), data.train)


def measure(name: str, method: str, seed: int) -> Line:
    """Figures of one fit."""
    data, start = split(name, seed), time.perf_counter()
    model = fit_method(method, data, seed)
    seconds = time.perf_counter() - start
    chosen = {key: getattr(model, key) for key in GRID} if method == PEER else {}
    if method in methods.ESTIMATORS:
        chosen = {"trained": bool(model.best_iter_)}
    return {
        "score": float(model.score(data.test)),
        "ari": float(adjusted_rand_score(data.test_labels, model.predict(data.test))),
        "auc": tell_apart(data.test, model.sample(len(data.test))[0], seed),
        **compare_moments(data.test, model.sample(N_DRAWN)[0]),
        "seconds": seconds,
        **chosen,
    }


def tell_apart(real: np.ndarray, drawn: np.ndarray, seed: int) -> float:
    """Area under the ROC curve of a classifier that tells drawn samples from real ones; .5: it cannot."""
    X, y = np.concatenate([real, drawn]), np.repeat([0, 1], [len(real), len(drawn)])
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    classifier = HistGradientBoostingClassifier(random_state=seed)
    return float(roc_auc_score(y, cross_val_predict(classifier, X, y, cv=folds, method="predict_proba")[:, 1]))


def compare_moments(real: np.ndarray, drawn: np.ndarray) -> dict[str, float]:
    """Distances of marginals and correlations between two samples."""
    distances = [ks_2samp(a, b).statistic for a, b in zip(real.T, drawn.T, strict=True)]
    above = np.triu_indices(real.shape[1], 1)
    with np.errstate(invalid="ignore"):
        difference = np.nan_to_num(np.corrcoef(real.T) - np.corrcoef(drawn.T))[above]
    return {"ks": float(np.mean(distances)), "correlations": float(np.abs(difference).mean())}


# ------------------------------------------------------------------------------------ page


def make_page(lines: Sequence[Line]) -> str:
    """docs/benchmarks/tables.md."""
    groups = group(lines)
    parts = [
        EXPLANATION,
        SCORES,
        pages.format_table(["table", *COMPARED, "best of ours", "than larger", "winner"], score_rows(groups)),
    ]
    trained = list(trained_rows(groups, lines))
    if trained:
        parts += [TRAINED, pages.format_table(["table", *methods.ESTIMATORS, "gain of the initial mixture"], trained)]
    parts += [SAMPLES]
    for figure, digits, title in (("auc", 2, "AUC"), ("ks", 3, "marginals"), ("correlations", 3, "correlations")):
        parts.append(pages.format_table([title, *COMPARED], plain_rows(groups, figure, digits)))
    parts += [CLUSTERS, pages.format_table(["table", *COMPARED], plain_rows(groups, "ari", 2))]
    return pages.make_page(__file__, "Densities of tables", *parts, lines=lines)


Groups = dict[str, dict[str, list[Line]]]


def group(lines: Sequence[Line]) -> Groups:
    """Lines by table and method, of the seeds that all methods have."""
    seeds = {
        name: set.intersection(*({x["seed"] for x in lines if (x["data"], x["method"]) == (name, m)} for m in COMPARED))
        for name in dict.fromkeys(line["data"] for line in lines)
    }
    return {
        name: {m: [x for x in lines if (x["data"], x["method"]) == (name, m) and x["seed"] in of_all] for m in COMPARED}
        for name, of_all in sorted(seeds.items(), key=lambda item: list(TABLES).index(item[0]))
        if of_all
    }


def score_rows(groups: Groups) -> Iterator[list[Any]]:
    """A row per table, and the means over those that count."""
    counted = [name for name in groups if name not in DISCRETE]
    for name, runs in groups.items():
        means = {method: statistics.fmean(run["score"] for run in runs[method]) for method in COMPARED}
        best = max(methods.ESTIMATORS, key=means.__getitem__)
        cells = [pages.mean_and_sd([run["score"] for run in runs[method]], 2) for method in COMPARED]
        differences = [f"{means[best] - means[peer]:+.2f}" for peer in (PEER, LARGER)]
        yield [name, *cells, *differences, max(means, key=means.__getitem__)]
    if counted:
        of_tables = {m: [statistics.fmean(x["score"] for x in groups[name][m]) for name in counted] for m in COMPARED}
        means = {method: statistics.fmean(values) for method, values in of_tables.items()}
        best_of_ours = statistics.fmean(map(max, zip(*(of_tables[m] for m in methods.ESTIMATORS), strict=True)))
        differences = [f"{best_of_ours - means[peer]:+.2f}" for peer in (PEER, LARGER)]
        cells = [f"{means[m]:.2f}" for m in COMPARED]
        yield [f"mean of {len(counted)}", *cells, *differences, max(means, key=means.__getitem__)]


def trained_rows(groups: Groups, lines: Sequence[Line]) -> Iterator[list[Any]]:
    """Share of trained models, and the gain of the initial mixture; a row per table, and their means."""
    columns: list[list[float]] = []
    for name, runs in groups.items():
        initial = [line["score"] for line in lines if (line["data"], line["method"]) == (name, INITIAL)]
        shares = [[run.get("trained") for run in runs[method]] for method in methods.ESTIMATORS]
        if not initial or any(None in of for of in shares):
            continue
        gain = statistics.fmean(initial) - statistics.fmean(run["score"] for run in runs[PEER])
        values = [*map(statistics.fmean, shares), gain]
        yield [name, *(f"{value:.0%}" for value in values[:-1]), f"{gain:+.2f}"]
        columns += [] if name in DISCRETE else [values]
    if columns:
        *means, gain = map(statistics.fmean, zip(*columns, strict=True))
        yield [f"mean of {len(columns)}", *(f"{mean:.0%}" for mean in means), f"{gain:+.2f}"]


def plain_rows(groups: Groups, figure: str, digits: int) -> Iterator[list[Any]]:
    """Mean and standard deviation of a figure, a row per table, and the mean over tables."""
    values = {name: {m: [run[figure] for run in runs[m]] for m in COMPARED} for name, runs in groups.items()}
    for name, of_methods in values.items():
        yield [name, *(pages.mean_and_sd(of_methods[m], digits) for m in COMPARED)]
    if values:
        means = [statistics.fmean(statistics.fmean(of[m]) for of in values.values()) for m in COMPARED]
        yield [f"mean of {len(values)}", *(f"{mean:.{digits}f}" for mean in means)]


if __name__ == "__main__":
    sys.exit(main())
