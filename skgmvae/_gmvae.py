"""The Gaussian mixture variational autoencoder as a scikit-learn estimator."""

from __future__ import annotations  # help() then shows MatrixLike, not what it stands for

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skgmvae._auto import NETWORK_TABLES, choose_style_dim
from skgmvae._base import DeepMixture
from skgmvae._conditioning import to_user
from skgmvae._evaluation import inference_precision, model_for_queries
from skgmvae._presets import PAPER_SETTINGS
from skgmvae._sampling import check_component, draw_components, to_labels
from skgmvae.data.arrays import Array, Floats, Integers, Seed
from skgmvae.models.autoencoder import Autoencoder
from skgmvae.models.gmvae import GMVAE
from skgmvae.models.networks import DENSE_AFTER_CONVOLUTIONS
from skgmvae.models.subcomponents import Counts, find_heaviest
from skgmvae.runtime import check_device, isolated

__all__ = ["GMVAEClustering"]


class GMVAEClustering(DeepMixture):
    """Gaussian mixture variational autoencoder (GMVAE).

    A style variable w is drawn from N(0, I) and a component c from π. One network maps w to the mean and the variance
    of every component. The embedding z is drawn from the Gaussian of component c, and the sample x from a decoder
    network. Clusters are thus mixtures of infinitely many Gaussians, even in the latent space, and need not be
    ellipses. For tables, clusters are found in the standardized samples, and the model is initially a Gaussian mixture
    of these clusters (``linear_path``). Otherwise a plain autoencoder is pretrained first, and the mixture is
    initialized in its embedding. All parameters are then trained on the evidence lower bound.

    Parameters
    ----------
    n_components : int, default=3
        Number of components, K.
    n_mc_samples : int, default=1
        Joint draws of (z, w) per sample and training step, M.
    min_information : float, default=0.0
        λ in nats, 0 ≤ λ < log K: the divergence KL(p(c|z,w) ‖ π) of a sample is replaced by max(λ, divergence) (Eq. 7).
        Below λ it has no gradient, so that components are not drawn together before they have separated.
    latent_dim : 'auto' or int, default='auto'
        Dimensions of z, L. 'auto': the number of features, but at least 4, and at most 10 without a linear path; 10 for
        images of at least 256 pixels.
    style_dim : 'auto' or int, default='auto'
        Dimensions of w, W. 'auto': the number of continuous features, but at most ``latent_dim_``, and at least 2; 2
        without a linear path.
    hidden_layer_sizes : 'auto' or tuple of int, default='auto'
        Hidden layers of the encoder; the decoder mirrors them, and the prior network has one hidden layer as wide as
        the narrowest of them. Ignored with ``network='conv'``.
        'auto': (256,); (128, 128) without a linear path, or with fewer latent dimensions than features;
        (500, 500, 2000) for images of ``image_shape`` of at least 256 pixels.
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
        learned with augmentation (NT-Xent), which is more accurate and takes minutes longer. 'random': random weights
        of the networks, as in the paper (which does not pretrain either: ``pretrain_iter=0``). A clusterer: the labels
        of its ``fit_predict``. A callable: labels or responsibilities
        ``init_params(X, n_components=..., random_state=...)``. Labels of −1, or rows of zeros, mark unlabeled samples.
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
          1,200 and twice without a linear path, or with fewer latent dimensions than features;
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
        Learn the mixing weights π; otherwise they stay uniform, as in the paper.
    max_subcomponents : int, default=8
        The most subcomponents of a component. With a linear path, an initial cluster that is clearly no ellipse, such
        as a ring, begins as a mixture of several Gaussians, as many as its samples ask for (not with a
        ``covariance_type`` other than 'full'). All methods and attributes are of whole components, except ``net_``.
        1: no subcomponents, as in the paper.
    batch_size : 'auto' or int, default='auto'
        Samples per step. 'auto': 128, or 64 without a linear path or with fewer latent dimensions than features; more
        with many samples, up to 1,024, so that an epoch takes about 40 steps; 128 for images of at least 256 pixels.
    learning_rate : 'auto' or float, default='auto'
        Peak learning rate of Adam. It is warmed up linearly and then decays to zero along a cosine. 'auto': 1e-2; 3e-3
        without a linear path or with fewer latent dimensions than features; 1e-3 for images of at least 256 pixels.
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
    style_dim_ : int
    batch_size_ : int
    learning_rate_ : float
    pretrain_iter_ : int
    max_iter_ : int
    precision_ : str
        Values of the parameters that may be 'auto'.
    net_ : skorch.NeuralNet
        Its ``module_`` is the torch model, :class:`skgmvae.models.GMVAE`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)

    References
    ----------
    N. Dilokthanakul, P. A. M. Mediano, M. Garnelo, M. C. H. Lee, H. Salimbeni, K. Arulkumaran and
    M. Shanahan. Deep unsupervised clustering with Gaussian mixture variational autoencoders.
    arXiv:1611.02648, 2016.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from skgmvae import GMVAEClustering
    >>> X, _ = make_blobs(300, centers=3, random_state=0)
    >>> gmvae = GMVAEClustering(3, tol=10.0, random_state=0).fit(X)
    >>> gmvae.predict_proba(X).shape
    (300, 3)
    >>> X_new, y_new = gmvae.sample(5, component=1, w=0.0)
    >>> y_new
    array([1, 1, 1, 1, 1])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepMixture._parameter_constraints,
        "style_dim": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    }
    # with fewer or larger steps, more of the clusters that are not ellipses were not found
    _unpaced_table_defaults = NETWORK_TABLES

    def __init__(
        self,
        n_components: int = 3,
        *,
        n_mc_samples: int = 1,
        min_information: float = 0.0,
        latent_dim: int | str = "auto",
        style_dim: int | str = "auto",
        hidden_layer_sizes: Sequence[int] | str = "auto",
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
        self.style_dim = style_dim
        self.hidden_layer_sizes = hidden_layer_sizes
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

    @classmethod
    def from_paper(cls, experiment: str, **parameters: Any) -> Self:
        """An estimator with the networks and settings of an experiment of the paper.

        Parameters
        ----------
        experiment : {'synthetic', 'mnist', 'svhn'}
        **parameters : dict
            Further parameters, such as ``n_components=16``; they override the settings.

        Returns
        -------
        GMVAEClustering
            Unfitted.
        """
        if experiment not in PAPER_SETTINGS:
            raise ValueError(f"experiment must be one of {', '.join(PAPER_SETTINGS)}; got {experiment!r}")
        return cls(**{**PAPER_SETTINGS[experiment], **parameters})

    def _make_model(
        self, autoencoder: Autoencoder, generator: torch.Generator | None = None, subcomponents: Counts = None
    ) -> GMVAE:
        # 120 and 500 units for the paper's data, as in table A.2
        is_mlp = self.network == "mlp" and len(self.hidden_layer_sizes_) > 0
        return GMVAE(
            autoencoder,
            int(self.n_components) if subcomponents is None else sum(subcomponents),
            choose_style_dim(self, autoencoder),
            prior_width=min(self.hidden_layer_sizes_) if is_mlp else DENSE_AFTER_CONVOLUTIONS,
            learn_weights=bool(self.learn_weights),
            n_mc_samples=int(self.n_mc_samples),
            min_information=float(self.min_information),
            subcomponents=subcomponents,
            generator=generator,
        )

    def _set_model_attributes(self, model: GMVAE) -> None:
        """Nothing: means and covariances in the latent space depend on w."""

    @property
    def style_dim_(self) -> int:
        """Dimensions of w."""
        if "net_" not in vars(self):
            raise AttributeError("the estimator has no style_dim_ before it is fitted; call fit first")
        return int(self.net_.module_.style_dim)

    @isolated()
    def sample(
        self,
        n_samples: int = 1,
        *,
        component: int | None = None,
        given: Mapping[Any, Any] | None = None,
        w: ArrayLike | None = None,
        expected: bool = False,
        random_state: Seed = None,
    ) -> tuple[Any, Integers]:
        """Draw samples from the fitted distribution.

        Parameters
        ----------
        n_samples : int, default=1
        component : int, optional
            Draw from this component alone.
        given : dict, optional
            Values of some features, by name or index: the others are drawn given these, and so are the components, by
            importance sampling.
        w : float or array-like of shape (style_dim,) or (n_samples, style_dim), optional
            Fixed value of the style variable. With ``w=0``, for example, all variation within a component is that of
            its Gaussian (Fig. 5a of the paper), or of those of its subcomponents. If there is one value per sample,
            values are assigned to the samples in the order of their components.
        expected : bool, default=False
            Return E[x | z] instead of a draw of x given z: for images, samples without the noise of the likelihood. Of
            categories, the most probable.
        random_state : int, RandomState or None, default=None
            None: the estimator's ``random_state``; if this is an integer, every call draws the same samples.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            In the units of the data, sorted by component. If the estimator was fitted to a DataFrame with columns of
            categories, a DataFrame.
        y : ndarray of shape (n_samples,), int64
            The component of each sample.

        Raises
        ------
        ValueError
            If ``n_samples`` is below one, ``component`` is not one of the components, ``given`` names no feature, or
            ``w`` has the wrong shape, is not finite, or comes with ``given``.
        """
        if given and w is not None:
            raise ValueError("pass either w or given, not both: the style follows from the given values")
        if w is None:
            return super().sample(
                n_samples, component=component, given=given, expected=expected, random_state=random_state
            )
        components, seed = draw_components(self, n_samples, component, random_state)
        samples = self._generate(components, seed, expected=expected, w=self._check_w(w, n_samples))
        return to_user(self, samples), to_labels(self, components)

    @isolated()
    def traverse(self, w: Sequence[ArrayLike] | Array, *, component: int) -> Any:
        """Decode the center of a component for given styles w: E[x | z = μ_c(w)] (Fig. 5b of the paper).

        Parameters
        ----------
        w : array-like of shape (n_points, style_dim)
            Points in the space of w, such as points on a line through zero.
        component : int

        Returns
        -------
        X : ndarray of shape (n_points, n_features)
            In the units of the data. If the estimator was fitted to a DataFrame with columns of categories, a
            DataFrame.

        Raises
        ------
        ValueError
            If ``component`` is not one of the components, or ``w`` has the wrong shape or is not finite.
        """
        check_is_fitted(self)
        check_component(self, component)
        points = self._check_w(w)
        with inference_precision(single=False):
            model = model_for_queries(self.net_.module_, check_device(self.device))
        there = next(model.parameters()).device
        with torch.inference_mode():
            components = find_heaviest(model, component).to(there).expand(len(points))
            means = model.traverse(components, torch.from_numpy(points).to(there)).numpy(force=True)
        return to_user(self, means)

    def _check_w(self, w: ArrayLike | Sequence[ArrayLike], n_rows: int | None = None) -> Floats:
        """Finite values of w, shape (n_rows, W), from one per sample or one for all; None: any number of rows."""
        w, W = np.asarray(w, dtype=np.float64), self.style_dim_
        if n_rows is None:
            fits, allowed = w.ndim == 2 and w.shape[1] == W, f"an array of shape (n_points, {W})"
        else:
            fits = w.shape in ((), (W,), (n_rows, W))
            allowed = f"a number or an array of shape ({W},) or ({n_rows}, {W})"
        if not fits:
            raise ValueError(f"w must be {allowed}, as style_dim_={W}; got shape {w.shape}")
        if n_invalid := np.count_nonzero(~np.isfinite(w)):
            raise ValueError(f"w must be finite; got {n_invalid} values that are not")
        return w if n_rows is None else np.array(np.broadcast_to(w, (n_rows, W)))
