"""What 'auto' stands for: sizes of networks and steps that follow from samples, features and the shape of images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

from skgmvae._defaults import MAX_LINEAR_FEATURES
from skgmvae.runtime import check_device, choose_autocast_dtype

__all__ = [
    "IMAGES",
    "NETWORK_TABLES",
    "TABLES",
    "UNPACED_TABLES",
    "Defaults",
    "Settings",
    "are_large_images",
    "check_hidden_layer_sizes",
    "choose_latent_dim",
    "choose_settings",
    "choose_style_dim",
    "get_defaults",
    "is_auto",
    "set_settings",
]

LEAST_PIXELS = 256  # of images that get networks of their own; smaller ones are treated as tables
WIDE = 500  # units of a layer from which bfloat16 is faster where the device has it
ROWS_PER_STEP = 40  # steps per epoch from which batches grow with the samples …
MOST_ROWS = 1024  # … up to this size
LEAST_STYLE = 2  # dimensions of w
LEAST_EPOCHS = 10  # of many steps


@dataclass(frozen=True)
class Defaults:
    """What 'auto' stands for in data of one kind, before their size is considered.

    Attributes
    ----------
    hidden_layer_sizes : tuple of int
    pretrain_hidden_layer_sizes : tuple of int or None
        Of the pretrained autoencoder; None: the same.
    latent_dims : (int, int)
        Limits of the number of latent dimensions. Directions that the data do not have cost likelihood on samples not
        seen; with fewer than four, the clusters of two features must be ellipses already.
    batch_size : int
        The smallest.
    learning_rate : float
    pretrain_iter : int
    max_iter : int
        The usual number of epochs.
    least_steps, most_passes : int
        Of the training of a small table: so many steps, but no more epochs than ``most_passes`` times the samples per
        feature.
    most_steps : float
        Of the training, if they are more than ten epochs.
    """

    hidden_layer_sizes: tuple[int, ...] = (256,)
    pretrain_hidden_layer_sizes: tuple[int, ...] | None = None
    latent_dims: tuple[int, int] = (4, 10)
    batch_size: int = 128
    learning_rate: float = 1e-2
    pretrain_iter: int = 50
    max_iter: int = 50
    least_steps: int = 750
    most_passes: int = 4
    most_steps: float = 3000

    def of_images(self) -> dict[str, Any]:
        """The values as parameters, for images."""
        values = {**vars(self), "latent_dim": self.latent_dims[1], "precision": "auto"}
        for name in ("latent_dims", "least_steps", "most_passes", "most_steps"):
            del values[name]
        return {name: value for name, value in values.items() if value is not None}


TABLES = Defaults()
# of models whose steps are not in units of the noise
UNPACED_TABLES = replace(TABLES, hidden_layer_sizes=(128, 128), learning_rate=5e-3)
# without a linear path, clusters depend on the networks from the first: in fewer, larger steps they are worse
NETWORK_TABLES = replace(
    TABLES, hidden_layer_sizes=(128, 128), batch_size=64, learning_rate=3e-3, least_steps=1200, most_passes=2
)
# selected on MNIST, with labels
IMAGES = Defaults(
    hidden_layer_sizes=(500, 500, 2000),
    latent_dims=(10, 10),
    batch_size=128,
    learning_rate=1e-3,
    pretrain_iter=40,
    max_iter=8,
    most_steps=math.inf,
)


@dataclass(frozen=True)
class Settings:
    """Values of the parameters that may be 'auto', for data of one size."""

    hidden_layer_sizes: tuple[int, ...]
    batch_size: int
    learning_rate: float
    pretrain_iter: int
    max_iter: int
    precision: str


def check_hidden_layer_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """The widths as a tuple of positive integers."""
    if any(not isinstance(size, Integral) or isinstance(size, bool) or size < 1 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must contain positive integers; got {tuple(sizes)!r}")
    return tuple(int(size) for size in sizes)


def is_auto(value: Any) -> bool:
    """Whether a parameter is 'auto'."""
    return isinstance(value, str) and value == "auto"


def are_large_images(image_shape: Any, n_features: int) -> bool:
    """Whether samples are images that need larger networks than tables do."""
    return image_shape is not None and n_features >= LEAST_PIXELS


def get_defaults(estimator: Any, n_features: int) -> Defaults:
    """What 'auto' begins from for samples of so many features."""
    if are_large_images(estimator.image_shape, n_features):
        kind = "image"
    elif estimator.image_shape is not None or n_features > MAX_LINEAR_FEATURES:
        kind = "network_table"
    else:
        kind = "table" if _may_be_paced(estimator, n_features) else "unpaced_table"
    defaults: Defaults = getattr(estimator, f"_{kind}_defaults")
    return defaults


def _may_be_paced(estimator: Any, n_features: int) -> bool:
    """Whether steps may be shortened by the noise, as far as the parameters tell: with a linear path of full width."""
    latent_dim, linear_path = estimator.latent_dim, estimator.linear_path
    obstacles = (
        not is_auto(linear_path) and not linear_path,
        isinstance(estimator.likelihood, str) and estimator.likelihood == "bernoulli",
        isinstance(estimator.init_params, str) and estimator.init_params == "random",
        not is_auto(latent_dim) and latent_dim < n_features,
    )
    return not any(obstacles)


def choose_settings(estimator: Any, n_samples: int, n_features: int) -> Settings:
    """The values of an estimator's parameters for so many samples and features; those that are given are kept."""
    defaults, are_images = get_defaults(estimator, n_features), are_large_images(estimator.image_shape, n_features)

    def choose(name: str, default: Any) -> Any:
        value = getattr(estimator, name)
        return default if is_auto(value) else value

    rows = defaults.batch_size if are_images else _grow_batch(defaults, estimator._rows_per_network(n_samples))
    batch_size = int(choose("batch_size", rows))
    steps_per_epoch = max(1, estimator._steps_per_epoch(n_samples, batch_size))
    hidden_layer_sizes = check_hidden_layer_sizes(choose("hidden_layer_sizes", defaults.hidden_layer_sizes))
    is_wide = estimator.network == "conv" or max((*hidden_layer_sizes, 0)) >= WIDE
    return Settings(
        hidden_layer_sizes=hidden_layer_sizes,
        batch_size=batch_size,
        learning_rate=float(choose("learning_rate", defaults.learning_rate)),
        pretrain_iter=int(choose("pretrain_iter", defaults.pretrain_iter)),
        max_iter=int(choose("max_iter", _count_epochs(defaults, steps_per_epoch, n_samples, n_features))),
        precision=_choose_precision(estimator) if is_wide else choose("precision", "float32"),
    )


