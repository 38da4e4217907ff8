"""How well the initialization strategies cluster by themselves, before any training of a mixture.

    python benchmarks/initialization/compare.py --data digits mnist fashion-mnist --seeds 5 --memory cache

appends a JSON line per data set, seed and strategy to benchmarks/results/initialization.jsonl (what is there is
skipped) and writes docs/benchmarks/initialization.md from them. --no-fits only writes the page. Images are clustered in
the embedding of an autoencoder pretrained for each seed, which ``--memory`` shares with the runs of accuracy/run.py;
other data sets as they are.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import normalize

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import data as data_sets
from benchmarks.common import environment, methods, pages
from benchmarks.common.pages import mean_and_sd
from benchmarks.common.results import Line, append_line, read_lines
from skgmvae.data.training_data import TrainingData
from skgmvae.initialization.contrastive import fit_contrastive_encoder
from skgmvae.initialization.hog import hog_descriptors
from skgmvae.initialization.links import Links, make_partition
from skgmvae.initialization.neighbor_graph import N_NEIGHBORS, connected_graph, find_neighbors
from skgmvae.initialization.partitions import members
from skgmvae.initialization.representations import N_PRINCIPAL, contrastive_features
from skgmvae.initialization.spectral import laplacian_eigenvectors, partition_graph
from skgmvae.initialization.strategies import (
    gmm_responsibilities,
    graph_responsibilities,
    joint_graph_responsibilities,
    kmeans_responsibilities,
)
from skgmvae.metrics import clustering_accuracy

CHUNK_SIZE = 500  # images described at a time
EXPLANATION = """\
Initial clusters of the training samples, before any training of a mixture: means over seeds, and the worst seed.
Images are represented by the embedding of an autoencoder that is pretrained for each seed; other data sets are
standardized.

- *graph* is `init_params='graph'`.
- *graph with gradients*, for images, is what `'auto'` selects if `image_shape` is given: the graph of neighbors in
  the embedding and by image gradients. *graph of gradients* uses the gradients alone, which need no training.
- *graph with components* and *graph of components* are the same with the first 50 principal components of the pixels
  instead of gradients; `'auto'` uses them if `image_shape` is not given.
- *graph of contrastive features* is `init_params='contrastive'`.
- *K eigenvectors* and *K + K/2 eigenvectors* are the usual spectral clustering: k-means on that many eigenvectors of
  the graph's Laplacian.

The cut is the normalized cut of the clusters, from 0 to K. The information is the mutual information between the
clusters of two linked samples, from 0 to log K nats. Both are computed in the graph of the embedding, without the
classes."""


class Task(NamedTuple):
    """What an initialization is computed from: points, their neighbor graph, other views of images by name, K."""

    points: np.ndarray
    affinities: csr_array
    views: dict[str, np.ndarray]
    K: int


Strategy = Callable[[Task, np.random.RandomState], np.ndarray]


def on_points(assign: Callable[[np.ndarray, int, np.random.RandomState], np.ndarray]) -> Strategy:
    """A strategy that needs no graph."""
    return lambda task, random_state: assign(task.points, task.K, random_state)


def by_graph(task: Task, random_state: np.random.RandomState) -> np.ndarray:
    """As ``init_params='graph'``."""
    labels = next(iter(partition_graph(task.affinities, task.K, random_state).values()))
    return np.eye(task.K)[labels]


def by_joint_graph(view: str) -> Strategy:
    """As ``init_params='auto'`` for images."""
    return lambda task, random_state: joint_graph_responsibilities(
        [task.points, task.views[view]], task.K, random_state
    )


def by_graph_of(view: str) -> Strategy:
    """As ``init_params='auto'`` for images without a pretraining."""
    return lambda task, random_state: graph_responsibilities(task.views[view], task.K, random_state)


def on_eigenvectors(count: Callable[[int], int]) -> Strategy:
    """Spectral clustering on so many eigenvectors, of K."""

    def assign(task: Task, random_state: np.random.RandomState) -> np.ndarray:
        _, vectors = laplacian_eigenvectors(task.affinities, count(task.K), random_state)
        return kmeans_responsibilities(normalize(vectors), task.K, random_state)

    return assign


STRATEGIES: dict[str, Strategy] = {
    "k-means": on_points(kmeans_responsibilities),
    "mixture": on_points(gmm_responsibilities),
    "graph": by_graph,
    "K eigenvectors": on_eigenvectors(lambda K: K),
    "K + K/2 eigenvectors": on_eigenvectors(lambda K: K + max(1, K // 2)),
}
IMAGE_STRATEGIES: dict[str, Strategy] = {
    "graph with gradients": by_joint_graph("gradients"),
    "graph of gradients": by_graph_of("gradients"),
    "graph with components": by_joint_graph("components"),
    "graph of components": by_graph_of("components"),
    "graph of contrastive features": by_graph_of("contrastive"),
}
ORDER = ("k-means", "mixture", "graph", *IMAGE_STRATEGIES, "K eigenvectors", "K + K/2 eigenvectors")


def main(argv: list[str] | None = None) -> int:
    """Compare what is missing, then write the page."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)
    done = {(line["data"], line["seed"], line["initialization"]) for line in read_lines(arguments.out)}
    for name in arguments.data if arguments.fits else []:
        data = data_sets.load(name, data_dir=arguments.data_dir)
        for seed in range(arguments.seeds):
            strategies = {**STRATEGIES, **(IMAGE_STRATEGIES if data.image_shape else {})}
            missing = [strategy for strategy in strategies if (name, seed, strategy) not in done]
            if not missing:
                continue
            task = make_task(data, seed, arguments.memory)
            for strategy in missing:
                line = {"data": name, "seed": seed, "initialization": strategy}
                line |= measure(strategies[strategy], task, data, seed)
                append_line(arguments.out, {**line, **environment.describe(threads=arguments.threads)})
                print(f"{name}, seed {seed}, {strategy}: {100 * line['accuracy']:.1f} %", flush=True)
    arguments.page.write_text(make_page(read_lines(arguments.out)))
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = pages.make_parser(__doc__, name="initialization", seeds=5, threads=1)
    add = parser.add_argument
    add("--data", nargs="+", choices=data_sets.NAMES, default=["digits"], metavar="NAME", help="default: digits")
    add("--data-dir", type=Path, help="folder with a folder per set, as in common/data.py; default: $SKGMVAE_DATA")
    add("--memory", help="folder that keeps the pretrainings")
    return parser


