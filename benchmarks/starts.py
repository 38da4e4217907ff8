"""How good the starts are by themselves, before any training of a mixture.

    python benchmarks/starts.py --data digits mnist fashion-mnist --seeds 5 --memory cache

appends a JSON line per data set, seed and start to benchmarks/results/starts.jsonl (what is there is skipped)
and writes docs/starts_compared.md from them. --no-fits only writes the page. Images are clustered in the embedding of
an autoencoder pretrained for each seed, which ``--memory`` shares with run.py's runs; the other sets as they are.
"""

import sys
import time
from pathlib import Path
from typing import NamedTuple

import data as data_sets
import environment
import models
import numpy as np
import pages
import torch
from report import mean_and_sd
from run import append_line, read_lines
from scipy.sparse import csr_array
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import normalize

from skgmvae.initialization import candidates, dcsbm, graph, representations
from skgmvae.initialization.contrastive import fit_contrastive_encoder
from skgmvae.initialization.hog import hog_descriptors
from skgmvae.initialization.representations import N_PRINCIPAL
from skgmvae.metrics import clustering_accuracy

ROWS_AT_A_TIME = 500
EXPLANATION = """\
Labels that the training of a mixture would begin with, on the rows it is fitted to: means over seeds, and the worst.
Images in the embedding of an autoencoder pretrained for each seed, the other sets standardized and as they are. "Graph"
is `init_params='graph'`. For images, "with gradients" is what `'auto'` takes where `image_shape` is given, the graph of
neighbors in the embedding and by image gradients, and "of gradients" the latter alone, for which nothing is trained;
"with components" and "of components" are the same with the first 50 principal components of the pixels, which `'auto'`
takes where it is not; "of contrastive features" is `init_params='contrastive'`. Below them spectral clustering as it is
usual: k-means on K or on K + K/2 eigenvectors of the graph's Laplacian. The cut is the labels' normalized cut, from 0
to K, and the information the mutual information of the labels of two linked rows, from 0 to log K nats, both in the
graph of the embedding: for neither is a class known."""


class Task(NamedTuple):
    """What a start is made from: points, the graph of their neighbors, other views of images by name, K."""

    points: np.ndarray
    affinities: csr_array
    views: dict[str, np.ndarray]
    K: int


def on_points(assign):
    """A start that needs no graph."""
    return lambda task, random_state: assign(task.points, task.K, random_state)


def by_graph(task, random_state):
    """As ``init_params='graph'``."""
    return graph.partition(task.affinities, [task.points], task.K, random_state)


def by_joint_graph(view):
    """As ``init_params='auto'`` for images."""
    return lambda task, random_state: graph.joint_responsibilities(
        [task.points, task.views[view]], task.K, random_state
    )


def by_graph_of(view):
    """As ``init_params='auto'`` for images without a pretraining."""
    return lambda task, random_state: graph.graph_responsibilities(task.views[view], task.K, random_state)


def on_eigenvectors(count):
    """Spectral clustering on so many eigenvectors, of K."""

    def assign(task, random_state):
        _, vectors = graph.eigenvectors(task.affinities, count(task.K), random_state)
        return candidates.kmeans_responsibilities(normalize(vectors), task.K, random_state)

    return assign


