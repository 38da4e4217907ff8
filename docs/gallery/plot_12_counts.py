"""
Clustering counts, as in single-cell data
=========================================

Counts whose totals differ between samples are normalized and then treated as continuous: they are divided by the
total of the sample and multiplied by a constant, and log(1 + x) is taken. The data are simulated: three cell types
that differ in the rates of two hundred genes.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, normalize

from skgmvae import VaDEClustering
from skgmvae.metrics import clustering_accuracy

rng = np.random.default_rng(0)
n_cells, n_genes, n_types = 900, 200, 3
rates = rng.gamma(0.6, 1.0, size=n_genes) * np.exp(0.8 * rng.normal(size=(n_types, n_genes)))
cell_type = rng.integers(n_types, size=n_cells)
depth = rng.lognormal(0.0, 0.5, size=(n_cells, 1))
counts = rng.poisson(depth * rng.gamma(2.0, rates[cell_type] / 2.0))
print(f"{(counts == 0).mean():.0%} of the counts are zero; totals from {counts.sum(1).min()} to {counts.sum(1).max()}")

# %%
# The Gaussian likelihood of transformed counts is an approximation, and scores are densities of the transformed values.
# For a table with only a few columns of counts, use a likelihood for counts instead: see :doc:`/tables`.


def to_log_rates(counts):
    """log(1 + 200 × share of the row's total)."""
    return np.log1p(200.0 * normalize(counts, norm="l1"))


pipeline = make_pipeline(
    FunctionTransformer(to_log_rates), PCA(n_components=20, random_state=0), VaDEClustering(3, random_state=0)
)
labels = pipeline.fit_predict(counts)
print(f"accuracy {clustering_accuracy(cell_type, labels):.3f}")

# %%
# The embedding has twenty dimensions, as many as the estimator has features. The plot shows its first two principal
# components.

embedding = PCA(n_components=2).fit_transform(pipeline.transform(counts))
figure, ax = plt.subplots(figsize=(6.2, 4.4), layout="constrained")
for component, (color, marker) in enumerate(zip(("#0072b2", "#e69f00", "#009e73"), "os^", strict=True)):
    ax.scatter(*embedding[labels == component].T, s=12, color=color, marker=marker, label=f"component {component}")
ax.set(xlabel="first principal component of the embedding", ylabel="second")
ax.legend(frameon=False)
plt.show()