def choose_latent_dim(estimator: Any, n_features: int, *, has_linear_path: bool = False) -> int:
    """The number of latent dimensions; for 'auto', the number of features within limits.

    With a linear path there is no upper limit: a mixture of the inputs needs all dimensions.
    """
    if not is_auto(estimator.latent_dim):
        return int(estimator.latent_dim)
    least, most = get_defaults(estimator, n_features).latent_dims
    at_least = max(least, n_features)
    return at_least if has_linear_path else min(most, at_least)


def choose_style_dim(estimator: Any, autoencoder: Any) -> int:
    """The number of dimensions of w; for 'auto', two, or as many as covariances of a mixture of the inputs need."""
    if not is_auto(estimator.style_dim):
        return int(estimator.style_dim)
    n_needed = 0 if autoencoder.linear is None else min(autoencoder.latent_dim, autoencoder.n_gaussian)
    return max(LEAST_STYLE, n_needed)


def set_settings(estimator: Any, settings: Settings, *, is_new: bool) -> None:
    """Set the fitted attributes; the networks of a fitted estimator, and how they were pretrained, do not change."""
    of_networks = ("hidden_layer_sizes", "pretrain_iter")
    for name, value in vars(settings).items():
        if is_new or name not in of_networks:
            setattr(estimator, f"{name}_", value)


def _choose_precision(estimator: Any) -> str:
    """The precision of large networks; for 'auto', as the device is fast."""
    dtype = choose_autocast_dtype(estimator.precision, check_device(estimator.device))
    return "float32" if dtype is None else "bfloat16"


def _grow_batch(defaults: Defaults, n_rows: float) -> int:
    """A power of two of about ``n_rows / ROWS_PER_STEP``, within limits: steps of small networks take the same time.

    No larger than what takes all rows, where a network draws its rows.
    """
    wanted = max(1.0, n_rows / ROWS_PER_STEP)
    least = min(defaults.batch_size, 1 << math.ceil(math.log2(max(1.0, n_rows))))
    return min(max(1 << round(math.log2(wanted)), least), MOST_ROWS)


def _count_epochs(defaults: Defaults, steps_per_epoch: int, n_samples: int, n_features: int) -> int:
    """The usual number of epochs, but more for small tables and fewer for large ones.

    More epochs than some times the samples per feature would overfit a small table.
    """
    most = defaults.most_passes * n_samples // n_features
    at_least = min(math.ceil(defaults.least_steps / steps_per_epoch), most)
    at_most = max(LEAST_EPOCHS, defaults.most_steps / steps_per_epoch)
    return max(int(min(defaults.max_iter, at_most)), at_least)
