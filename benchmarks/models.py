"""The methods of the benchmarks, by name; ClustPy's need ClustPy, which is imported when one of them is made."""

from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering

ESTIMATORS = {
    "gmvae": GMVAEClustering,
    "vade": VaDEClustering,
    "vaeem": VAEEMClustering,
}
MAX_GMM_FEATURES = 100


def make(name, n_components, seed, *, n_features, image_shape=None, params=None):
    """An unfitted method.

    Parameters
    ----------
    name : str
        One of ``NAMES``.
    n_components : int
    seed : int
    n_features : int
        Images of more than ``MAX_GMM_FEATURES`` pixels get the settings of ``for_images``.
    image_shape : (C, H, W), optional
        Of the rows, if they are images; told to the estimators of this package.
    params : dict, optional
        Set on top.

    Returns
    -------
    estimator
    """
    if name not in NAMES:
        raise ValueError(f"unknown model {name!r}; there are {', '.join(NAMES)}")
    if name in ESTIMATORS:
        estimator = ESTIMATORS[name]
        make_one = estimator.for_images if n_features > MAX_GMM_FEATURES else estimator
        method = make_one(n_components, image_shape=image_shape, random_state=seed)
    else:
        method = {**BASELINES, **PEERS}[name](n_components, seed, n_features)
    return method.set_params(**(params or {}))


def make_for(name, data, seed, *, n_components=None, params=None):
    """The same for the rows of a data set; None components: as many as it has classes."""
    shapes = {"n_features": data.train.shape[1], "image_shape": data.image_shape}
    return make(name, n_components or data.n_classes, seed, **shapes, params=params)


def _make_kmeans(n_components, seed, n_features):
    return KMeans(n_components, n_init=10, random_state=seed)


def _make_gmm(n_components, seed, n_features, mixture=GaussianMixture):
    if n_features > MAX_GMM_FEATURES:
        raise ValueError(f"a full {mixture.__name__} of {n_features} features is unaffordable; take pca+gmm")
    return mixture(n_components=n_components, n_init=5, random_state=seed)


def _make_bayesian_gmm(n_components, seed, n_features):
    return _make_gmm(n_components, seed, n_features, BayesianGaussianMixture)


def _make_pca_gmm(n_components, seed, n_features):
    gmm = GaussianMixture(n_components, n_init=5, random_state=seed)
    return Pipeline([("pca", PCA(20, random_state=seed)), ("gmm", gmm)])


def _make_clustpy(name, n_components, seed):
    from clustpy import deep

    # at its own defaults
    return getattr(deep, name)(n_components, random_state=seed)


class ToUnitInterval(MinMaxScaler):
    """Each feature scaled to [0, 1], where a value of the table lies outside."""

    def fit(self, X, y=None):
        """Learn the ranges."""
        super().fit(X)
        if X.min() >= 0.0 and X.max() <= 1.0:
            self.scale_[:], self.min_[:] = 1.0, 0.0
        return self


def _make_clustpy_vade(n_components, seed, n_features):
    # its default loss, the binary cross-entropy, takes no other values, not even by a rounding
    return Pipeline([("scale", ToUnitInterval(clip=True)), ("vade", _make_clustpy("VaDE", n_components, seed))])


def _make_clustpy_dec(n_components, seed, n_features):
    return _make_clustpy("DEC", n_components, seed)


BASELINES = {"kmeans": _make_kmeans, "gmm": _make_gmm, "bayesian gmm": _make_bayesian_gmm, "pca+gmm": _make_pca_gmm}
PEERS = {"clustpy-vade": _make_clustpy_vade, "clustpy-dec": _make_clustpy_dec}
NAMES = (*ESTIMATORS, *BASELINES, *PEERS)
