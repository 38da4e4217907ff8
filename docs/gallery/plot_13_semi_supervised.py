"""
Semi-supervised: ten labels per class
=====================================

With labels for some of the samples and ``init_clamp=1``, the fit is semi-supervised. Here ten digits of each class are
labeled, 100 of 1,797. The labels spread to the other samples along a nearest-neighbor graph of the pixels, and
:class:`~skgmvae.VaDEClustering` learns to predict them. Two methods of scikit-learn get the same labels: label
spreading in the pixels, and a support vector machine, which uses the labeled samples only.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.semi_supervised import LabelSpreading
from sklearn.svm import SVC

from skgmvae import VaDEClustering

X, digits = load_digits(return_X_y=True)
vade = VaDEClustering(10, init_clamp=1.0, random_state=0)
methods = {
    "VaDEClustering": lambda labels: vade.fit(X, init_labels=labels).predict(X),
    "LabelSpreading": lambda labels: LabelSpreading(kernel="knn", n_neighbors=10).fit(X, labels).transduction_,
    "SVC": lambda labels: SVC().fit(X[labels >= 0], labels[labels >= 0]).predict(X),
}

# %%
# The accuracy is measured on the samples without a label. Component 3 is that of label 3, so predictions are digits.
# The labeled samples are drawn at random five times.


def draw_labels(seed, n_per_class=10):
    """The digit of ten samples per class, −1 for the others."""
    rng = np.random.default_rng(seed)
    known = np.concatenate([rng.choice(np.flatnonzero(digits == k), n_per_class, replace=False) for k in range(10)])
    labels = np.full(len(digits), -1)
    labels[known] = digits[known]
    return labels


accuracies = {name: [] for name in methods}
for seed in range(5):
    labels = draw_labels(seed)
    for name, predict in methods.items():
        accuracies[name].append(np.mean((predict(labels) == digits)[labels < 0]))
for name, values in accuracies.items():
    print(f"{name:<15} {np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}")

# %%
# With ten labels per class, VaDE and label spreading are about as accurate, and both are better than the classifier.
# Only the mixture is also a density: it scores new samples, and draws digits of a class.

figure, axes = plt.subplots(3, 10, figsize=(8, 2.6), layout="constrained")
for digit, column in enumerate(axes.T):
    samples, _ = vade.sample(len(column), component=digit, random_state=0)
    for ax, sample in zip(column, samples, strict=True):
        ax.imshow(sample.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.axis("off")
figure.suptitle("samples of each class")
plt.show()
