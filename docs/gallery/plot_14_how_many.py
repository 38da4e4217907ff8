"""
How many clusters
=================

:class:`~skgmvae.model_selection.ComponentSearchCV` compares several numbers of clusters, and reports the evidence: how
deep the density dips between neighboring clusters, and how well the labels of neighbors predict a label. Components
that only improve the fit within one cluster do not count.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_blobs, make_moons

from skgmvae import VaDEClustering
from skgmvae.model_selection import ComponentSearchCV
from skgmvae.plotting import ComponentHierarchyDisplay, ComponentSearchDisplay

moons, _ = make_moons(300, noise=0.06, random_state=0)
blobs, _ = make_blobs([150, 100], centers=[[-0.5, 2.5], [1.5, 2.7]], cluster_std=0.25, random_state=0)
X = np.vstack([moons, blobs])

# %%
# The data are two moons and two round clusters. The estimator is fitted once, for the chosen number.

search = ComponentSearchCV(VaDEClustering(random_state=0), range(1, 9), cv=3, random_state=0).fit(X)
print(search.best_n_components_, search.best_by_criterion_)

# %%
# The dotted line is the chosen number. A ring is the choice of a single criterion. The held-out log-likelihood prefers
# more components, since moons are not Gaussian. Below are the clusters for the chosen number, one fewer and one more,
# in the embedding of the fitted model, which has straightened the moons.

ComponentSearchDisplay.from_search(search, X)
plt.show()

# %%
# A mixture that has been fitted with too many components can be merged without another fit. The lower two components
# merge, the fewer nats the density falls between them.

vade = VaDEClustering(7, random_state=0).fit(X)
ComponentHierarchyDisplay.from_estimator(vade, X)
plt.show()
