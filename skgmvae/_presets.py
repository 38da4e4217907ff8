"""Settings of experiments: those of the image benchmarks, and those stated in papers."""

from typing import Any

from skgmvae._warnings import warn

__all__ = ["PAPER_SETTINGS", "choose_image_settings"]


def choose_image_settings(settings: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """The settings for images, overridden by the user's; warns if the shape is forgotten."""
    if "image_shape" not in parameters:
        warn(
            "for_images without image_shape: the initialization will compare images like any other samples. Pass "
            "image_shape=(channels, height, width), or image_shape=None if they have none."
        )
    return {**settings, **parameters}


# what Dilokthanakul et al. (2016) state in section 4 and tables A.1 to A.3
_PAPER = {
    "pretrain_iter": 0,
    "init_params": "random",
    "linear_path": False,
    "early_stopping": False,
    "init_clamp": 0.0,
    "learn_weights": False,
    "batch_size": 64,
    "learning_rate": 1e-4,
    "precision": "float32",
}
_PAPER_IMAGES = {
    **_PAPER,
    "max_iter": 50,
    "network": "conv",
    "latent_dim": 200,
    "style_dim": 150,
    "likelihood": "bernoulli",
}
PAPER_SETTINGS: dict[str, dict[str, Any]] = {
    "synthetic": {
        **_PAPER,
        "latent_dim": 2,
        "style_dim": 2,
        "hidden_layer_sizes": (120, 120),
        "likelihood": "gaussian",
    },
    "mnist": {**_PAPER_IMAGES, "image_shape": (1, 28, 28)},
    "svhn": {**_PAPER_IMAGES, "image_shape": (3, 32, 32)},
}
