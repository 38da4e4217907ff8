"""``python -m skgmvae``: cluster images and compare with GaussianMixture and KMeans."""

import argparse
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae._base import DeepMixture
from skgmvae.data.arrays import Array
from skgmvae.datasets import load_idx
from skgmvae.metrics import clustering_accuracy
from skgmvae.plotting import ComponentSamplesDisplay

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ESTIMATORS: dict[str, type[DeepMixture]] = {
    "gmvae": GMVAEClustering,
    "vade": VaDEClustering,
    "vaeem": VAEEMClustering,
}
MAX_GMM_FEATURES = 100  # a full covariance of more is unaffordable
# of a GaussianMixture of standardized samples; its default, the first, is often far too small
REG_COVARS = [1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 0.3]


class Data(NamedTuple):
    """Training samples, held-out samples, and the map from samples to pixels."""

    name: str
    train: Array
    train_labels: Array
    held_out: Array
    to_pixels: Callable[[Array], Array] | None
    are_images: bool

    @property
    def side(self) -> int | None:
        """Side of square images, in pixels; None for others."""
        side = math.isqrt(self.train.shape[1])
        return side if side**2 == self.train.shape[1] else None


class Result(NamedTuple):
    """One line of the table; ``score`` is None if there is no likelihood in the units of the data."""

    method: str
    accuracy: float
    ari: float
    nmi: float
    score: float | None
    seconds: float


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return the exit status."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    try:
        check_out(arguments.out)
        data = load(arguments.data)
        check_n_components(arguments.n_components, data)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    estimators = make_estimators(arguments, data)
    baselines = make_baselines(arguments, n_features=data.train.shape[1])
    print_table([fit_and_measure(name, method, data) for name, method in (estimators | baselines).items()], data)
    draw(estimators, data, arguments.out)
    return 0


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m skgmvae", description=__doc__.split(": ", 1)[1].strip())
    add = parser.add_argument
    add("--data", metavar="FOLDER", help="folder of IDX files such as MNIST's; default: scikit-learn's bundled digits")
    add("--estimator", choices=[*ESTIMATORS, "all"], default="all", help="default: %(default)s")
    add("--n-components", type=int, default=10, metavar="K", help="number of clusters; default: %(default)s")
    add("--seed", type=seed, default=0, help="random state of every method; default: %(default)s")
    add("--out", type=Path, default=Path("skgmvae_samples.png"), metavar="PNG", help="figure; default: %(default)s")
    return parser


def seed(text: str) -> int:
    """Type of a seed that scikit-learn accepts."""
    if not 0 <= int(text) < 2**32:
        raise argparse.ArgumentTypeError(f"must lie between 0 and 2**32 - 1, got {text}")
    return int(text)


def check_out(path: Path) -> None:
    """Raise before fitting if the figure could not be written afterwards."""
    folder = path.absolute().parent
    if path.is_dir():
        raise OSError(f"--out {path} is a folder; pass the path of a file in it")
    if not folder.is_dir():
        raise OSError(f"--out {path}: there is no folder {folder}; create it or choose another file")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise OSError(f"--out {path} cannot be written; choose another file")


def check_n_components(n_components: int, data: Data) -> None:
    """Raise unless 1 <= K <= N / 2: the folds of the cross-validation have fewer samples."""
    N = len(data.train)
    if not 1 <= n_components <= N // 2:
        raise ValueError(f"--n-components must lie between 1 and {N // 2}, half of the samples, got {n_components}")


def load(folder: str | None) -> Data:
    """The bundled digits, or a folder of IDX files."""
    return load_bundled_digits() if folder is None else load_images(folder)


def load_bundled_digits() -> Data:
    """Standardized digits, with a fifth held out."""
    X, y = load_digits(return_X_y=True)
    train, held_out, train_labels, _ = train_test_split(X, y, test_size=0.2, random_state=0, stratify=y)
    scaler = StandardScaler().fit(train)

    def to_pixels(rows: Array) -> Array:
        pixels: Array = scaler.inverse_transform(rows).clip(0, X.max())
        return pixels

    return Data(
        "digits", scaler.transform(train), train_labels, scaler.transform(held_out), to_pixels, are_images=False
    )


def load_images(folder: str) -> Data:
    """Training and test split of a folder of IDX files, pixels in [0, 1]."""
    (train, labels), (held_out, _) = (load_idx(folder, split=split) for split in ("train", "test"))
    return Data(Path(folder).resolve().name, train, labels, held_out, None, are_images=True)


def make_estimators(arguments: argparse.Namespace, data: Data) -> dict[str, DeepMixture]:
    """The selected estimators of this package, by class name."""
    names = ESTIMATORS if arguments.estimator == "all" else [arguments.estimator]
    settings: dict[str, Any] = {"random_state": arguments.seed, "verbose": 1}
    classes = [ESTIMATORS[name] for name in names]
    if data.are_images:
        settings["image_shape"] = None if data.side is None else (1, data.side, data.side)
    makers = [estimator.for_images if data.are_images else estimator for estimator in classes]
    estimators = [make(arguments.n_components, **settings) for make in makers]
    return {type(estimator).__name__: estimator for estimator in estimators}