def make_task(data: data_sets.Data, seed: int, memory: str | None) -> Task:
    """What all strategies need."""
    points = np.asarray(represent(data, seed, memory), dtype=np.float64)
    views = compute_views(data.train, data.image_shape, seed, memory) if data.image_shape else {}
    affinities = connected_graph(points, find_neighbors(points, N_NEIGHBORS), data.n_classes)
    return Task(points, affinities, views, data.n_classes)


def represent(data: data_sets.Data, seed: int, memory: str | None) -> np.ndarray:
    """The points to cluster: embeddings of many features, else the samples themselves."""
    n_features = data.train.shape[1]
    if n_features <= methods.MAX_GMM_FEATURES:
        return data.train
    # without epochs of its own the model embeds as the pretrained autoencoder does
    params = {"memory": memory, "max_iter": 0, "init_params": "kmeans"}
    return methods.make("vade", data.n_classes, seed, n_features=n_features, params=params).fit_transform(data.train)


def compute_views(
    X: np.ndarray, image_shape: tuple[int, int, int], seed: int, memory: str | None
) -> dict[str, np.ndarray]:
    """Principal components of the pixels and of the images' gradients, and features learned by contrast."""
    chunks = torch.as_tensor(X).split(CHUNK_SIZE)
    described = np.concatenate([hog_descriptors(chunk, image_shape).numpy() for chunk in chunks])
    views = {"components": X, "gradients": described}
    seen = {name: PCA(N_PRINCIPAL, random_state=seed).fit_transform(view) for name, view in views.items()}
    options = {"memory": memory, "device": "cpu", "precision": "auto", "seed": seed}
    encoder = fit_contrastive_encoder(TrainingData.from_rows(X), image_shape, **options)
    learned = contrastive_features(encoder).transform(X, torch.device("cpu"))
    return {**seen, "contrastive": learned}


def measure(strategy: Strategy, task: Task, data: data_sets.Data, seed: int) -> Line:
    """Figures of one initialization."""
    K, began = data.n_classes, time.perf_counter()
    labels = strategy(task, np.random.RandomState(seed)).argmax(1)
    seconds = time.perf_counter() - began
    return {
        "accuracy": clustering_accuracy(data.train_labels, labels),
        "ari": float(adjusted_rand_score(data.train_labels, labels)),
        "cut": normalized_cut(task.affinities, labels, K),
        "information": make_partition(Links.of_samples(task.affinities), labels, K).information,
        "seconds": seconds,
    }


def normalized_cut(affinities: csr_array, labels: np.ndarray, n_clusters: int) -> float:
    """Σ_c of the share of the affinities of cluster c that leave it (Shi & Malik 2000)."""
    one_hot = members(labels, n_clusters)
    table = (one_hot.T @ affinities @ one_hot).toarray()
    totals = table.sum(1)
    return float(np.sum(1.0 - table.diagonal()[totals > 0.0] / totals[totals > 0.0]))


def make_page(lines: Sequence[Line]) -> str:
    """docs/benchmarks/initialization.md."""
    header = ["data", "initialization", "accuracy, % ± sd", "worst", "ARI", "cut", "information", "seeds"]
    table = pages.format_table(header, make_rows(lines))
    return pages.make_page(__file__, "Initialization strategies", EXPLANATION, table, lines=lines)


def make_rows(lines: Sequence[Line]) -> Iterator[list[Any]]:
    """A row per data set and strategy."""
    for data in dict.fromkeys(line["data"] for line in lines):
        for strategy in ORDER:
            chosen = [line for line in lines if (line["data"], line["initialization"]) == (data, strategy)]
            if chosen:
                accuracies = [100 * line["accuracy"] for line in chosen]
                means = [f"{np.mean([line[name] for line in chosen]):.3f}" for name in ("ari", "cut", "information")]
                yield [data, strategy, mean_and_sd(accuracies), f"{min(accuracies):.1f}", *means, len(chosen)]


if __name__ == "__main__":
    sys.exit(main())
