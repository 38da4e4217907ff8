"""Variational Deep Embedding as a scikit-learn estimator."""

from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar

import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skgmvae._base import DeepMixture
from skgmvae.data.arrays import Floats, Seed
from skgmvae.models.autoencoder import Autoencoder
from skgmvae.models.subcomponents import Counts, average_subcomponents, total_covariances
from skgmvae.models.vade import VaDE

__all__ = ["VaDEClustering"]


class VaDEClustering(DeepMixture):
    """Gaussian mixture in the latent space of a variational autoencoder (VaDE).

    A component c is drawn from π, an embedding z from N(m_c, S_c), and the sample x from a decoder network. The
    posterior q(c|x) is the exact optimum given q(z|x), so neither training nor ``predict_proba`` samples components.
    For tables, clusters are found in the standardized samples, and the model is initially the Gaussian mixture of these
    clusters (``linear_path``). Otherwise a plain autoencoder is pretrained first, and the mixture is initialized in its
    embedding. All parameters are then trained on the evidence lower bound.

    Parameters
    ----------
    n_components : int, default=3
        Number of components, K.
    n_mc_samples : int, default=1
        Draws of z per sample and training step, M.
    min_information : float, default=0.0
        λ in nats, 0 ≤ λ < log K: a lower bound on KL(q(c|x) ‖ π). The responsibilities of samples below it are tempered
        during training, which keeps components from merging. It does not affect ``predict_proba``.
    latent_dim : 'auto' or int, default='auto'
        Dimensions of z, L. 'auto': the number of features, but at least 4, and at most 10 without a linear path; 10 for
        images of at least 256 pixels.
    hidden_layer_sizes : 'auto' or tuple of int, default='auto'
        Hidden layers of the encoder; the decoder mirrors them. Ignored with ``network='conv'``.
        'auto': (256,); (128, 128) without a linear path, or with fewer latent dimensions than features;
        (500, 500, 2000) for images of ``image_shape`` of at least 256 pixels.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, default='full'
        Shape of the covariances S_c in the latent space, as in :class:`~sklearn.mixture.GaussianMixture`. The paper
        uses 'diag'.
    reg_covar : float, default=1e-6
        Added to the diagonal of the initial covariances.
    network : {'mlp', 'conv'}, default='mlp'
        Fully connected or convolutional networks.
    image_shape : (C, H, W), optional
        Shape of the images, if the samples are images; its product must be the number of features.
        ``init_params='auto'`` then compares images by histograms of oriented gradients (HOG). Required by
        ``network='conv'``.
    linear_path : {'auto'} or bool, default='auto'
        Whether linear maps are added to the networks: x = b + W z + decoder(z) + noise, E_q[z] = v + V x + encoder(x).
        The last layers of the networks are initially zero, so that the model is initially the Gaussian mixture of the
        initial clusters in the standardized samples, as far as its covariances and ``latent_dim`` allow; the strategies
        of ``init_params`` then look for clusters in these samples too. A heavy-tailed background of weight 1 /
        (n_samples + 1) is part of the density, but not a component: ``sample`` and ``predict_proba`` leave it out.
        'auto': for a Gaussian likelihood and ``network='mlp'``, up to 100 features, if the samples are not images and
        ``init_params`` is not 'random'.
    likelihood : str, sequence of str or dict, default='auto'
        p(x|z): one of 'auto', 'bernoulli', 'gaussian', 'log_normal', 'johnson_su', 'poisson', 'negative_binomial'
        or one for each feature, or a dict by name or index of features; the others are then 'auto'.
        'auto' selects Bernoulli if all values are 0 or 1, or for images of ``image_shape`` with values in [0, 1]. In
        other tables it selects for each feature: categorical if it is one of ``categorical_features``, Bernoulli if its
        values are 0 and 1, log-normal or Johnson's SU if it fits clearly better (see :doc:`/tables`), else Gaussian.
        The Gaussian has a learned variance per feature and standardizes the features internally; densities are in
        the units of the data.
    categorical_features : 'from_dtype', array-like or None, default='from_dtype'
        Features whose values are categories: their names or indices, or a boolean mask. 'from_dtype': the columns of a
        pandas or polars DataFrame that contain categories, strings or booleans. A feature may have at most 255
        categories. A category that was not seen in ``fit`` has probability 1e-6 and does not influence the component.
        Needs an array in memory or a DataFrame.
    init_params : {'auto', 'graph', 'gmm', 'kmeans', 'contrastive', 'random'}, clusterer or callable, default='auto'
        How the mixture is initialized. 'auto': a choice among several clusterings (spanning trees, neighbor graph,
        Gaussian mixtures), made without labels on the standardized inputs for at most 100 features (1,000 with at most
        5,000 samples); otherwise the graph of embedding and inputs, or of HOG features if ``image_shape`` is given.
        'graph': clusters of a nearest-neighbor graph of the embedding. 'gmm': a Gaussian mixture in the embedding.
        'kmeans': k-means in the embedding. 'contrastive', for images of ``image_shape``: the graph of features that are
        learned with augmentation (NT-Xent), which is more accurate and takes minutes longer. 'random': each component
        is the neighborhood of a random sample (k-means++). A clusterer: the labels of its ``fit_predict``. A callable:
        labels or responsibilities ``init_params(X, n_components=..., random_state=...)``. Labels of −1, or rows of
        zeros, mark unlabeled samples.
    weights_init : array-like of shape (n_components,), optional
    means_init : array-like of shape (n_components, n_features), optional
    precisions_init : array-like, optional
        Parameters of a Gaussian mixture in the units of the samples, as in :class:`~sklearn.mixture.GaussianMixture`
        with the same ``covariance_type``, or with full covariances if the estimator has none. If only some of the three
        are given, EM for a Gaussian mixture is run from those. The responsibilities of this mixture replace those of
        ``init_params``. Component c is then that of ``means_init[c]``.
    init_clamp : float, default=0.75
        Share of the training epochs, from the first on, in which the initial responsibilities are clamped; between 0
        and 1. With 0, responsibilities are updated from the first epoch on, as in the papers. With 1, they are clamped
        in all epochs. Ignored with ``init_params='random'``.
    pretrain_iter : 'auto' or int, default='auto'
        Epochs of the pretraining. 'auto': 0 with a linear path, since only the hidden layers would be kept; otherwise
        50, or 40 for images of at least 256 pixels, or 0 if the initialization does not use the embedding.
    max_iter : int or 'auto', default='auto'
        Maximum number of epochs after the pretraining; 0 keeps the initialization. 'auto' depends on the data:

        - tables: 50;
        - small tables: enough for 750 optimizer steps, but at most four times the number of samples per feature;
        - large tables: enough for 3,000 steps, between 10 and 50;
        - images of at least 256 pixels: 8.

        With early stopping, 'auto' allows a second training, up to twice as long, if the components do not match
        the initial clusters yet. ``n_iter_`` may then be up to three times ``max_iter_``.
    n_init : int, default=1
        Number of initializations; all share one pretraining. The fit with the highest score on the samples held out for
        early stopping is kept or, without early stopping, the fit with the highest lower bound.
    early_stopping : {'auto'} or bool, default='auto'
        Whether to hold out samples from the training, and to keep the model with the best score on them. With a linear
        path, the model remains its initial Gaussian mixture unless training clearly improves this score. 'auto': with a
        linear path, for 10 samples or more in memory.
    validation_fraction : float, default=0.1
        Share of each initial cluster that early stopping holds out. At least 30 samples are held out, or a fifth if
        there are fewer than 150, and at most 2,000.
    n_iter_no_change : int, default=10
        Number of consecutive checks of the held-out score without an improvement after which training stops. There is a
        check after every epoch or, for small tables, after several epochs.
    tol : float, default=0.1
        Without early stopping, training stops when the best lower bound of the last ten epochs (fewer if there are
        fewer than twenty unclamped epochs) exceeds the best earlier bound by no more than this, in nats per sample.
        (The default of GaussianMixture is smaller, since its bound has no Monte Carlo noise.) With early stopping,
        ``converged_`` requires that the last checks improved the held-out score by less than this, unless the mixture
        is kept.
    warm_start : bool, default=False
        If True, ``fit`` continues the last fit; pretraining and initialization are then skipped, and ``n_init`` is
        ignored.
    learn_weights : bool, default=True
        Learn the mixing weights π, as in the paper; otherwise they stay uniform.
    max_subcomponents : int, default=8
        The most subcomponents of a component. With a linear path, an initial cluster that is clearly no ellipse, such
        as a ring, begins as a mixture of several Gaussians, as many as its samples ask for (not with a
        ``covariance_type`` other than 'full'). All methods and attributes are of whole components, except ``net_``.
        1: no subcomponents, as in the paper.
    batch_size : 'auto' or int, default='auto'
        Samples per step. 'auto': 128, or 64 without a linear path; more for tables of many samples, up to 1,024, for
        about 40 steps per epoch.
    learning_rate : 'auto' or float, default='auto'
        Peak learning rate of Adam. It is warmed up linearly and then decays to zero along a cosine. 'auto': 1e-2; 5e-3
        without a linear path or with fewer latent dimensions than features; 3e-3 for tables of more than 100 features
        and small images; 1e-3 for images of at least 256 pixels.
    device : str, default='auto'
        'auto' uses CUDA if it is available, else the CPU. Otherwise any torch device.
    precision : {'auto', 'float32', 'bfloat16'}, default='auto'
        Precision of the networks during training. 'auto' uses bfloat16 on devices that are fast at it, for networks
        that are convolutional or have a layer of at least 500 units.
    memory : str or joblib.Memory, optional
        Caches the pretraining, so that a grid search over ``n_components``, ``n_mc_samples``, ``min_information`` and
        ``init_clamp`` pretrains once per fold; needs an integer ``random_state``.
    checkpoint : str or path-like, optional
        Folder in which ``fit`` stores its state every few seconds. If the process is killed, the same fit to the same
        samples continues from there, with an equal result. Needs an integer ``random_state``. The folder is deleted
        when the fit ends. In a grid search, every fit has its own folder inside it. Ignored by ``partial_fit`` and
        ``warm_start``.
    distributed : {'auto'} or bool, default='auto'
        Whether the processes that ``torchrun`` has started fit one model together: all of them call ``fit`` with the
        same samples, share the work of each step, and end with the same model. 'auto': if there are several processes,
        unless the fit is one of many, as in a grid search.
    callbacks : list of skorch callbacks, optional
        Called during training, but not during pretraining.
    random_state : int, RandomState or None, default=None
        Controls all randomness. Pass an int for reproducible results.
    verbose : int, default=0
        1: a progress bar with the terms of the bound; 2: a line per epoch.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,), int64
        Components of the training samples. Components are numbered by size, largest first.
    weights_ : ndarray of shape (n_components,)
        Mixing weights π.
    n_subcomponents_ : ndarray of shape (n_components,), int64
        Number of subcomponents of each component.
    means_ : ndarray of shape (n_components, n_features)
        E[x | c] in the units of the data.
    covariances_ : ndarray of shape (n_components, n_features, n_features)
        Cov[x | c] in the units of the data, by the law of total covariance.
    precisions_ : ndarray of shape (n_components, n_features, n_features)
        Inverses of ``covariances_``.
    precisions_cholesky_ : ndarray of shape (n_components, n_features, n_features)
        Upper-triangular factors of ``precisions_``, as in :class:`~sklearn.mixture.GaussianMixture`.
    latent_means_ : ndarray of shape (n_components, latent_dim)
        Means m_c in latent space; of several subcomponents, their mean.
    latent_covariances_ : ndarray
        Covariances S_c in latent space, of shape (K, L, L), (L, L), (K, L) or (K,) for 'full', 'tied', 'diag' or
        'spherical'.
    lower_bound_ : float
        Evidence lower bound of the last epoch, in nats per sample.
    lower_bounds_ : list of float
        Evidence lower bound of every epoch of the last training.
    history_ : dict of str to list of float
        Lower bound and each of its terms per epoch.
    pretrain_history_ : list of float
        Mean reconstruction log-likelihood per epoch of the pretraining.
    phase_seconds_ : dict of str to float
        Wall time per phase.
    likelihood_ : str or tuple of str
        The likelihood of all features, or of each.
    categories_ : list
        The array of categories of each categorical feature; None for all other features.
    init_params_ : str
        Name of the initialization that was used.
    converged_ : bool
    n_iter_ : int
        Number of epochs of the last training.
    validation_scores_ : list of float
        Mean log-density of the held-out samples at each check of the last training, in nats; empty without early
        stopping.
    best_iter_ : int
        Number of epochs that the final model was trained for, in all trainings; 0: it is as it was initialized.
    hidden_layer_sizes_ : tuple of int
    latent_dim_ : int
    batch_size_ : int
    learning_rate_ : float
    pretrain_iter_ : int
    max_iter_ : int
    precision_ : str
        Values of the parameters that may be 'auto'.
    net_ : skorch.NeuralNet
        Its ``module_`` is the torch model, :class:`skgmvae.models.VaDE`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)

    References
    ----------
    Z. Jiang, Y. Zheng, H. Tan, B. Tang and H. Zhou. Variational Deep Embedding: an unsupervised and
    generative approach to clustering. IJCAI 2017.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from skgmvae import VaDEClustering
    >>> X, _ = make_blobs(300, centers=3, random_state=0)
    >>> vade = VaDEClustering(3, tol=10.0, random_state=0).fit(X)
    >>> vade.predict_proba(X).shape
    (300, 3)
    >>> X_new, y_new = vade.sample(5, component=1)
    >>> y_new
    array([1, 1, 1, 1, 1])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepMixture._parameter_constraints,
        "covariance_type": [StrOptions({"full", "tied", "diag", "spherical"})],
        "reg_covar": [Interval(Real, 0.0, None, closed="left")],
    }

    latent_means_: Floats
    latent_covariances_: Floats

    def __init__(
        self,
        n_components: int = 3,
        *,
        n_mc_samples: int = 1,
        min_information: float = 0.0,
        latent_dim: int | str = "auto",
        hidden_layer_sizes: Sequence[int] | str = "auto",
        covariance_type: str = "full",
        reg_covar: float = 1e-6,
        network: str = "mlp",
        image_shape: Sequence[int] | None = None,
        linear_path: bool | str = "auto",
        likelihood: Any = "auto",
        categorical_features: Any = "from_dtype",
        init_params: Any = "auto",
        weights_init: Any = None,
        means_init: Any = None,
        precisions_init: Any = None,
        init_clamp: float = 0.75,
        pretrain_iter: int | str = "auto",
        max_iter: int | str = "auto",
        n_init: int = 1,
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 0.1,
        warm_start: bool = False,
        learn_weights: bool = True,
        max_subcomponents: int = 8,
        batch_size: int | str = "auto",
        learning_rate: float | str = "auto",
        device: str = "auto",
        precision: str = "auto",
        memory: Any = None,
        checkpoint: Any = None,
        distributed: bool | str = "auto",
        callbacks: Sequence[Any] | None = None,
        random_state: Seed = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.n_mc_samples = n_mc_samples
        self.min_information = min_information
        self.latent_dim = latent_dim
        self.hidden_layer_sizes = hidden_layer_sizes
        self.covariance_type = covariance_type
        self.reg_covar = reg_covar
        self.network = network
        self.image_shape = image_shape
        self.linear_path = linear_path
        self.likelihood = likelihood
        self.categorical_features = categorical_features
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.init_clamp = init_clamp
        self.pretrain_iter = pretrain_iter
        self.max_iter = max_iter
        self.n_init = n_init
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.learn_weights = learn_weights
        self.max_subcomponents = max_subcomponents
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.device = device
        self.precision = precision
        self.memory = memory
        self.checkpoint = checkpoint
        self.distributed = distributed
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose

    def _make_model(
        self, autoencoder: Autoencoder, generator: torch.Generator | None = None, subcomponents: Counts = None
    ) -> VaDE:
        return VaDE(
            autoencoder,
            int(self.n_components) if subcomponents is None else sum(subcomponents),
            covariance_type=self.covariance_type,
            learn_weights=bool(self.learn_weights),
            n_mc_samples=int(self.n_mc_samples),
            min_information=float(self.min_information),
            subcomponents=subcomponents,
            generator=generator,
            reg_covar=float(self.reg_covar),
        )

    def _set_model_attributes(self, model: VaDE) -> None:
        with torch.inference_mode():
            self.latent_means_ = average_subcomponents(model, model.means).numpy(force=True).copy()
            covariances = total_covariances(model, model.means, model.covariances())
        # shaped as GaussianMixture shapes them
        shapes = {
            "full": lambda c: c,
            "tied": lambda c: c[0],
            "diag": lambda c: c.diagonal(dim1=-2, dim2=-1),
            "spherical": lambda c: c[:, 0, 0],
        }
        self.latent_covariances_ = shapes[self.covariance_type](covariances).numpy(force=True).copy()