METHODS = {
    "k-means": on_points(candidates.kmeans_responsibilities),
    "mixture": on_points(candidates.gmm_responsibilities),
    "graph": by_graph,
    "K eigenvectors": on_eigenvectors(lambda K: K),
    "K + K/2 eigenvectors": on_eigenvectors(lambda K: K + max(1, K // 2)),
}
FOR_IMAGES = {
    "graph with gradients": by_joint_graph("gradients"),
    "graph of gradients": by_graph_of("gradients"),
    "graph with components": by_joint_graph("components"),
    "graph of components": by_graph_of("components"),
    "graph of contrastive features": by_graph_of("contrastive"),
}
ORDER = ("k-means", "mixture", "graph", *FOR_IMAGES, "K eigenvectors", "K + K/2 eigenvectors")


def main(argv=None) -> int:
    """Compare what is missing, then write the page."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)
    done = {(line["data"], line["seed"], line["start"]) for line in read_lines(arguments.out)}
    for name in arguments.data if arguments.fits else []:
        data = data_sets.load(name, data_dir=arguments.data_dir)
        for seed in range(arguments.seeds):
            is_image = data.image_shape is not None
            methods = {**METHODS, **(FOR_IMAGES if is_image else {})}
            missing = [start for start in methods if (name, seed, start) not in done]
            if not missing:
                continue
            points = np.asarray(place(data, seed, arguments.memory), dtype=np.float64)
            views = look(data, seed, arguments.memory) if is_image else {}
            task = Task(points, graph.neighbor_affinities(points, n_pieces=data.n_classes), views, data.n_classes)
            for start in missing:
                line = {"data": name, "seed": seed, "start": start, **measure(methods[start], task, data, seed)}
                append_line(arguments.out, {**line, **environment.describe(threads=arguments.threads)})
                print(f"{name}, seed {seed}, {start}: {100 * line['accuracy']:.1f} %", flush=True)
    arguments.page.write_text(make_page(read_lines(arguments.out)))
    return 0


def make_parser():
    """Command line."""
    parser = pages.make_parser(__doc__, results="starts.jsonl", page="starts_compared.md", seeds=5, threads=1)
    add = parser.add_argument
    add("--data", nargs="+", choices=data_sets.NAMES, default=["digits"], metavar="NAME", help="default: digits")
    add("--data-dir", type=Path, help="folder with a folder per set (data.py names the files); default: $SKGMVAE_DATA")
    add("--memory", help="folder that keeps the pretrainings")
    return parser


def place(data, seed, memory):
    """The points to cluster: embeddings of many features, else the rows."""
    n_features = data.train.shape[1]
    if n_features <= models.MAX_GMM_FEATURES:
        return data.train
    # without epochs of its own the model embeds as the pretrained autoencoder does
    params = {"memory": memory, "max_iter": 0, "init_params": "kmeans"}
    return models.make("vade", data.n_classes, seed, n_features=n_features, params=params).fit_transform(data.train)


def look(data, seed, memory):
    """Principal components of the pixels and of the images' gradients, and features learned by contrast."""
    rows = torch.as_tensor(data.train).split(ROWS_AT_A_TIME)
    described = np.concatenate([hog_descriptors(some, data.image_shape).numpy() for some in rows])
    views = {"components": data.train, "gradients": described}
    seen = {name: PCA(N_PRINCIPAL, random_state=seed).fit_transform(view) for name, view in views.items()}
    encoder = fit_contrastive_encoder(
        data.train, data.image_shape, memory=memory, device="cpu", precision="auto", seed=seed
    )
    learned = representations.features(encoder).transform(data.train, torch.device("cpu"))
    return {**seen, "contrastive": learned}


def measure(method, task, data, seed):
    """Figures of one start."""
    K, began = data.n_classes, time.perf_counter()
    labels = method(task, np.random.RandomState(seed)).argmax(1)
    seconds = time.perf_counter() - began
    links = dcsbm.LinkGraph.of_rows(task.affinities)
    return {
        "accuracy": clustering_accuracy(data.train_labels, labels),
        "ari": float(adjusted_rand_score(data.train_labels, labels)),
        "cut": graph.normalized_cut(task.affinities, np.eye(K)[labels]),
        "information": dcsbm.information(links.table(labels, K, links.to_clusters(labels, K))),
        "seconds": seconds,
    }


def make_page(lines):
    """docs/starts_compared.md."""
    header = ["data", "start", "accuracy, % ± sd", "worst", "ARI", "cut", "information", "seeds"]
    return pages.make_page("starts.py", "Starts compared", EXPLANATION, header, make_rows(lines))


def make_rows(lines):
    """A row per data set and start."""
    for data in dict.fromkeys(line["data"] for line in lines):
        for start in ORDER:
            chosen = [line for line in lines if (line["data"], line["start"]) == (data, start)]
            if chosen:
                accuracies = [100 * line["accuracy"] for line in chosen]
                means = [f"{np.mean([line[name] for line in chosen]):.3f}" for name in ("ari", "cut", "information")]
                yield [data, start, mean_and_sd(accuracies), f"{min(accuracies):.1f}", *means, len(chosen)]


if __name__ == "__main__":
    sys.exit(main())
