"""
The effect of the minimum information λ
=======================================

The GMVAE paper trains from random weights. Early in training, the term ``kl_component`` then rewards overlapping
components. With ``min_information`` = λ > 0, the term costs at least λ, and it has no gradient for samples whose
divergence is below λ.
"""

import matplotlib.pyplot as plt
import numpy as np

from skgmvae import GMVAEClustering
from skgmvae.datasets import make_circle_arcs

X, _ = make_circle_arcs(1500, random_state=0)

# %%
# ``from_paper`` sets the networks of the paper, random initial weights, no pretraining, and ``init_clamp=0``. With only
# forty epochs, the learning rate has to be larger than the 1e-4 of the paper. λ must be below log K, the largest
# possible divergence.

settings = {"n_components": 10, "max_iter": 40, "tol": 0.0, "learning_rate": 2e-3, "random_state": 0}
fits = {
    floor: GMVAEClustering.from_paper("synthetic", min_information=floor, **settings).fit(X) for floor in (0.0, 1.0)
}

# %%
# With λ = 0 the divergence falls to zero: the components have merged. With λ = 1 it rises above λ once the components
# differ. :doc:`/benchmarks/minimum_information` has results for several seeds and more samples.

figure, ax = plt.subplots(figsize=(7, 4.4), layout="constrained")
for (floor, model), color in zip(fits.items(), ("#0072b2", "#d55e00"), strict=True):
    ax.plot(np.arange(1, 41), model.history_["kl_component"], color=color, label=f"trained with λ = {floor:g}")
ax.axhline(1.0, color="black", linestyle=":", label="λ = 1")
ax.axhline(np.log(10), color="0.5", linestyle="--", label="log K, the maximum")
ax.set(xlabel="epoch", ylabel="kl_component, nats per sample")
figure.legend(loc="outside lower center", ncols=2, frameon=False)
plt.show()
