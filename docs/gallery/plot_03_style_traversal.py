"""
Separating style from content: traversal of w
=============================================

A component of :class:`~skgmvae.GMVAEClustering` has two sources of variation: the style variable w, which moves the
Gaussian of the component, and the Gaussian itself. They can be shown separately.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skgmvae import GMVAEClustering
from skgmvae.plotting import ComponentSamplesDisplay, StyleTraversalDisplay

X, _ = load_digits(return_X_y=True)
gmvae = GMVAEClustering(n_components=10, style_dim=2, linear_path=False, tol=3.0, random_state=0).fit(X)

# %%
# With a linear path, the default for tables, the model would remain the Gaussian mixture of its initial clusters if
# training did not clearly improve the held-out score. The components of that mixture do not depend on w.
#
# On the left, w is fixed at zero and the Gaussian varies. On the right, w moves along its first axis, from three
# standard deviations below zero to three above, and the mean of each component is decoded. Where a component has more
# than one digit, w changes the digit too.

K, n_columns = 10, 9
at_rest = np.concatenate([gmvae.sample(n_columns, component=c, w=0.0, random_state=0)[0] for c in range(K)])

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 6.4), layout="constrained")
ComponentSamplesDisplay(at_rest.clip(0, 16), np.repeat(np.arange(K), n_columns), image_shape=(8, 8)).plot(ax=left)
left.set_title("w = 0, samples")
StyleTraversalDisplay.from_estimator(gmvae, direction=0, inverse_transform=lambda rows: rows.clip(0, 16), ax=right)
right.set_title("component means along w")
plt.show()
