"""Simulated data with a known number of clusters, each set from a seed of its own."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from sklearn.datasets import make_blobs, make_moons

from skgmvae.datasets import make_circle_arcs

GAUSSIANS = ((2, 4), (3, 2), (3, 6), (5, 3), (5, 7), (8, 5), (8, 2), (12, 4), (20, 3))  # features, clusters
LEAST_SIZE = 30
CENTERS_TRIED = 201
N_SINGLES = 10  # draws of each kind of a single cluster
T_FREEDOM = 4


class SimulatedSet(NamedTuple):
    """Name, samples (N, D), and the number of clusters that they are drawn from."""

    name: str
    X: np.ndarray
    n_clusters: int


def make_sets(seed: int) -> Iterator[SimulatedSet]:
    """Thirty sets, of a seed each from ``seed`` on: six of them without clusters."""
    states = (np.random.RandomState(number) for number in range(seed, seed + 30))
    for K in (2, 3, 4, 5, 6, 8):  # round, of unequal sizes and spreads
        rs = next(states)
        n_samples, gap = rs.randint(400, 1200), rs.uniform(1.8, 2.6)
        yield SimulatedSet(f"blobs {K}", make_gaussians(K, 2, n_samples, gap, rs, ratio=1.0001), K)
    for i, noise in enumerate((0.05, 0.08, 0.1)):
        n_samples = int(next(states).randint(300, 1000))
        yield SimulatedSet(f"moons {noise}", make_moons(n_samples, noise=noise, random_state=seed + 6 + i)[0], 2)
    for i, n_samples in enumerate((400, 800, 1500)):
        next(states)
        yield SimulatedSet(f"arcs {n_samples}", make_circle_arcs(n_samples, random_state=seed + 9 + i)[0], 5)
    for K, noise in ((2, 0.1), (3, 0.1), (2, 0.15)):
        rs = next(states)
        yield SimulatedSet(f"rings {K} {noise}", make_rings(K, rs.randint(500, 1200), noise, rs), K)
    for D, K in GAUSSIANS:
        rs = next(states)
        n_samples, gap = rs.randint(500, 1500), rs.uniform(1.8, 2.6)
        yield SimulatedSet(f"gaussians {D}d {K}", make_gaussians(K, D, n_samples, gap, rs), K)
    for i in range(2):
        for kind in ("square", "t cloud", "gaussian"):
            yield SimulatedSet(f"{kind} {i}", make_single(kind, next(states)), 1)


def make_equal_blobs(seed: int) -> Iterator[SimulatedSet]:
    """Twenty-four sets of scikit-learn's ``make_blobs``, at random places: many of the clusters overlap."""
    for i, (n_samples, K) in enumerate(itertools.product((300, 500, 1000), (3, 4, 5, 6))):
        for number in (seed + 2 * i, seed + 2 * i + 1):
            X = make_blobs(n_samples, centers=K, random_state=number)[0]
            yield SimulatedSet(f"make_blobs {n_samples}, seed {number}", X, K)


def make_small_moons(seed: int) -> Iterator[SimulatedSet]:
    """Eighteen pairs of moons of 150 or 300 samples."""
    for i, (n_samples, noise) in enumerate(itertools.product((150, 300), (0.05, 0.08, 0.1))):
        for number in range(seed + 3 * i, seed + 3 * i + 3):
            X = make_moons(n_samples, noise=noise, random_state=number)[0]
            yield SimulatedSet(f"moons {n_samples} {noise}, seed {number}", X, 2)


def make_noisy_moons(seed: int) -> Iterator[SimulatedSet]:
    """Eighteen pairs of moons of 300 to 1,000 samples, with more noise."""
    for i, (n_samples, noise) in enumerate(itertools.product((300, 600, 1000), (0.1, 0.12, 0.15))):
        for number in (seed + 2 * i, seed + 2 * i + 1):
            X = make_moons(n_samples, noise=noise, random_state=number)[0]
            yield SimulatedSet(f"moons {n_samples} {noise}, seed {number}", X, 2)


def make_singles(seed: int) -> Iterator[SimulatedSet]:
    """Ten draws each of one Gaussian, of one cloud of t-distributed samples, and of a uniform square."""
    for k, kind in enumerate(("gaussian", "t cloud", "square")):
        for i in range(N_SINGLES):
            yield SimulatedSet(f"{kind} {i}", make_single(kind, np.random.RandomState(seed + 100 * k + i)), 1)


