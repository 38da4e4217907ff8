"""
GridSearchCV over K, M and λ
============================

``score`` is the mean log-likelihood of held-out samples and depends on neither M nor λ. Therefore
:class:`~sklearn.model_selection.GridSearchCV` can select the number of components K, the number of Monte Carlo draws
M and the minimum information λ together. In this example M and λ matter: the model is trained from random weights,
as in the GMVAE paper, and its components become the same unless λ keeps them apart.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, ShuffleSplit

from skgmvae import GMVAEClustering
from skgmvae.datasets import make_circle_arcs

X, _ = make_circle_arcs(600, random_state=0)

# %%
# λ must be below log K for every K in the grid, here below log 5 = 1.61. Few samples, a small network and one split
# instead of several folds keep the example short.

grid = {"n_components": [5, 10], "n_mc_samples": [1, 5], "min_information": [0.0, 0.75, 1.5]}
start = {"init_params": "random", "pretrain_iter": 0}
training = {"hidden_layer_sizes": (64,), "learning_rate": 5e-3, "max_iter": 60, "tol": 0.0}
gmvae = GMVAEClustering(**start, **training, random_state=0)
warnings.simplefilter("ignore", ConvergenceWarning)  # sixty epochs are few
split = ShuffleSplit(1, test_size=0.3, random_state=0)
search = GridSearchCV(gmvae, grid, cv=split, refit=False).fit(X)
print(search.best_params_)

# %%
# ``cv_results_`` lists the settings with the names of the parameters in alphabetical order: λ, K, M. The best cell is
# framed. At λ = 0 the score is nearly the same for all K and M, since all components have become the same. With
# λ = 1.5 they differ, and ten components describe the arcs better than five. More draws help with ten components only.

scores = search.cv_results_["mean_test_score"].reshape(3, 2, 2)

figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained", sharey=True)
for m, ax in enumerate(axes):
    image = ax.imshow(scores[:, :, m], cmap="cividis", vmin=scores.min(), vmax=scores.max(), aspect="auto")
    for (row, column), score in np.ndenumerate(scores[:, :, m]):
        dark = score < (scores.min() + scores.max()) / 2
        ax.text(column, row, f"{score:.2f}", ha="center", va="center", color="white" if dark else "black")
    ax.set_xticks(range(2), labels=grid["n_components"])
    ax.set_yticks(range(3), labels=grid["min_information"])
    ax.set(xlabel="K, n_components", title=f"M = {grid['n_mc_samples'][m]}")
axes[0].set_ylabel("λ, min_information")
row, column, m = np.unravel_index(scores.argmax(), scores.shape)
axes[m].add_patch(plt.Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, fill=False, edgecolor="#d55e00", linewidth=3))
figure.colorbar(image, ax=axes, label="held-out score, nats per sample")
plt.show()

# %%
# With the default initialization, components do not merge in the first place, and λ = 0 and M = 1 are good
# choices: see :doc:`what M and λ do </benchmarks/m_and_lambda>`. To find the *number of clusters*, rather than the best
# density, see :ref:`sphx_glr_auto_examples_plot_14_how_many.py`.
