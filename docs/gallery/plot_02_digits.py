"""
Handwritten digits: samples of each component
=============================================

:class:`~skgmvae.VaDEClustering` clusters scikit-learn's 1,797 digits of 8 × 8 pixels without their labels, and
then draws new digits from each component.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from skgmvae import VaDEClustering
from skgmvae.metrics import clustering_accuracy
from skgmvae.plotting import ComponentSamplesDisplay

X, digits = load_digits(return_X_y=True)
vade = VaDEClustering(n_components=10, random_state=0).fit(X)

# %%
# The classes are used for evaluation only: the accuracy is the share of samples whose cluster is matched with
# their digit, under the best matching of clusters and digits.

print(f"accuracy {clustering_accuracy(digits, vade.labels_):.3f}")

# %%
# Each row of the figure is a component, the largest at the top. All rows use the same noise, so a column shows the same
# deviation from the mean of each component. The images are grainy because of the noise of the Gaussian likelihood.


def to_pixels(rows):
    """Gray levels of the data, 0 to 16."""
    return rows.clip(0, 16)


ComponentSamplesDisplay.from_estimator(vade, inverse_transform=to_pixels, random_state=0)
plt.show()
