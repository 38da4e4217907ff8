"""
Continuing a fit: warm_start and partial_fit
============================================

With ``warm_start=True``, ``fit`` continues the previous fit. ``partial_fit`` makes one pass over each block of a
stream.
"""

import matplotlib.pyplot as plt
import numpy as np

from skgmvae import VaDEClustering
from skgmvae.datasets import make_circle_arcs

X, _ = make_circle_arcs(10_000, random_state=0)
held_out, _ = make_circle_arcs(1000, random_state=1)

# %%
# Three fits of twenty epochs each, all recorded in ``history_``. The learning rate schedule restarts with each fit and
# decays to zero, so the result differs from that of a single fit of sixty epochs. The first fifteen epochs of each fit
# clamp the responsibilities of the model that it continues (``init_clamp=0.75``), so that clusters are kept. With early
# stopping, a fit that does not clearly improve the held-out score would leave the model unchanged.

warm = VaDEClustering(n_components=5, max_iter=20, warm_start=True, early_stopping=False, tol=0.0, random_state=0)
for _ in range(3):
    warm.fit(X[:1000])
n_epochs = len(warm.history_["lower_bound"])

# %%
# Ten blocks of 1,000 samples. The first call determines the standardization and initializes the mixture with its block.
# Each further call is one pass over its block, with a constant learning rate. The responsibilities that the
# current model assigns to the block are clamped. Of the update, only the part that raises the density of the block is
# applied, which can be nothing: the score is then the same as before.

stream = VaDEClustering(n_components=5, random_state=0)
scores = [stream.partial_fit(block).score(held_out) for block in np.split(X, 10)]

# %%
# The bound per epoch, with a line at the beginning of each ``fit``, and the held-out score after each block.

figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
left.plot(np.arange(1, n_epochs + 1), warm.history_["lower_bound"], color="#0072b2")
for begin in (20.5, 40.5):
    left.axvline(begin, color="0.5", linestyle=":")
left.set(title="warm_start: three fits", xlabel="epoch", ylabel="lower bound, nats per sample")
right.plot(np.arange(1, 11), scores, color="#d55e00", marker="o")
right.set(title="partial_fit: ten blocks", xlabel="block", ylabel="held-out score, nats per sample")
plt.show()
