"""Progress display of a training."""

import time
from typing import Any

import numpy as np
from skorch.callbacks import Callback

from skgmvae._progress import open_bar, report
from skgmvae.models.contract import ELBOTerms

__all__ = ["Progress", "Stopwatch"]


class Progress(Callback):
    """A progress bar with the terms of the bound (``verbose=1``) or a line per epoch (``verbose=2``).

    Parameters
    ----------
    phase : str
        Label of the bar.
    n_epochs : int
    verbose : int
    """

    def __init__(self, phase: str, n_epochs: int, verbose: int) -> None:
        self.phase = phase
        self.n_epochs = n_epochs
        self.verbose = verbose

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Open the bar."""
        self.epoch_ = 0
        self.bar_ = open_bar(self.phase, self.n_epochs, "epoch") if self.verbose == 1 else None

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Show the epoch's terms."""
        self.epoch_ += 1
        terms = _format_terms(net.history[-1])
        if self.bar_ is None:
            line = "  ".join(f"{name} {value}" for name, value in terms.items())
            report(f"{self.phase} {self.epoch_}/{self.n_epochs}  {line}")
        else:
            self.bar_.set_postfix(terms, refresh=False)
            self.bar_.update()

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Close the bar, which cannot be pickled."""
        if self.bar_ is not None:
            self.bar_.close()
        del self.bar_


def _format_terms(record: dict[str, Any]) -> dict[str, str]:
    """The bound and its nonzero terms; for EM iterations also the share evaluated by the E-step."""
    terms = {name: f"{record[name]:.4g}" for name in ("lower_bound", *ELBOTerms._fields) if np.any(record[name])}
    if "evaluated_share" in record:
        terms["E-step"] = f"{record['evaluated_share']:.0%} of rows"
    return terms


class Stopwatch:
    """Wall time per phase, in seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Add the time since the last lap to ``phase``."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self._last = now
