"""Figures that papers report, for the tables: typed here once, with protocol and source."""

from collections.abc import Iterable
from typing import Any, NamedTuple

GMVAE = "Dilokthanakul et al. 2016, table 1"
VADE = "Jiang et al. 2017"
CONFIDENT = "held-out samples, most confident sample"
HUNGARIAN = "Hungarian"
N2D = "McConville et al. 2021"
DYNAE = "Mrabah et al. 2020"
HEADER = ("data", "model", "K", "M", "accuracy, mean ± sd", "best", "protocol", "source")


class Published(NamedTuple):
    """A line of the table; accuracies in %, None where there is none."""

    data: str
    model: str
    n_components: int
    n_mc_samples: int | None
    mean: float | None
    sd: float | None
    best: float | None
    protocol: str
    source: str


FIGURES = (
    Published("mnist", "GMVAE", 10, 1, 77.78, 5.75, 87.31, CONFIDENT, GMVAE),
    Published("mnist", "GMVAE", 10, 10, 82.31, 3.75, 88.54, CONFIDENT, GMVAE),
    Published("mnist", "GMVAE", 16, 1, 85.09, 1.99, 89.01, CONFIDENT, GMVAE),
    Published("mnist", "GMVAE", 16, 10, 87.82, 5.33, 96.92, CONFIDENT, GMVAE),
    Published("mnist", "GMVAE", 30, 1, 92.77, 1.60, 95.84, CONFIDENT, GMVAE),
    Published("mnist", "GMVAE", 30, 10, 89.27, 2.50, 93.22, CONFIDENT, GMVAE),
    Published("mnist", "VaDE", 10, 1, None, None, 94.46, HUNGARIAN, VADE),
    Published("mnist", "DEKM", 10, None, 95.75, None, None, "mean of 3 runs, convolutional", "Guo et al. 2021"),
    Published("mnist", "MFCVAE", 25, None, 92.0, 3.0, None, "mean over runs", "Falck et al. 2021"),
    Published("mnist", "ClusterGAN", 10, None, 91.0, 4.0, None, "mean over runs", "Mukherjee et al. 2019"),
    Published("mnist", "N2D", 10, None, None, None, 97.9, "one run; autoencoder, UMAP, mixture", N2D),
    Published("mnist", "DynAE", 10, None, None, None, 98.7, "with augmentation", DYNAE),
    Published("fashion-mnist", "ClusterGAN", 10, None, None, None, 61.2, HUNGARIAN, "Mukherjee et al. 2019"),
    Published("fashion-mnist", "N2D", 10, None, None, None, 67.2, "one run; autoencoder, UMAP, mixture", N2D),
    Published("fashion-mnist", "DynAE", 10, None, None, None, 59.1, "with augmentation", DYNAE),
    Published("hhar", "VaDE", 6, 1, None, None, 85.38, HUNGARIAN, VADE),
    Published("reuters10k", "VaDE", 4, 1, None, None, 81.66, HUNGARIAN, VADE),
    Published("stl10", "VaDE", 10, 1, None, None, 84.45, HUNGARIAN, VADE),
)


def make_rows(data_sets: Iterable[str]) -> list[list[Any]]:
    """Rows of the table for these data sets."""
    return [
        [
            figure.data,
            figure.model,
            figure.n_components,
            figure.n_mc_samples or "–",
            _mean_and_sd(figure),
            "–" if figure.best is None else f"{figure.best:.1f}",
            figure.protocol,
            figure.source,
        ]
        for figure in FIGURES
        if figure.data in data_sets
    ]


def _mean_and_sd(figure: Published) -> str:
    if figure.mean is None:
        return "–"
    return f"{figure.mean:.1f}" if figure.sd is None else f"{figure.mean:.1f} ± {figure.sd:.1f}"
