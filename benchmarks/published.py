"""Figures that papers report, for the tables: typed here once, with protocol and source."""

from typing import NamedTuple

GMVAE = "Dilokthanakul et al. 2016, table 1"
VADE = "Jiang et al. 2017"
CONFIDENT = "held-out rows, most confident row"
HUNGARIAN = "Hungarian"
HEADER = ("data", "model", "K", "M", "accuracy, mean ± sd", "best", "protocol", "source")


class Published(NamedTuple):
    """A line of the table; accuracies in %, None where the paper gives none."""

    data: str
    model: str
    n_components: int
    n_mc_samples: int
    mean: float | None
    sd: float | None
    best: float
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
)


def make_rows(data_sets):
    """Rows of the table for these data sets."""
    return [
        [
            figure.data,
            figure.model,
            figure.n_components,
            figure.n_mc_samples,
            "–" if figure.mean is None else f"{figure.mean:.1f} ± {figure.sd:.1f}",
            f"{figure.best:.1f}",
            figure.protocol,
            figure.source,
        ]
        for figure in FIGURES
        if figure.data in data_sets
    ]
