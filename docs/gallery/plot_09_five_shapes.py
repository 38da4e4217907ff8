"""
Comparing the mixtures on toy data sets
=======================================

The three estimators are compared with :class:`~sklearn.mixture.GaussianMixture` on five data sets. All are given
the true number of components, and otherwise have default parameters. If the clusters are ellipses, a Gaussian mixture
is sufficient.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from sklearn.datasets import make_blobs, make_circles, make_moons
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae.datasets import make_circle_arcs

N = 400
blobs, blob_of = make_blobs(N, centers=3, cluster_std=[1.0, 2.0, 0.5], random_state=0)
skewed, skewed_of = make_blobs(N, centers=3, random_state=0)
shapes = {
    "blobs": (blobs, blob_of),
    "skewed blobs": (skewed @ [[0.6, -0.6], [-0.4, 0.8]], skewed_of),
    "moons": make_moons(N, noise=0.06, random_state=0),
    "circles": make_circles(N, noise=0.05, factor=0.5, random_state=0),
    "circle arcs": make_circle_arcs(N, random_state=0),
}
mixtures = {
    "GaussianMixture": GaussianMixture,
    "VaDE": VaDEClustering,
    "GMVAE": GMVAEClustering,
    "VAE-EM": VAEEMClustering,
}

# %%
# Each row is a data set and each column a mixture. The number is the adjusted Rand index; 1 means that the clusters
# equal the true ones. ``init_params="auto"`` finds initial clusters of many shapes by rules that use no labels
# (:doc:`/initialization`).

colors = ListedColormap(["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9"])
figure, axes = plt.subplots(5, 4, figsize=(8, 10), layout="constrained")
for row, (name, (X, y)) in zip(axes, shapes.items(), strict=True):
    K = len(np.unique(y))
    for ax, Mixture in zip(row, mixtures.values(), strict=True):
        labels = Mixture(n_components=K, random_state=0).fit_predict(X)
        ax.scatter(*X.T, c=labels, cmap=colors, vmin=0, vmax=4, s=5)
        ax.set_xlabel(f"{max(adjusted_rand_score(y, labels), 0.0):.2f}")  # chance may be a little below zero
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(name)
for ax, name in zip(axes[0], mixtures, strict=True):
    ax.set_title(name)
plt.show()
