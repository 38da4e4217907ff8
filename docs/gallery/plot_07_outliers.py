"""
Outlier detection with score_samples
====================================

A sample with a low log-likelihood differs from the training data. The model is fitted to inliers, here two moons. New
samples are then scored: further samples of the moons, and uniformly distributed samples.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

from skgmvae import VaDEClustering

rng = np.random.default_rng(0)
X, _ = make_moons(1000, noise=0.06, random_state=0)
good, _ = make_moons(150, noise=0.06, random_state=1)
anywhere = rng.uniform([-2.0, -1.5], [3.0, 2.0], size=(30, 2))

vade = VaDEClustering(n_components=2, latent_dim=2, max_iter=100, tol=1.0, random_state=0).fit(X)

# %%
# The threshold is a quantile of the scores of the training samples: two percent of these are below it. Of new inliers,
# it can be more, since the model fits the training samples better; with a thousand of them, the difference is small.
# Some of the uniform samples lie on the moons, and are not outliers.

threshold = np.quantile(vade.score_samples(X), 0.02)
for name, rows in (("inliers", good), ("uniform", anywhere)):
    print(f"{name}: {(vade.score_samples(rows) < threshold).mean():.0%} below the threshold")

# %%
# The line is the threshold; the shading is the log-likelihood.

x, y = np.linspace(-2.2, 3.2, 90), np.linspace(-1.7, 2.2, 65)
values = vade.score_samples(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)).reshape(len(y), len(x))

figure, ax = plt.subplots(figsize=(7.5, 5), layout="constrained")
shading = ax.contourf(x, y, values.clip(-12.0), levels=np.linspace(-12.0, 3.0, 11), cmap="Greys")
ax.contour(x, y, values, levels=[threshold], colors="#d55e00", linestyles="-", linewidths=1.5)
for rows, name, color, marker in ((good, "inliers", "#0072b2", "o"), (anywhere, "uniform", "#e69f00", "D")):
    ax.scatter(*rows.T, s=18, color=color, marker=marker, edgecolors="white", linewidths=0.5, label=name)
ax.set(xlabel="first feature", ylabel="second feature")
figure.legend(loc="outside lower center", ncols=2, frameon=False)
figure.colorbar(shading, label="log p(x), nats")
plt.show()
