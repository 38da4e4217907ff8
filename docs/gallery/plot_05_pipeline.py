"""
StandardScaler, PCA and VaDE in a pipeline
==========================================

The estimators are ordinary steps of a :class:`~sklearn.pipeline.Pipeline`. Here the thirty features of the breast
cancer data are scaled and reduced before they are clustered.
"""

import matplotlib.pyplot as plt
from matplotlib.colors import ListedColormap
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgmvae import VaDEClustering

X, diagnosis = load_breast_cancer(return_X_y=True)
pipeline = make_pipeline(StandardScaler(), PCA(n_components=5), VaDEClustering(n_components=2, random_state=0))
labels = pipeline.fit_predict(X)

# %%
# ``pipeline[:-1]`` consists of the steps before the estimator. ``predict_proba`` of the whole pipeline returns the
# responsibilities, which distinguish samples between the clusters from samples inside them. The plot shows two of the
# five components, so samples that lie between the clusters in another one can seem to lie inside.

projected = pipeline[:-1].transform(X)
certainty = pipeline.predict_proba(X).max(axis=1)

figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.6), layout="constrained", sharey=True)
two_colors = ListedColormap(["#0072b2", "#e69f00"])
malignant = diagnosis == 0
for ax, classes, title in ((left, labels, "clusters"), (right, malignant, "orange: malignant, unknown to the fit")):
    ax.scatter(*projected[:, :2].T, c=classes, cmap=two_colors, s=12)
    ax.set(xlabel="first principal component", title=title)
unsure = certainty < 0.9
left.scatter(*projected[unsure, :2].T, facecolors="none", edgecolors="black", s=40, label="responsibility below 0.9")
left.set_ylabel("second principal component")
figure.legend(loc="outside lower center", frameon=False)
plt.show()
