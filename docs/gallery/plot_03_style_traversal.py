"""
Style apart from content: traversal of w
========================================

In :class:`~skgmvae.GMVAEClustering` two things vary within a component: a style variable w, which moves the
component's Gaussian, and the Gaussian itself. Each can be looked at alone.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skgmvae import GMVAEClustering
from skgmvae.plotting import ComponentSamplesDisplay, StyleTraversalDisplay

X, _ = load_digits(return_X_y=True)
gmvae = GMVAEClustering(n_components=10, style_dim=2, tol=3.0, random_state=0).fit(X)

# %%
# On the left w is held at zero and the Gaussian varies; on the right w goes along its first axis, from three standard
# deviations below zero to three above, and each component's mean is decoded.

K, n_columns = 10, 9
at_rest = np.concatenate([gmvae.sample(n_columns, component=c, w=0.0, random_state=0)[0] for c in range(K)])

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 6.4), layout="constrained")
ComponentSamplesDisplay(at_rest.clip(0, 16), np.repeat(np.arange(K), n_columns), image_shape=(8, 8)).plot(ax=left)
left.set_title("w = 0, samples")
StyleTraversalDisplay.from_estimator(gmvae, direction=0, inverse_transform=lambda rows: rows.clip(0, 16), ax=right)
right.set_title("component means along w")
plt.show()
