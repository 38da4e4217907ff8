"""Progress bars, lines of text, and log messages."""

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from skgmvae._ranks import is_first

__all__ = ["LOGGER", "open_bar", "report", "show_phase"]

LOGGER = logging.getLogger("skgmvae")
LOGGER.addFilter(lambda record: is_first())


def report(line: str) -> None:
    """Print a line of ``verbose=2``, or log it.

    It goes to the logger ``skgmvae`` if logging is configured for level INFO; otherwise to standard output, since
    ``verbose`` should work without any setup.
    """
    if LOGGER.isEnabledFor(logging.INFO) and LOGGER.hasHandlers():
        LOGGER.info(line)
    elif is_first():
        print(line)


def open_bar(phase: str, total: int, unit: str) -> Any:
    """A progress bar, in a terminal or a notebook."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without widgets a notebook shows a bar of text
        from tqdm.auto import tqdm

    return tqdm(total=total, desc=phase, unit=unit, disable=not is_first())


@contextmanager
def show_phase(phase: str, verbose: int, n_parts: int = 1, unit: str = "step") -> Iterator[Callable[[str], None]]:
    """Show the progress of a phase without epochs; call the function that it yields after each part.

    A bar for several parts (``verbose=1``), otherwise a line of text with the result when the phase ends.
    """
    began = time.perf_counter()
    bar = open_bar(phase, n_parts, unit) if verbose == 1 and n_parts > 1 else None

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
