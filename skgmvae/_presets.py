"""Estimators for sets of images, with settings that were found on one."""

from collections.abc import Callable
from typing import Any, ClassVar, Self

# found on MNIST, its labels in sight
IMAGE_SETTINGS: dict[str, Any] = {
    "hidden_layer_sizes": (500, 500, 2000),
    "latent_dim": 10,
    "batch_size": 128,
    "learning_rate": 1e-3,
    "pretrain_iter": 40,
    "precision": "auto",
    "max_iter": 8,
}


class ImageSettings:
    """Part of :class:`~skgmvae._base.DeepMixture`."""

    _own_image_settings: ClassVar[dict[str, Any]] = {}

    @classmethod
    def for_images(cls, n_components: int = 3, **parameters: Any) -> Self:
        """An estimator with the settings of the benchmarks for sets of images of the size of MNIST.

        Rows are flat, pixels in [0, 1]. Give ``image_shape``, so that the start can look at the images as images. The
        settings were found on MNIST, its labels in sight. The networks' products are in bfloat16 on machines that are
        fast in it, so that figures differ a little between machines; ``precision='float32'`` is the way out.

        Parameters
        ----------
        n_components : int, default=3
        **parameters : dict
            Set on top, for instance ``image_shape=(1, 28, 28)``.

        Returns
        -------
        estimator
            Unfitted.
        """
        make: Callable[..., Self] = cls
        return make(**{**IMAGE_SETTINGS, **cls._own_image_settings, "n_components": n_components, **parameters})
