"""How good the starts are by themselves, before any training of a mixture.

    python benchmarks/starts.py --data digits mnist fashion-mnist --seeds 5 --memory cache

appends a JSON line per data set, seed and start to benchmarks/results/starts.jsonl (what is there is skipped)
and writes docs/starts_compared.md from them. --no-fits only writes the page. Images are clustered in the embedding of
an autoencoder pretrained for each seed, which ``--memory`` shares with run.py's runs; the other sets as they are.
"""

import argparse
import sys
import time
from pathlib import Path

import data as data_sets
import environment
import models
import numpy as np
from report import NOTE, format_table, mean_and_sd
from run import append_line, read_lines
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import normalize

from skgmvae.metrics import clustering_accuracy
from skgmvae.training import graphs, simple_starts

ROOT = Path(__file__).resolve().parent.parent
EXPLANATION = """\
Labels that the training of a mixture would begin with, on the rows it is fitted to: means over seeds, and the worst.
Images in the embedding of an autoencoder pretrained for each seed, the other sets standardised and as they are.
"Graph" is `init_params='graph'`; below it its parts: k-means on K or on K + K/2 eigenvectors of the same graph's
Laplacian. The cut is the normalised cut of the labels in the graph, from 0 to K, for which no class is known."""


def on_points(assign):
    """A start that needs no graph."""
    return lambda points, affinities, K, random_state: assign(points, K, random_state)


def by_graph(points, affinities, K, random_state):
    """As ``init_params='graph'``."""
    return graphs.partition(affinities, points, K, random_state)


def on_eigenvectors(count):
    """Spectral clustering on so many eigenvectors, of K."""

    def assign(points, affinities, K, random_state):
        _, vectors = graphs.eigenvectors(affinities, count(K), random_state)
        return simple_starts.kmeans_responsibilities(normalize(vectors), K, random_state)

    return assign


METHODS = {
    "k-means": on_points(simple_starts.kmeans_responsibilities),
    "mixture": on_points(simple_starts.gmm_responsibilities),
    "graph": by_graph,
    "K eigenvectors": on_eigenvectors(lambda K: K),
    "K + K/2 eigenvectors": on_eigenvectors(lambda K: K + max(1, K // 2)),
}


def main(argv=None) -> int:
    """Compare what is missing, then write the page."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)
    done = {(line["data"], line["seed"], line["start"]) for line in read_lines(arguments.out)}
    for name in arguments.data if arguments.fits else []:
        data = data_sets.load(name, data_dir=arguments.data_dir)
        for seed in range(arguments.seeds):
            missing = [start for start in METHODS if (name, seed, start) not in done]
            if not missing:
                continue
            points = np.asarray(place(data, seed, arguments.memory), dtype=np.float64)
            affinities = graphs.neighbor_affinities(points, n_pieces=data.n_classes)
            for start in missing:
                line = {"data": name, "seed": seed, "start": start, **measure(start, points, affinities, data, seed)}
                append_line(arguments.out, {**line, **environment.describe(threads=arguments.threads)})
                print(f"{name}, seed {seed}, {start}: {100 * line['accuracy']:.1f} %", flush=True)
    arguments.page.write_text(make_page(read_lines(arguments.out)))
    return 0


def make_parser():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", nargs="+", choices=data_sets.NAMES, default=["digits"], metavar="NAME", help="default: digits")
    add("--data-dir", type=Path, help="folder with a folder per set (data.py names the files); default: $SKGMVAE_DATA")
    add("--seeds", type=int, default=5, help="seeds 0, 1, …; default: %(default)s")
    add("--memory", help="folder that keeps the pretrainings")
    add("--out", type=Path, default=ROOT / "benchmarks" / "results" / "starts.jsonl")
    add("--page", type=Path, default=ROOT / "docs" / "starts_compared.md")
    add("--threads", type=int, default=1, help="default: %(default)s")
    add("--no-fits", dest="fits", action="store_false", help="only write the page")
    return parser


def place(data, seed, memory):
    """The points to cluster: embeddings of many features, else the rows."""
    n_features = data.train.shape[1]
    if n_features <= models.MAX_GMM_FEATURES:
        return data.train
    # without epochs of its own the model embeds as the pretrained autoencoder does
    params = {"memory": memory, "max_iter": 0, "init_params": "kmeans"}
    return models.make("vade", data.n_classes, seed, n_features=n_features, params=params).fit_transform(data.train)


def measure(start, points, affinities, data, seed):
    """Figures of one start."""
    K, began = data.n_classes, time.perf_counter()
    responsibilities = METHODS[start](points, affinities, K, np.random.RandomState(seed))
    seconds = time.perf_counter() - began
    labels = responsibilities.argmax(1)
    return {
        "accuracy": clustering_accuracy(data.train_labels, labels),
        "ari": float(adjusted_rand_score(data.train_labels, labels)),
        "cut": graphs.normalized_cut(affinities, np.eye(K)[labels]),
        "seconds": seconds,
    }


def make_page(lines):
    """docs/starts_compared.md."""
    header = ["data", "start", "accuracy, % ± sd", "worst", "ARI", "cut", "seeds"]
    parts = [NOTE.replace("report.py", "starts.py"), "# Starts compared", EXPLANATION]
    return "\n\n".join([*parts, format_table(header, make_rows(lines))]) + "\n"


def make_rows(lines):
    """A row per data set and start."""
    for data in dict.fromkeys(line["data"] for line in lines):
        for start in METHODS:
            chosen = [line for line in lines if (line["data"], line["start"]) == (data, start)]
            if chosen:
                accuracies = [100 * line["accuracy"] for line in chosen]
                ari, cut = (f"{np.mean([line[name] for line in chosen]):.3f}" for name in ("ari", "cut"))
                yield [data, start, mean_and_sd(accuracies), f"{min(accuracies):.1f}", ari, cut, len(chosen)]


if __name__ == "__main__":
    sys.exit(main())