def make_elongated(seed: int) -> Iterator[SimulatedSet]:
    """Twenty-four single clusters without a mode: uniform strips of two lengths, uniform cubes, and an arc."""
    for i, (n_samples, D) in enumerate(itertools.product((150, 300, 600), (2, 3))):
        rs = np.random.RandomState(seed + i)
        noise = rs.normal(size=(2, n_samples, D - 1))
        for length, across in zip((10.0, 30.0), noise, strict=True):
            yield SimulatedSet(
                f"strip {length:.0f} {n_samples} {D}", np.c_[rs.uniform(0, length, n_samples), across], 1
            )
        yield SimulatedSet(f"cube {n_samples} {D}", rs.uniform(size=(n_samples, D)), 1)
        angles, arc = rs.uniform(0.0, 3.0, n_samples), rs.normal(scale=0.5, size=(n_samples, D))
        arc[:, :2] += 5.0 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        yield SimulatedSet(f"arc {n_samples} {D}", arc, 1)


def make_log_normal(seed: int) -> Iterator[SimulatedSet]:
    """Eighteen sets of one to four Gaussians, of whose columns some or all are then exponentiated."""
    kinds = ((1, 3, 3), (1, 5, 2), (2, 3, 3), (3, 4, 4), (3, 5, 2), (4, 6, 3))  # clusters, columns, exponentiated
    for i, (n_samples, (K, D, n_log)) in enumerate(itertools.product((300, 600, 1000), kinds)):
        rs = np.random.RandomState(seed + i)
        X = rs.normal(size=(n_samples, D)) if K == 1 else make_gaussians(K, D, n_samples, rs.uniform(1.8, 2.6), rs)
        X /= X[:, :n_log].std()
        X[:, :n_log] = np.exp(X[:, :n_log])
        yield SimulatedSet(f"{K} of {n_log} skewed columns in {D}, {n_samples}", X, K)


def make_gaussians(
    K: int, D: int, n_samples: int, gap: float, rs: np.random.RandomState, *, ratio: float = 3.0, spread: float = 3.0
) -> np.ndarray:
    """Gaussians of unequal sizes, spreads (up to ``spread``) and axes (up to ``ratio``).

    The distance of the closest two centers is ``gap`` times the sum of their standard deviations on the line between.
    """
    shares = np.maximum(rs.dirichlet(np.full(K, 4.0)), 0.4 / K)
    counts = np.maximum((shares / shares.sum() * n_samples).astype(int), LEAST_SIZE)
    covariances = [_draw_covariance(D, ratio, rs) * np.exp(_draw_log(spread, rs)) ** 2 for _ in range(K)]
    centers = max((rs.normal(size=(K, D)) for _ in range(CENTERS_TRIED)), key=lambda c: _least_gap(c, covariances))
    centers = centers * gap / _least_gap(centers, covariances)
    parts = zip(centers, covariances, counts, strict=True)
    return np.vstack([rs.multivariate_normal(center, covariance, count) for center, covariance, count in parts])


def _draw_log(ratio: float, rs: np.random.RandomState, size: int | None = None) -> np.ndarray | float:
    return rs.uniform(-np.log(ratio) / 2, np.log(ratio) / 2, size)


def _draw_covariance(D: int, ratio: float, rs: np.random.RandomState) -> np.ndarray:
    axes, _ = np.linalg.qr(rs.normal(size=(D, D)))
    return (axes * np.exp(_draw_log(ratio, rs, D)) ** 2) @ axes.T


def _least_gap(centers: np.ndarray, covariances: list[np.ndarray]) -> float:
    gaps = []
    for i in range(len(centers)):
        for j in range(i):
            line = centers[i] - centers[j]
            length = np.linalg.norm(line)
            deviations = [np.sqrt(line @ covariances[c] @ line) / length for c in (i, j)]
            gaps.append(length / sum(deviations))
    return min(gaps)


def make_rings(K: int, n_samples: int, noise: float, rs: np.random.RandomState) -> np.ndarray:
    """Concentric rings of equal density along them."""
    radii = np.arange(1.0, K + 1.0)
    counts = (n_samples * radii / radii.sum()).astype(int)
    angles = [rs.uniform(0.0, 2.0 * np.pi, count) for count in counts]
    rings = [r * np.stack([np.cos(a), np.sin(a)], axis=1) for r, a in zip(radii, angles, strict=True)]
    return np.vstack(rings) + rs.normal(scale=noise, size=(counts.sum(), 2))


def make_single(kind: str, rs: np.random.RandomState) -> np.ndarray:
    """One cluster: a uniform square, or a Gaussian or t-distributed cloud in 2 to 8 dimensions."""
    n_samples = rs.randint(300, 1200)
    if kind == "square":
        return rs.uniform(size=(n_samples, 2))
    D = int(rs.choice([2, 3, 5, 8]))
    root = np.linalg.cholesky(_draw_covariance(D, 3.0, rs))
    samples = rs.normal(size=(n_samples, D))
    if kind == "t cloud":
        samples /= np.sqrt(rs.chisquare(T_FREEDOM, size=(n_samples, 1)) / T_FREEDOM)
    return samples @ root.T
