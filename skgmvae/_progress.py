"""Progress bars, lines of text, and messages through :mod:`logging`."""

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["LOGGER", "open_bar", "report", "show_phase"]

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


@contextmanager
def show_phase(phase: str, verbose: int, n_parts: int = 1, unit: str = "step") -> Iterator[Callable[[str], None]]:
    """Show a phase that has no epochs; what it yields is called after each part, after the last with the result.

    A bar for several parts (``verbose=1``), otherwise a line of text when the phase ends.
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
