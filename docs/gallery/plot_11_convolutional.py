"""
Convolutional networks for images
=================================

With ``network="conv"`` and ``image_shape``, encoder and decoder are convolutional. Samples are flat, as everywhere in
scikit-learn, and values are scaled to [0, 1], which selects the Bernoulli likelihood for images.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skgmvae import VaDEClustering
from skgmvae.metrics import clustering_accuracy
from skgmvae.plotting import ComponentSamplesDisplay, HistoryDisplay

X, digits = load_digits(return_X_y=True)
X = X / 16.0
conv = VaDEClustering(
    n_components=10, network="conv", image_shape=(1, 8, 8), pretrain_iter=12, max_iter=12, tol=1.0, random_state=0
).fit(X)
print(f"accuracy {clustering_accuracy(digits, conv.labels_):.3f}")

# %%
# Each phase has at most twelve epochs, since convolutions are slow on a CPU. The first nine epochs of the training
# clamp the initial responsibilities (``init_clamp=0.75``).

HistoryDisplay.from_estimator(conv)
plt.show()

# %%
# Reconstructions of the first ten samples of each component: the probability of ink at every pixel. Draws from the
# model would be black and white, since a Bernoulli variable is 0 or 1.

first_rows = np.concatenate([np.flatnonzero(conv.labels_ == component)[:10] for component in range(10)])
ComponentSamplesDisplay(conv.reconstruct(X[first_rows]), conv.labels_[first_rows], image_shape=(8, 8)).plot()
plt.show()
