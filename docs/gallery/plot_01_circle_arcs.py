"""
Circle arcs: GMVAE and GaussianMixture
======================================

The data have five clusters that are not ellipses. :class:`~skgmvae.GMVAEClustering`, with its default parameters, is
used like :class:`~sklearn.mixture.GaussianMixture`.
"""

import matplotlib.pyplot as plt
from matplotlib.colors import ListedColormap
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from skgmvae import GMVAEClustering
from skgmvae.datasets import make_circle_arcs

X, arcs = make_circle_arcs(1500, random_state=0)

gmm = GaussianMixture(n_components=5, n_init=10, random_state=0).fit(X)
gmvae = GMVAEClustering(n_components=5, random_state=0).fit(X)

# %%
# The number in each title is the adjusted Rand index between clusters and arcs; 1 means that they are equal.
# :doc:`/benchmarks/minimum_information` has more samples, several seeds, densities and held-out scores.

colors = ListedColormap(["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9"])
figure, axes = plt.subplots(1, 2, figsize=(8, 4.3), layout="constrained", sharex=True, sharey=True)
for ax, model in zip(axes, (gmm, gmvae), strict=True):
    labels = model.predict(X)
    ax.scatter(*X.T, c=labels, cmap=colors, s=5)
    ax.set_title(f"{type(model).__name__}: {adjusted_rand_score(arcs, labels):.2f}")
    ax.set(xlabel="first feature", aspect="equal")
axes[0].set_ylabel("second feature")
plt.show()
