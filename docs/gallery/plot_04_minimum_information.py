"""
The minimum information λ over epochs
=====================================

The GMVAE paper trains from random weights. Early on, the term ``kl_component`` then rewards components for
overlapping. With ``min_information`` = λ > 0 it costs at least λ, and a row whose divergence is below λ feels no such
pull.
"""

import matplotlib.pyplot as plt
import numpy as np

from skgmvae import GMVAEClustering
from skgmvae.datasets import make_circle_arcs

X, _ = make_circle_arcs(1500, random_state=0)

# %%
# ``from_paper`` gives the paper's networks, without pretraining and with random weights as its start. λ must lie below
# log K, the most that a component can tell about a row.

settings = {"n_components": 10, "max_iter": 40, "tol": 0.0, "learning_rate": 2e-3, "random_state": 0}
fits = {
    floor: GMVAEClustering.from_paper("synthetic", min_information=floor, **settings).fit(X) for floor in (0.0, 1.0)
}

# %%
# Without the floor the divergence falls to zero: the components have become one. With it, the term rises above the
# floor once components differ. How this goes over several seeds and with more rows is measured in
# :doc:`/benchmarks/minimum_information`.

figure, ax = plt.subplots(figsize=(7, 4.4), layout="constrained")
for (floor, model), color in zip(fits.items(), ("#0072b2", "#d55e00"), strict=True):
    ax.plot(np.arange(1, 41), model.history_["kl_component"], color=color, label=f"trained with λ = {floor:g}")
ax.axhline(1.0, color="black", linestyle=":", label="the floor λ = 1")
ax.axhline(np.log(10), color="0.5", linestyle="--", label="log K, the most possible")
ax.set(xlabel="epoch", ylabel="kl_component, nats per row")
figure.legend(loc="outside lower center", ncols=2, frameon=False)
plt.show()
