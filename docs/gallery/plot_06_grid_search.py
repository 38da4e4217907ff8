"""
GridSearchCV over K, M and λ
============================

``score`` is the mean log-likelihood of held-out samples and depends on neither M nor λ. Therefore
:class:`~sklearn.model_selection.GridSearchCV` can select the number of components K, the number of Monte Carlo samples
M and the minimum information λ together.
"""

from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_blobs
from sklearn.model_selection import GridSearchCV, KFold

from skgmvae import VaDEClustering

X, _ = make_blobs(600, centers=4.0 * np.eye(4), random_state=0)  # four clusters in four dimensions

# %%
# λ must be below log K for every K in the grid. ``memory`` caches the pretraining, which depends on none of the three,
# so that each fold is pretrained once. Networks and epochs are small, so that the example takes seconds. With two
# latent dimensions, fewer than the data have, the mixture rather than the decoder has to explain the clusters, and the
# score is more informative about K.

grid = {"n_components": [2, 3, 4, 5], "n_mc_samples": [1, 4], "min_information": [0.0, 0.5]}
with TemporaryDirectory() as folder:
    vade = VaDEClustering(
        hidden_layer_sizes=(32,),
        latent_dim=2,
        learning_rate=5e-3,
        pretrain_iter=30,
        max_iter=60,
        init_params="kmeans",
        memory=folder,
        random_state=0,
    )
    search = GridSearchCV(vade, grid, cv=KFold(2, shuffle=True, random_state=0), refit=False).fit(X)
print(search.best_params_)

# %%
# ``cv_results_`` lists the settings with the names of the parameters in alphabetical order: λ, K, M. The best cell is
# framed. λ changes the scores only slightly, since it acts on free responsibilities, and by default training clamps the
# initial ones for three quarters of the epochs (``init_clamp=0.75``).

scores = search.cv_results_["mean_test_score"].reshape(2, 4, 2)

figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained", sharey=True)
for m, ax in enumerate(axes):
    image = ax.imshow(scores[:, :, m], cmap="cividis", vmin=scores.min(), vmax=scores.max(), aspect="auto")
    for (row, column), score in np.ndenumerate(scores[:, :, m]):
        dark = score < scores.mean()
        ax.text(column, row, f"{score:.2f}", ha="center", va="center", color="white" if dark else "black")
    ax.set_xticks(range(4), labels=grid["n_components"])
    ax.set_yticks(range(2), labels=grid["min_information"])
    ax.set(xlabel="K, n_components", title=f"M = {grid['n_mc_samples'][m]}")
axes[0].set_ylabel("λ, min_information")
row, column, m = np.unravel_index(scores.argmax(), scores.shape)
axes[m].add_patch(plt.Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, fill=False, edgecolor="#d55e00", linewidth=3))
figure.colorbar(image, ax=axes, label="held-out score, nats per sample")
plt.show()
