"""What is shown while a model is fitted: bars, lines, and notes through :mod:`logging`."""

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from skorch.callbacks import Callback

from skgmvae.models.contract import ELBOTerms

LOGGER = logging.getLogger("skgmvae")


def report(line: str) -> None:
    """Show a line that ``verbose=2`` asked for.

    Through the logger ``skgmvae`` where the user has set logging up for its level, INFO; otherwise on standard
    output, since whoever sets ``verbose`` expects to see something without having set up anything.
    """
    if LOGGER.isEnabledFor(logging.INFO) and LOGGER.hasHandlers():
        LOGGER.info(line)
    else:
        print(line)


def open_bar(phase: str, total: int, unit: str) -> Any:
    """A progress bar, in a terminal or a notebook."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a notebook without widgets has a bar of text
        from tqdm.auto import tqdm

    return tqdm(total=total, desc=phase, unit=unit)


class Progress(Callback):
    """A progress bar with the terms (``verbose=1``) or a line per epoch (``verbose=2``).

    Parameters
    ----------
    phase : str
        What is shown to the left.
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
    """The bound and its terms that are not zero; of an EM iteration also how much its E-step looked at."""
    terms = {name: f"{record[name]:.4g}" for name in ("lower_bound", *ELBOTerms._fields) if np.any(record[name])}
    if "evaluated_share" in record:
        terms["E-step"] = f"{record['evaluated_share']:.0%} of rows"
    return terms


@contextmanager
def show_phase(phase: str, verbose: int, n_parts: int = 1, unit: str = "start") -> Iterator[Callable[[str], None]]:
    """Show a phase that has no epochs; what it yields is called after each part, after the last with the result."""
    began = time.perf_counter()
    bar = open_bar(phase, n_parts, unit) if verbose == 1 else None

    def show(result: str) -> None:
        if bar is not None:
            bar.set_postfix_str(result, refresh=False)
            bar.update()
        elif verbose and result:
            report(f"{phase}  {result}, {time.perf_counter() - began:.1f} s")

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()
