"""
Saving and loading
==================

``save`` writes arrays and JSON to one file, and ``load`` reads it without executing anything in it. The loaded
estimator makes the same predictions as the saved one, and can be trained further.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skgmvae import VAEEMClustering

X, _ = load_digits(return_X_y=True)
X = X[:600]
vaeem = VAEEMClustering(n_components=5, max_iter=15, tol=10.0, random_state=0).fit(X)

with TemporaryDirectory() as folder:
    path = Path(folder) / "digits.safetensors"
    vaeem.save(path)
    print(f"{path.stat().st_size / 1e6:.1f} MB")
    loaded = VAEEMClustering.load(path)

# %%
# Labels and log-likelihoods are identical on the same machine.

print("labels:", np.array_equal(loaded.predict(X), vaeem.predict(X)))
print("log-likelihoods:", np.array_equal(loaded.score_samples(X), vaeem.score_samples(X)))

# %%
# Some samples, and their reconstructions by the saved and by the loaded estimator.

rows = X[:12]
strips = {"data": rows, "saved": vaeem.reconstruct(rows), "loaded": loaded.reconstruct(rows)}
figure, axes = plt.subplots(3, 1, figsize=(8, 2.6), layout="constrained")
for ax, (name, strip) in zip(axes, strips.items(), strict=True):
    ax.imshow(np.hstack(np.pad(strip.reshape(-1, 8, 8), ((0, 0), (0, 0), (0, 1)))), cmap="gray_r", vmin=0, vmax=16)
    ax.set(xticks=[], yticks=[])
    ax.set_ylabel(name, rotation=0, ha="right", va="center")
    ax.spines[:].set_visible(False)
plt.show()
