"""
Going on with a fit: warm_start and partial_fit
===============================================

``warm_start=True`` lets ``fit`` continue on the same rows; ``partial_fit`` takes one pass over each block of a stream.
"""

import matplotlib.pyplot as plt
import numpy as np

from skgmvae import VaDEClustering
from skgmvae.datasets import make_circle_arcs

X, _ = make_circle_arcs(10_000, random_state=0)
held_out, _ = make_circle_arcs(1000, random_state=1)

# %%
# Three fits of twenty epochs. ``history_`` goes on; the step size begins anew with each fit and decays to zero over
# it, so this is not the same as one fit of sixty epochs.

warm = VaDEClustering(n_components=5, max_iter=20, warm_start=True, tol=0.0, random_state=0)
for _ in range(3):
    warm.fit(X[:1000])
n_epochs = len(warm.history_["lower_bound"])

# %%
# Ten blocks of 1,000 rows. The first call pretrains the autoencoder, standardizes and starts the mixture with its
# block; each further call is one pass over its own, with a constant step size.

stream = VaDEClustering(n_components=5, random_state=0)
scores = [stream.partial_fit(block).score(held_out) for block in np.split(X, 10)]

# %%
# The bound per epoch, with a line where a new ``fit`` began, and the held-out score after each block.

figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
left.plot(np.arange(1, n_epochs + 1), warm.history_["lower_bound"], color="#0072b2")
for begin in (20.5, 40.5):
    left.axvline(begin, color="0.5", linestyle=":")
left.set(title="warm_start: three fits", xlabel="epoch", ylabel="lower bound, nats per row")
right.plot(np.arange(1, 11), scores, color="#d55e00", marker="o")
right.set(title="partial_fit: ten blocks", xlabel="block", ylabel="score of held-out rows, nats per row")
plt.show()
