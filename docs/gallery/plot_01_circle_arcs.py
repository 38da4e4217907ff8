"""
Circle arcs against GaussianMixture
===================================

Five clusters that no ellipse describes. :class:`~skgmvae.GMVAEClustering` is used like
:class:`~sklearn.mixture.GaussianMixture`, and with its defaults.
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
# The adjusted Rand index compares clusters with the known arcs; 1 means equal.

for model in (gmm, gmvae):
    print(f"{type(model).__name__:16} {adjusted_rand_score(arcs, model.predict(X)):.2f}")

# %%
# Above the clusters of the data, below as many rows drawn from each model. With so few rows the drawn
# arcs are blurred; :doc:`/arcs` has more rows, several seeds and held-out scores.

colours = ListedColormap(["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9"])
figure, axes = plt.subplots(2, 2, figsize=(7.5, 7.5), layout="constrained", sharex=True, sharey=True)
for (above, below), model in zip(axes.T, (gmm, gmvae), strict=True):
    drawn, components = model.sample(len(X))
    above.scatter(*X.T, c=model.predict(X), cmap=colours, s=4)
    below.scatter(*drawn.T, c=components, cmap=colours, s=4)
    above.set_title(type(model).__name__)
    below.set_xlabel("first feature")
    below.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5))
for ax, name in zip(axes[:, 0], ("data", "samples"), strict=True):
    ax.set_ylabel(f"{name}: second feature")
plt.show()
