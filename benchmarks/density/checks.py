"""Five checks of the densities: integral, samples, calibration, held-out samples, annealed importance sampling.

    python benchmarks/density/checks.py

appends a JSON line per check, case, model and seed to benchmarks/results/density.jsonl (what is there is skipped) and
writes docs/density.md from them and from benchmarks/results/tables.jsonl, which tables.py writes. --no-fits only writes
the page.
"""

import argparse
import itertools
import math
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import datasets

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment, methods, pages
from benchmarks.common.results import RESULTS, ROOT, Line, append_missing, read_lines
from benchmarks.density import tables
from skgmvae.metrics import expected_calibration_error, score_bias

KEY = ("check", "case", "model", "seed")
MODELS = list(methods.ESTIMATORS)
ALL = "all"
N_DRAWN = 20_000
N_TEST = 5000  # samples for the calibration
WIDTH, N_NODES = 9.0, 181**2  # of the grid: in every direction, in standard deviations; and nodes in all
SHARES = (0.5, 0.9)  # of the probability, in the regions of highest density
BASE = {"latent_dim": 4, "n_components": 4, "max_iter": 100}
CHANGES = [("latent_dim", 2), ("latent_dim", 8), ("latent_dim", 12), ("n_components", 2), ("n_components", 8)]
CHANGES += [("max_iter", 10), ("max_iter", 300)]
LETTERS = {"latent_dim": "L", "n_components": "K", "max_iter": "epochs"}
N_NOISES = 10
N_ANNEALED = 30  # samples whose log p(x) is estimated by annealed importance sampling
COMPARED = ["iris", "wine", "diabetes", "blobs", "moons", "circles", "unequal", "bananas", "log-normal", "s-curve"]
N_ORDER_SEEDS = 2

Maker = Callable[[int, np.random.RandomState], tuple[np.ndarray, np.ndarray]]

INTRODUCTION = """\
`score_samples` returns an estimate of log p(x). This page checks whether it can be used as a log-density. Samples
are standardized, and models are at their defaults unless a table says otherwise. Cases, settings and seeds were
fixed before the results were seen. `benchmarks/density/checks.py` and `benchmarks/density/tables.py` reproduce every
number. To check a model of your own, use [`score_bias`](api.md#metrics),
[`expected_calibration_error`](api.md#metrics) and [`ReliabilityDisplay`](displays.md#calibration)."""
INTEGRAL = f"""\
## Does it integrate to one, and do samples follow it?

In one and two dimensions, exp(`score_samples`) is summed on a grid of ±{WIDTH:g} standard deviations. The regions of
highest density that contain 50 and 90 % of that sum should contain the same shares of {N_DRAWN:,} draws of `sample`.
The standard error of a share is at most 0.4 %. Means over seeds. Shares and integrals that are lower by more than
that, as those of circles, show that the estimate of the density misses some of it."""
CALIBRATION = f"""\
## Are the responsibilities calibrated?

Expected calibration error of `predict_proba` for {N_TEST:,} new samples of simulated mixtures, with components
matched to the true ones; values below .01 are noise. Clusters that differ from the true components count as errors
too. The first two cases are mixtures of normals, which favors the `GaussianMixture`; its settings are chosen by
cross-validation. Mean ± standard deviation over seeds."""
HELD_OUT = """\
## Is it as good as GaussianMixture's?

The three models, at their defaults, are compared with a `GaussianMixture` whose `covariance_type` and `reg_covar`
are chosen by cross-validation, on {n_tables} tables with continuous columns. The best of the three is at least as
good as the `GaussianMixture` on {n_better} of them, and less than .05 nats per sample below it on {n_close} more.
The `GaussianMixture` has the highest mean of all methods on {peer_wins}."""
HELD_OUT_LINK = """\
[Densities of tables](benchmarks/tables.md) has the results on all tables, and compares drawn samples with held-out
ones. [Densities of tables of R's packages](benchmarks/r_densities.md) also has results on tables that were
not used for tuning."""
BIAS = f"""\
## How close is the estimate to log p(x)?

`score` minus an estimate by annealed importance sampling ([`score_bias`](api.md#metrics), 200 temperatures, 16
chains), in nats per sample, ± its standard error, for {N_ANNEALED} held-out samples. The data are a simulated table
of 12 features around curved surfaces. The settings are {{base}} without early stopping, with one of them changed in
each row. The reference is itself slightly too low, and noisy: a difference within two standard errors is not
significant, and a positive difference usually means that the score was closer to log p(x). *sd* is the standard
deviation of the mean score of 200 samples over {N_NOISES} seeds of the points. A bias of exactly zero is that of the
background: it explains all held-out samples better than networks that have overfitted for so many epochs. One fit
each."""
ORDER = f"""\
## Is the order of models kept?

On ten tables, with {N_ORDER_SEEDS} fits each, the three models are ordered by their mean score of {N_ANNEALED}
held-out samples, and by annealed importance sampling (100 temperatures) of the same samples. It tells two models apart
if their difference is more than two standard errors from zero."""


