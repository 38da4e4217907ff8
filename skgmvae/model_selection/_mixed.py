"""Evidence for tables with categories, flags or counts: continuous columns, and mixtures of all columns."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray

from skgmvae.data.arrays import Floats
from skgmvae.initialization.mixed_columns import choose_mixed
from skgmvae.initialization.mixed_samples import MixedSamples, Preparation
from skgmvae.initialization.product_mixture import ProductFit, ProductMixture
from skgmvae.model_selection._partitions import SAMPLES_PER_CLUSTER
from skgmvae.model_selection._reader import draw_rows, standardize

__all__ = ["MixedClusters", "MixedTable", "are_distinct", "find_mixed", "read_mixed", "score_mixed"]

LEAST_SEPARATION = 0.25  # nats: of two normal distributions of equal variance, at a distance of 2.8 deviations
LEAST_DIFFERENCE = 0.1  # nats between the categories of two components: pieces of one cluster have the same


class MixedTable(NamedTuple):
    """Samples as a likelihood of several kinds of columns has them.

    Attributes
    ----------
    samples : MixedSamples
    prepare : Preparation
        What is done to samples.
    reader : VaDEClustering
        A mixture of one component, which knows the categories and scales.
    """

    samples: MixedSamples
    prepare: Preparation
    reader: Any

    @property
    def likelihood(self) -> Any:
        """The likelihood of the columns."""
        return self.samples.likelihood

    @property
    def mixture(self) -> ProductMixture:
        """Of all columns."""
        return ProductMixture(self.samples.drawn, self.likelihood)

    def take(self, rows: NDArray[np.intp]) -> Self:
        """Some of the samples."""
        return self._replace(samples=self.samples.take(rows))

    def read(self, X: Any) -> Self:
        """Further samples of the same columns."""
        points = standardize(self.reader, X)
        return self._replace(samples=self.prepare(points, np.random.RandomState(0)))


def read_mixed(reader: Any, X: Any) -> MixedTable | None:
    """Samples as a mixture has them, if some column has no normal distribution; None for all other tables.

    Parameters
    ----------
    reader : VaDEClustering
        As :func:`fit_reader` returns it.
    X : array-like of shape (N, D)
    """
    likelihood = reader.net_.module_.likelihood
    if not likelihood.n_heads:
        return None
    points = standardize(reader, X)
    prepare = Preparation(points, likelihood)
    return MixedTable(prepare(points, np.random.RandomState(0)), prepare, reader)


class MixedClusters(NamedTuple):
    """What mixtures of all columns say of several numbers of clusters, by the number.

    Attributes
    ----------
    table : MixedTable
        The n samples that the mixtures are fitted to.
    rows : ndarray of shape (n,)
        Their indices.
    labels : dict of int to ndarray of shape (N,)
        The clusters with which the estimator begins, of all samples.
    fits : dict of int to ProductFit
        Mixtures of the best criterion that begin with these.
    """

    table: MixedTable
    rows: NDArray[np.intp]
    labels: dict[int, NDArray[np.intp]]
    fits: dict[int, ProductFit]

    def bic(self) -> dict[int, float]:
        """The Bayesian information criterion."""
        return {K: -2.0 * len(fit.responsibilities) * fit.value for K, fit in self.fits.items()}


@torch.no_grad()
def find_mixed(table: MixedTable, numbers: Sequence[int], random_state: np.random.RandomState) -> MixedClusters:
    """Clusters and mixtures for each number of components."""
    seed = random_state.randint(2**31)
    rows = draw_rows(table.samples.n_samples, np.random.RandomState(seed))
    some, labels, fits = table.take(rows), {}, {}
    mixture = some.mixture
    for K in numbers:
        if K > 1 and table.samples.n_samples < SAMPLES_PER_CLUSTER * K:
            break
        name, found = choose_mixed(table.samples, K, np.random.RandomState(seed))
        labels[K] = found.argmax(1)
        begun = torch.from_numpy(found[rows])
        fits[K] = max((mixture.fit(name, begun, kind) for kind in mixture.kinds), key=lambda fit: fit.value)
    return MixedClusters(some, rows, labels, fits)


@torch.no_grad()
def are_distinct(table: MixedTable, fit: ProductFit, clusters: NDArray[np.intp]) -> bool:
    """Whether all components are apart, and none is a piece of one of the clusters (N,) of the continuous columns.

    Two components are apart if their responsibilities hardly overlap: −log B is the Bhattacharyya distance, in nats.
    Those with the same cluster must also differ in the columns that are not continuous, where it is corrected for the
    noise of estimated parameters. A cluster that is not normal has pieces that differ in continuous columns alone.
    """
    R = fit.responsibilities.numpy()
    N, K = R.shape
    weights = R.mean(0)
    if K == 1:
        return True
    if weights.min() * N < 1.0:
        return False
    pairs = np.triu_indices(K, 1)
    roots = np.sqrt(R)
    overlap = (roots.T @ roots)[pairs] / N / np.sqrt(weights[pairs[0]] * weights[pairs[1]])
    if (-np.log(np.maximum(overlap, np.finfo(np.float64).tiny)) - np.log(2.0)).min() < LEAST_SEPARATION:
        return False
    shares = np.eye(clusters.max() + 1)[clusters].T @ R
    owner = shares.argmax(0)
    together = owner[pairs[0]] == owner[pairs[1]]
    return bool((_differ(table, fit)[together] >= LEAST_DIFFERENCE).all())


def _differ(table: MixedTable, fit: ProductFit) -> Floats:
    """Bhattacharyya distance of the other columns, for each pair of components."""
    mixture, R = table.mixture, fit.responsibilities
    log_prob = mixture.log_prob_of_others(R, mixture.points)
    sizes, (a, b) = R.sum(0), torch.triu_indices(R.shape[1], R.shape[1], 1)
    half = 0.5 * (log_prob[:, b] - log_prob[:, a])
    overlap = (half.exp() * R[:, a]).sum(0) / sizes[a], ((-half).exp() * R[:, b]).sum(0) / sizes[b]
    noise = table.likelihood.n_heads / 8.0 * (1.0 / sizes[a] + 1.0 / sizes[b])
    found: Floats = (-0.5 * (overlap[0].log() + overlap[1].log()) - noise).numpy()
    return found


@torch.no_grad()
def score_mixed(table: MixedTable, fit: ProductFit, further: MixedTable) -> tuple[float, float]:
    """Mean log-likelihood of further samples, in the units of the data, and the same less the entropy of the labels.

    Of columns that are transformed for the mixture, it is that of the transformed values.
    """
    points = further.samples.drawn
    log_joint = table.mixture.log_joint(fit.responsibilities, points, fit.is_diagonal)
    log_prob = torch.logsumexp(log_joint, -1)
    posterior = (log_joint - log_prob.unsqueeze(-1)).exp()
    value = float((log_prob - table.reader.net_.module_.likelihood.log_jacobian(points)).mean())
    return value, value + float(torch.special.xlogy(posterior, posterior).sum(-1).mean())
