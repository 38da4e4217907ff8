"""A mixture of variational autoencoders, fitted by EM, as a scikit-learn estimator."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, ClassVar

import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skgmvae._auto import IMAGES, UNPACED_TABLES, get_defaults, is_auto
from skgmvae._base import DeepMixture
from skgmvae._constraints import LIST
from skgmvae.data.arrays import Seed
from skgmvae.models.autoencoder import Autoencoder
from skgmvae.models.columns import KINDS
from skgmvae.models.subcomponents import Counts, find_cluster
from skgmvae.models.vaeem import VAEEM
from skgmvae.training.em import EMConfig, EMNet, count_steps

__all__ = ["VAEEMClustering"]


class VAEEMClustering(DeepMixture):
    """Mixture of variational autoencoders, fitted by expectation-maximization (VAE-EM).

    A component c is drawn from π, z from N(0, I), and the sample x from the decoder network of that component, which
    also has its own encoder. For tables, clusters are found in the standardized samples, and the model is initially the
    Gaussian mixture of these clusters (``linear_path``). Otherwise a plain autoencoder is pretrained, and clusters are
    found in its embedding. EM iterations then alternate between training each component on samples drawn in proportion
    to its responsibilities (M-step) and updating the responsibilities (E-step).

    Parameters
    ----------
    n_components : int, default=3
        Number of components, K.
    n_mc_samples : int, default=1
        Draws of z per sample and training step, M.
    min_information : float, default=0.0
        λ in nats, 0 ≤ λ < log K: a lower bound on KL(u ‖ π) for the responsibilities u of a sample. Responsibilities
        below it are tempered during training. It does not affect ``predict_proba``.
    latent_dim : 'auto' or int, default='auto'
        Dimensions of z, L. 'auto': 5, or 10 for images of at least 256 pixels; with a linear path the number of
        features, but at least 5.
    hidden_layer_sizes : 'auto' or tuple of int, default='auto'
        Hidden layers of the encoder of every component; its decoder mirrors them. Ignored with ``network='conv'``.
        'auto': (128, 128); (500,) for images of ``image_shape`` of at least 256 pixels.
    pretrain_hidden_layer_sizes : tuple of int, optional
        Hidden layers of the pretrained autoencoder. None: those of the components, which are then initialized with the
        weights of the autoencoder, in coordinates in which the embedding of their samples is standard normal; for
        images of at least 256 pixels and ``hidden_layer_sizes='auto'``, (500, 500, 2000). If sizes are given, the
        initial weights of the components are random.
    network : {'mlp', 'conv'}, default='mlp'
        Fully connected or convolutional networks. The initial weights of convolutional components are random.
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
        p(x|z, c): one of 'auto', 'bernoulli', 'gaussian', 'log_normal', 'johnson_su', 'poisson', 'negative_binomial'
        and 'unit_gaussian', or one for each feature, or a dict by name or index of features; others are then 'auto'.
        'auto' selects Bernoulli if all values are 0 or 1, or for images of ``image_shape`` with values in [0, 1]. In
        other tables it selects for each feature: categorical if it is one of ``categorical_features``, Bernoulli if its
        values are 0 and 1, log-normal or Johnson's SU if it fits clearly better (see :doc:`/tables`), else Gaussian.
        The Gaussian has a learned variance per component and feature, and standardizes the features internally;
        densities are in the units of the data. 'unit_gaussian' has variance 1 in these units, as in the paper.
    categorical_features : 'from_dtype', array-like or None, default='from_dtype'
        Features whose values are categories: their names or indices, or a boolean mask. 'from_dtype': the columns of a
        pandas or polars DataFrame that contain categories, strings or booleans. A feature may have at most 255
        categories. A category that was not seen in ``fit`` has probability 1e-6 and does not influence the component.
        Needs an array in memory or a DataFrame.
    init_params : {'auto', 'graph', 'gmm', 'kmeans', 'contrastive', 'random'}, clusterer or callable, default='auto'
        Responsibilities of the first M-steps. 'auto': a choice among several clusterings (spanning trees, neighbor
        graph, Gaussian mixtures), made without labels on the standardized inputs for at most 100 features (1,000 with
        at most 5,000 samples); otherwise the graph of embedding and inputs, or of HOG features if ``image_shape`` is
        given. 'graph': clusters of a nearest-neighbor graph of the embedding. 'gmm': a Gaussian mixture in the
        embedding. 'kmeans': k-means in the embedding. 'contrastive', for images of ``image_shape``: the graph of
        features that are learned with augmentation (NT-Xent), which is more accurate and takes minutes longer.
        'random': each component is the neighborhood of a random sample (k-means++). A clusterer: the labels of its
        ``fit_predict``. A callable: labels or responsibilities ``init_params(X, n_components=..., random_state=...)``.
        Labels of −1, or rows of zeros, mark unlabeled samples.
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
        Maximum number of EM iterations; 0 keeps the initialization. 'auto' depends on the data:

        - tables: 25;
        - small tables: enough for 750 optimizer steps, but at most twice the number of samples per feature;
        - large tables: enough for 3,000 steps, between 10 and 25;
        - images of at least 256 pixels: 30.

        With early stopping, 'auto' allows a second training, up to twice as long, if the components do not match
        the initial clusters yet. ``n_iter_`` may then be up to three times ``max_iter_``.
    steps_per_iter : int, optional
        Optimizer steps per M-step. None: enough to draw every sample twice on average, but at least 5.
    m_step : {'sampled', 'weighted'}, default='sampled'
        'sampled': each step takes ``batch_size`` samples for every component, drawn in proportion to its
        responsibilities. 'weighted', as in the paper: each step takes ``batch_size`` samples for all components
        together and weights them, which costs K times as much per sample. Both have the same gradient in expectation.
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
        Without early stopping, training stops when the best lower bound of the last ten iterations (fewer if there are
        fewer than twenty unclamped iterations) exceeds the best earlier bound by no more than this, in nats per sample.
        With early stopping, ``converged_`` requires that the last checks improved the held-out score by less than
        this.
    warm_start : bool, default=False
        If True, ``fit`` continues the last fit; pretraining and initialization are then skipped, and ``n_init`` is
        ignored.
    learn_weights : bool, default=True
        Learn the mixing weights π, as the mean responsibilities in each M-step; otherwise they stay uniform, as in the
        paper.
    max_subcomponents : int, default=8
        The most subcomponents of a component. With a linear path, an initial cluster that is clearly no ellipse, such
        as a ring, begins as a mixture of several Gaussians, as many as its samples ask for (not with a
        ``covariance_type`` other than 'full'). All methods and attributes are of whole components, except ``net_``.
        1: no subcomponents, as in the paper.
    batch_size : 'auto' or int, default='auto'
        Samples per component and step. 'auto': 128, or fewer where a component has fewer, or more with many samples,
        up to 1,024, so that an iteration takes about 80 steps; 128 for images of at least 256 pixels.
    learning_rate : 'auto' or float, default='auto'
        Peak learning rate of Adam. It is warmed up linearly and then decays to zero along a cosine. 'auto': 1.7e-3, or
        1e-3 for images of at least 256 pixels.
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
        1: a progress bar with the terms of the bound; 2: a line per iteration.

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
    lower_bound_ : float
        J = Σ_c u_c ELBO_c − KL(u ‖ π) of the last E-step, in nats per sample. E-steps evaluate z at the mean of
        q_c(z|x), without noise, so J exceeds a bound by about half a nat per active latent dimension.
    lower_bounds_ : list of float
        J of every EM iteration of the last training.
    history_ : dict of str to list of float
        J and each of its terms per iteration.
    reseeded_ : list of (int, int)
        (iteration, component) for every component that lost its samples and was reseeded with half of the largest
        component.
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
        Number of EM iterations of the last training.
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
        Its ``module_`` is the torch model, :class:`skgmvae.models.VAEEM`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)

    References
    ----------
    M. Adipoetra and S. Martin. Deep Generative Clustering with VAEs and Expectation-Maximization. 2025.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from skgmvae import VAEEMClustering
    >>> X, _ = make_blobs(300, centers=3, random_state=0)
    >>> vaeem = VAEEMClustering(3, tol=10.0, random_state=0).fit(X)
    >>> vaeem.transform(X).shape
    (300, 3)
    >>> X_new, y_new = vaeem.sample(5, component=1)
    >>> y_new
    array([1, 1, 1, 1, 1])
    """

    _net_type = EMNet
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepMixture._parameter_constraints,
        "likelihood": [StrOptions({"auto", "unit_gaussian", *KINDS} - {"categorical"}), LIST, Mapping],
        "pretrain_hidden_layer_sizes": [LIST, None],
        "steps_per_iter": [Interval(Integral, 1, None, closed="left"), None],
        "m_step": [StrOptions({"sampled", "weighted"})],
    }

    _table_defaults = replace(UNPACED_TABLES, latent_dims=(5, 5), learning_rate=1.7e-3, max_iter=25, most_passes=2)
    _unpaced_table_defaults = _table_defaults
    _network_table_defaults = replace(_table_defaults, batch_size=64, learning_rate=1e-3, least_steps=1500)
    _image_defaults = replace(
        IMAGES,
        hidden_layer_sizes=(500,),
        pretrain_hidden_layer_sizes=IMAGES.hidden_layer_sizes,
        pretrain_iter=0,  # the initialization needs no embedding, and initial weights are random
        max_iter=30,
    )
    reseeded_: list[tuple[int, int]]

    def __init__(
        self,
        n_components: int = 3,
        *,
        n_mc_samples: int = 1,
        min_information: float = 0.0,
        latent_dim: int | str = "auto",
        hidden_layer_sizes: Sequence[int] | str = "auto",
        pretrain_hidden_layer_sizes: Sequence[int] | None = None,
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
        steps_per_iter: int | None = None,
        m_step: str = "sampled",
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
        self.pretrain_hidden_layer_sizes = pretrain_hidden_layer_sizes
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
        self.steps_per_iter = steps_per_iter
        self.m_step = m_step
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

    def _autoencoder_layer_sizes(self) -> Sequence[int]:
        if self.pretrain_hidden_layer_sizes is not None:
            return self.pretrain_hidden_layer_sizes
        own = get_defaults(self, self.n_features_in_).pretrain_hidden_layer_sizes
        return own if is_auto(self.hidden_layer_sizes) and own is not None else self.hidden_layer_sizes_

    def _net_options(self) -> dict[str, Any]:
        return {"em": EMConfig(None if self.steps_per_iter is None else int(self.steps_per_iter), self.m_step)}

    def _rows_per_network(self, n_samples: int) -> float:
        return n_samples / int(self.n_components)

    def _steps_per_epoch(self, n_samples: int, batch_size: int) -> int:
        return count_steps(self._net_options()["em"], n_samples, batch_size, int(self.n_components))

    def _make_model(
        self, autoencoder: Autoencoder, generator: torch.Generator | None = None, subcomponents: Counts = None
    ) -> VAEEM:
        is_given = self.pretrain_hidden_layer_sizes is not None
        has_own_sizes = is_given or tuple(autoencoder.hidden_layer_sizes) != self.hidden_layer_sizes_
        return VAEEM(
            autoencoder,
            int(self.n_components) if subcomponents is None else sum(subcomponents),
            hidden_layer_sizes=self.hidden_layer_sizes_ if has_own_sizes else None,
            image_shape=self.image_shape if self.network == "conv" else None,
            learn_weights=bool(self.learn_weights),
            n_mc_samples=int(self.n_mc_samples),
            min_information=float(self.min_information),
            subcomponents=subcomponents,
            generator=generator,
        )

    def _set_model_attributes(self, model: VAEEM) -> None:
        counts = model.subcomponents
        self.reseeded_ = [(iteration, find_cluster(component, counts)) for iteration, component in model.reseeded]