def main(argv: list[str] | None = None) -> int:
    """Measure what is missing, then write the page."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)
    keys = list_keys(arguments.seeds) if arguments.fits else ()
    keys = [key for key in keys if key[0] in arguments.check]
    append_missing(arguments, KEY, keys, lambda check, *key: CHECKS[check](*key))
    arguments.page.write_text(make_page(read_lines(arguments.out), read_lines(arguments.tables)))
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = pages.make_parser(__doc__, name="density", seeds=3, threads=1)
    parser.set_defaults(page=ROOT / "docs" / "density.md")
    parser.add_argument("--tables", type=Path, default=RESULTS / "tables.jsonl", help="results of tables.py")
    parser.add_argument("--check", nargs="+", choices=list(CHECKS), default=list(CHECKS), help="default: all")
    return parser


def list_keys(n_seeds: int) -> Iterator[tuple[Any, ...]]:
    """Check, case, model, and seed of each line; annealing, which takes longest, has one fit per case."""
    for seed in range(n_seeds):
        yield from itertools.product(["integral"], SMALL, MODELS, [seed])
        yield from itertools.product(["calibration"], MIXTURES, [tables.PEER, *MODELS], [seed])
    yield from itertools.product(["bias"], [name_case(), *(name_case(*change) for change in CHANGES)], MODELS, [0])
    yield from itertools.product(["order"], COMPARED, [ALL], range(N_ORDER_SEEDS))


def name_case(parameter: str | None = None, value: int | None = None) -> str:
    """The base settings, or what is changed."""
    return f"{LETTERS[parameter]} = {value}" if parameter else "base"


def make(model: str, n_components: int, seed: int, **settings: Any) -> Any:
    """An unfitted estimator."""
    return methods.ESTIMATORS[model](n_components, random_state=seed, **settings)


# ---------------------------------------------------------------------- integral and samples


def _two_sided(n: int, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    y = rng.randint(0, 2, n)
    return np.where(y, 2.0 + rng.normal(size=n), -rng.gamma(2.0, size=n))[:, None], y


SMALL: dict[str, Maker] = {
    "skewed, 1-D": _two_sided,
    "moons, 2-D": lambda n, rng: datasets.make_moons(n, noise=0.1, random_state=rng),
    "circles, 2-D": lambda n, rng: datasets.make_circles(n, noise=0.06, factor=0.5, random_state=rng),
}


def check_integral(case: str, model: str, seed: int) -> Line:
    """Integral of the density on a grid, and shares of samples in its regions of highest density."""
    X, _ = SMALL[case](600, np.random.RandomState(seed))
    X = (X - X.mean(0)) / X.std(0)
    estimator = methods.fit(make(model, 2, seed), X)
    axis = np.linspace(-WIDTH, WIDTH, round(N_NODES ** (1.0 / X.shape[1])))
    grid = np.stack(np.meshgrid(*[axis] * X.shape[1]), -1).reshape(-1, X.shape[1])
    scores = estimator.score_samples(grid)
    mass = np.exp(scores) * (axis[1] - axis[0]) ** X.shape[1]
    of_draws = estimator.score_samples(estimator.sample(N_DRAWN)[0])
    order = np.argsort(-scores)
    bounds = scores[order][np.searchsorted(mass[order].cumsum(), np.array(SHARES) * mass.sum())]
    shares = [float((of_draws > bound).mean()) for bound in bounds]
    return {"integral": float(mass.sum()), "shares": shares}


# ------------------------------------------------------------------------------- calibration


def _overlapping(n: int, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    y, centers = rng.randint(0, 3, n), 2.2 * np.eye(3, 4)
    return centers[y] + rng.normal(size=(n, 4)) * np.array([0.7, 1.0, 1.3])[y, None], y


def _unequal(n: int, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    y, centers = rng.choice(3, n, p=[0.8, 0.15, 0.05]), np.array([[0.0, 0.0], [2.5, 0.0], [0.0, 3.0]])
    return centers[y] + rng.normal(size=(n, 2)) * np.array([1.0, 0.8, 0.6])[y, None], y


def _curved(n: int, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    X, y = rng.normal(size=(n, 4)), rng.randint(0, 2, n)
    X[:, 1] = 0.4 * X[:, 1] + 0.8 * X[:, 0] ** 2 * (1 - 2 * y) + 2.0 * y
    X[:, 0] += 1.2 * y
    return X, y


MIXTURES: dict[str, Maker] = {"overlapping normals": _overlapping, "unequal normals": _unequal, "curved": _curved}


def check_calibration(case: str, model: str, seed: int) -> Line:
    """Expected calibration error for new samples."""
    rng = np.random.RandomState(seed)
    (X, _), (X_new, y_new) = MIXTURES[case](1000, rng), MIXTURES[case](N_TEST, rng)
    K, mean, scale = len(np.unique(y_new)), X.mean(0), X.std(0)
    X, X_new = (X - mean) / scale, (X_new - mean) / scale
    fitted = tables.fit_mixture(X, K, seed) if model == tables.PEER else methods.fit(make(model, K, seed), X)
    return {"error": expected_calibration_error(y_new, fitted.predict_proba(X_new))}


# ------------------------------------------------------------------------------------ annealing


def make_curved_table(n: int, rng: np.random.RandomState) -> np.ndarray:
    """Samples (n, 12) near curved surfaces of four dimensions, in four groups."""
    z, y = rng.normal(size=(n, 4)), rng.randint(0, 4, n)
    weights, centers = rng.normal(size=(4, 12)), 1.5 * rng.normal(size=(4, 12))
    X = centers[y] + np.sin(1.5 * z @ weights) + 0.5 * z @ rng.normal(size=(4, 12)) + 0.2 * rng.normal(size=(n, 12))
    return (X - X.mean(0)) / X.std(0)


def check_bias(case: str, model: str, seed: int) -> Line:
    """Bias of the score against annealed importance sampling, and its standard deviation over seeds of the points."""
    X = make_curved_table(900, np.random.RandomState(seed))
    settings = dict(BASE)
    for parameter, value in CHANGES:
        if case == name_case(parameter, value):
            settings[parameter] = value
    estimator = make(model, seed=seed, early_stopping=False, **settings)
    methods.fit(estimator, X[:600])
    bias = score_bias(estimator, X[-N_ANNEALED:], random_state=seed)
    kept, scores = estimator._noise_seed, []
    for noise in range(N_NOISES):
        estimator._noise_seed = noise
        scores.append(estimator.score(X[600:800]))
    estimator._noise_seed = kept
    return {"bias": bias.mean, "standard_error": bias.standard_error, "sd": statistics.stdev(scores)}


def check_order(case: str, model: str, seed: int) -> Line:
    """Mean score and log p(x) by annealing, of the same samples, of each model."""
    data = tables.split(case, seed)
    rows = data.test[:N_ANNEALED]
    scores, annealed = {}, {}
    for name in MODELS:
        estimator = methods.fit(make(name, data.n_classes, seed), data.train)
        values = estimator.score_samples(rows)
        bias = score_bias(estimator, rows, n_temperatures=100, random_state=seed)
        scores[name], annealed[name] = float(values.mean()), (values - bias.per_sample).tolist()
    return {"scores": scores, "annealed": annealed}


CHECKS: dict[str, Callable[[str, str, int], Line]] = {
    "integral": check_integral,
    "calibration": check_calibration,
    "bias": check_bias,
    "order": check_order,
}


def compare_orders(line: Line) -> Iterator[bool]:
    """Of the pairs of models that annealing tells apart, whether the scores order them in the same way."""
    for one, other in itertools.combinations(MODELS, 2):
        gain = np.subtract(line["annealed"][one], line["annealed"][other])
        if abs(gain.mean()) > 2.0 * gain.std(ddof=1) / np.sqrt(len(gain)):
            yield (line["scores"][one] > line["scores"][other]) == (gain.mean() > 0.0)


# ------------------------------------------------------------------------------------ page


def make_page(lines: Sequence[Line], table_lines: Sequence[Line]) -> str:
    """docs/density.md; a check without results is left out."""
    of = {check: [line for line in lines if line["check"] == check] for check in CHECKS}
    names = [tables.PEER, *MODELS]
    header = ["", *(f"{model}: {figure}" for model in MODELS for figure in ("bias", "sd"))]
    base = ", ".join(f"{LETTERS[name]} = {value}" for name, value in BASE.items())
    sections = {
        INTEGRAL: of["integral"]
        and pages.format_table(["", "model", "integral", "50 %", "90 %"], integrals(of["integral"])),
        CALIBRATION: of["calibration"] and pages.format_table(["", *names], calibrations(of["calibration"], names)),
        HELD_OUT.format(**count_tables(tables.group(table_lines))): table_lines and HELD_OUT_LINK,
        BIAS.format(base=base): of["bias"] and pages.format_table(header, biases(of["bias"])),
        ORDER: of["order"] and describe_order(of["order"]),
    }
    parts = [part for title, content in sections.items() if content for part in (title, content)]
    return pages.make_page(__file__, "Is it a density?", INTRODUCTION, *parts, lines=lines)


def integrals(lines: Sequence[Line]) -> Iterator[list[Any]]:
    """A row per case and model."""
    for case, model in itertools.product(SMALL, MODELS):
        runs = [line for line in lines if (line["case"], line["model"]) == (case, model)]
        if runs:
            shares = np.mean([run["shares"] for run in runs], axis=0)
            integral = statistics.fmean(run["integral"] for run in runs)
            yield [case, model, f"{integral:.3f}", *(f"{100 * share:.1f} %" for share in shares)]


def calibrations(lines: Sequence[Line], names: Sequence[str]) -> Iterator[list[Any]]:
    """A row per case."""
    for case in MIXTURES:
        errors = [[x["error"] for x in lines if (x["case"], x["model"]) == (case, name)] for name in names]
        if all(errors):
            yield [case, *(pages.mean_and_sd(values, 3) for values in errors)]


def biases(lines: Sequence[Line]) -> Iterator[list[Any]]:
    """A row per case."""
    for case in dict.fromkeys(line["case"] for line in lines):
        runs = {line["model"]: line for line in lines if line["case"] == case}
        if all(model in runs for model in MODELS):
            figures = [
                (f"{x['bias']:+.3f} ± {x['standard_error']:.3f}", f"{x['sd']:.4f}") for x in map(runs.get, MODELS) if x
            ]
            yield [case, *itertools.chain.from_iterable(figures)]


def describe_order(lines: Sequence[Line]) -> str:
    """How often the order is kept."""
    kept = [list(compare_orders(line)) for line in lines]
    pairs = [fine for each in kept for fine in each]
    n_pairs = len(lines) * math.comb(len(MODELS), 2)
    changed = [f"{line['case']} (seed {line['seed']})" for line, fine in zip(lines, kept, strict=True) if not all(fine)]
    where = f" It is not on {', '.join(changed)}." if changed else ""
    return (
        f"Of {n_pairs} pairs of models, annealed importance sampling tells {len(pairs)} apart; the scores order "
        f"{sum(pairs)} of these in the same way.{where}"
    )


def count_tables(groups: tables.Groups) -> dict[str, Any]:
    """How many tables are won, and where the GaussianMixture wins."""
    gains, winners = {}, {}
    for name, runs in groups.items():
        if name not in tables.DISCRETE:
            means = {m: statistics.fmean(run["score"] for run in of) for m, of in runs.items()}
            gains[name] = max(means[m] for m in MODELS) - means[tables.PEER]
            winners[name] = max(means, key=means.__getitem__)
    lost = [name for name, winner in winners.items() if winner == tables.PEER]
    return {
        "n_tables": len(gains),
        "n_better": sum(gain >= 0.0 for gain in gains.values()),
        "n_close": sum(-0.05 <= gain < 0.0 for gain in gains.values()),
        "peer_wins": ", ".join(lost) or "none",
    }


if __name__ == "__main__":
    sys.exit(main())