def make_baselines(arguments: argparse.Namespace, n_features: int) -> dict[str, Any]:
    """The baselines from scikit-learn; ``reg_covar`` of GaussianMixture is chosen by cross-validation."""
    K, seed = arguments.n_components, arguments.seed
    folds = KFold(3, shuffle=True, random_state=seed)
    mixture = GridSearchCV(GaussianMixture(K, random_state=seed), {"reg_covar": REG_COVARS}, cv=folds, n_jobs=-1)
    kmeans = KMeans(K, n_init=10, random_state=seed)
    if n_features <= MAX_GMM_FEATURES:
        return {"GaussianMixture": mixture, "KMeans": kmeans}
    return {"PCA + GaussianMixture": make_pipeline(PCA(20, random_state=seed), mixture), "KMeans": kmeans}


def fit_and_measure(name: str, method: Any, data: Data) -> Result:
    """Fit, and compare the clusters with the known classes."""
    print(f"{name}: fitting {len(data.train):,} samples", file=sys.stderr, flush=True)
    start = time.perf_counter()
    with warnings.catch_warnings():
        # a fit that has stopped early is compared as it is
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted, y = method.fit(data.train), data.train_labels
        labels = fitted.labels_ if hasattr(fitted, "labels_") else fitted.predict(data.train)
    return Result(
        method=name,
        seconds=time.perf_counter() - start,
        accuracy=clustering_accuracy(y, labels),
        ari=adjusted_rand_score(y, labels),
        nmi=normalized_mutual_info_score(y, labels),
        score=held_out_score(method, data.held_out),
    )


def held_out_score(method: Any, held_out: Array) -> float | None:
    """Mean log-likelihood of the held-out samples, or None."""
    # the density of a pipeline is that of the projected samples, in other units
    has_density = hasattr(method, "score_samples") and not isinstance(method, Pipeline)
    return float(method.score(held_out)) if has_density else None


def print_table(results: Sequence[Result], data: Data) -> None:
    """Print accuracy, ARI and NMI of the training samples, the log-likelihood of those held out, and what is best."""
    width = max(len(result.method) for result in results)
    n_train, n_held_out = len(data.train), len(data.held_out)
    print(f"\n{data.name}: {n_train:,} samples clustered, {n_held_out:,} held out for the log-likelihood\n")
    print(f"{'method':<{width}}  accuracy    ARI    NMI  mean log-likelihood  seconds")
    for method, accuracy, ari, nmi, score, seconds in results:
        shown = "–" if score is None else f"{score:,.1f}"
        print(f"{method:<{width}}  {accuracy:8.3f}  {ari:5.3f}  {nmi:5.3f}  {shown:>19}  {seconds:7.1f}")
    columns: dict[str, Callable[[Result], float]] = {
        "accuracy": lambda result: result.accuracy,
        "ARI": lambda result: result.ari,
        "NMI": lambda result: result.nmi,
        "log-likelihood": lambda result: -math.inf if result.score is None else result.score,
        "seconds": lambda result: -result.seconds,
    }
    print("\nbest:", ", ".join(f"{name} {max(results, key=value).method}" for name, value in columns.items()))
    if not data.are_images:
        print("pixels are integers: densities have no upper bound, and few samples decide their mean log-likelihood")


def draw(estimators: Mapping[str, DeepMixture], data: Data, out: Path) -> None:
    """Write the figure, or print why there is none."""
    if data.side is None:
        print(f"\nno figure: {data.train.shape[1]} pixels are not a square image", file=sys.stderr)
        return
    try:
        figure = make_figure(estimators, data)
    except ImportError:
        print("\nno figure: it needs matplotlib; install it with: pip install 'skgmvae[plot]'", file=sys.stderr)
        return
    figure.savefig(out, format="png", dpi=150)
    print(f"\nsamples per component: {out}")


def make_figure(estimators: Mapping[str, DeepMixture], data: Data) -> "Figure":
    """The components of every estimator, side by side."""
    from matplotlib.figure import Figure

    K = max(len(estimator.weights_) for estimator in estimators.values())
    figure = Figure(figsize=(6 * len(estimators), 0.55 * K + 0.5), layout="constrained")
    axes = figure.subplots(1, len(estimators), squeeze=False)[0]
    for ax, (name, estimator) in zip(axes, estimators.items(), strict=True):
        ComponentSamplesDisplay.from_estimator(estimator, inverse_transform=data.to_pixels, random_state=0, ax=ax)
        ax.set_title(name)
    return figure


if __name__ == "__main__":
    sys.exit(main())
