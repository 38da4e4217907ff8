"""The likelihood of tables whose columns are of several kinds: continuous ones, binary ones, categories, counts."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skgmvae.models.counts import CountHead
from skgmvae.models.heads import BinaryHead, CategoricalHead
from skgmvae.models.likelihood import Likelihood
from skgmvae.models.likelihoods import Gaussian
from skgmvae.models.transforms import TRANSFORMED, Transform

__all__ = ["COUNTS", "KINDS", "Column", "Columns"]

CONTINUOUS, COUNTS = ("gaussian", *TRANSFORMED), ("poisson", "negative_binomial")
KINDS = (*CONTINUOUS, "bernoulli", "categorical", *COUNTS)


class Column(NamedTuple):
    """The kind of a column, its number of categories if it is categorical, and constants of Johnson's SU distribution.

    Attributes
    ----------
    kind : str
    n_levels : int
    center, width : float
        Where asinh, which makes the column normal, is steepest, and how far from there it is nearly linear.
    """

    kind: str
    n_levels: int = 0
    center: float = 0.0
    width: float = 1.0


class Columns(Likelihood):
    """x_d | z, c of the kind of its column; given z and c, the columns are independent.

    The decoder has one output for each column: the mean of a continuous one, transformed and standardized; the
    log-odds of a Bernoulli one; the logarithm of the mean of a Poisson or negative binomial one. A categorical column
    has one for each of its categories. First come the continuous columns, then the *heads*: outputs that differ between
    components by constants.

    Network inputs are F numbers in the order of the outputs: the standardized values of continuous columns, zeros and
    ones of binary ones and of categories, the standardized log(1 + x) of counts.

    Parameters
    ----------
    columns : sequence of Column
        D of them.
    location, scale : Tensor of shape (D,)
        Constants of the standardization: of transformed values of continuous columns, of log(1 + x) for counts.
    n_copies : int, optional
        Number of stacked outputs (..., N, K, F), each with variances of its own.
    has_own_floor : bool, default=False
        As of :class:`~skgmvae.models.likelihoods.Gaussian`.
    """

    _order: Tensor
    _back: Tensor

    def __init__(
        self,
        columns: Sequence[Column],
        location: Tensor,
        scale: Tensor,
        *,
        n_copies: int | None = None,
        has_own_floor: bool = False,
    ) -> None:
        super().__init__()
        self.columns = tuple(Column(*column) for column in columns)
        self._constants, self._has_own_floor = (location, scale), has_own_floor
        kinds = [column.kind for column in self.columns]
        continuous = [d for d, kind in enumerate(kinds) if kind in CONTINUOUS]
        binary = [d for d, kind in enumerate(kinds) if kind == "bernoulli"]
        categorical = [d for d, kind in enumerate(kinds) if kind == "categorical"]
        counts = [d for kind in COUNTS for d in range(len(kinds)) if kinds[d] == kind]
        order = torch.tensor([*continuous, *binary, *categorical, *counts], dtype=torch.int64)
        self.register_buffer("_order", order, persistent=False)
        self.register_buffer("_back", order.argsort(), persistent=False)
        n_levels = [self.columns[d].n_levels for d in categorical]
        self.n_columns = [len(part) for part in (continuous, binary, categorical, counts)]  # of each part
        self.sizes = [len(continuous), len(binary), sum(n_levels), len(counts)]  # its outputs
        self.width, self.n_heads = sum(self.sizes), sum(self.sizes[1:])
        self.continuous = Gaussian(
            location[continuous],
            scale[continuous],
            n_copies=n_copies,
            has_own_floor=has_own_floor,
            transform=self._make_transform(continuous, location),
        )
        self.binary, self.categorical = BinaryHead(), CategoricalHead(n_levels)
        self.counts = CountHead(location[counts], scale[counts], kinds.count(COUNTS[1]), n_copies)

    def _make_transform(self, continuous: Sequence[int], like: Tensor) -> Transform | None:
        """The transform of the continuous columns, with constants of the type of ``like`` (D,); None for none."""
        columns = [self.columns[d] for d in continuous]
        if not any(column.kind in TRANSFORMED for column in columns):
            return None
        center, width = like.new_tensor([[c.center, c.width] for c in columns]).T.unbind()
        return Transform([column.kind for column in columns], center, width)

    @property
    def learns_variance(self) -> bool:
        """Whether there are continuous columns."""
        return self.sizes[0] > 0

    @property
    def gaussian(self) -> Gaussian:
        """The likelihood of the continuous columns, the first outputs."""
        return self.continuous

    def repeat(self, n_copies: int) -> "Columns":
        """The same for stacked outputs (..., N, K, F), with variances for each."""
        return Columns(self.columns, *self._constants, n_copies=n_copies, has_own_floor=self._has_own_floor)

    def set_variance(self, variance: Tensor) -> None:
        """Set the initial variance of the continuous columns, standardized, (G,) or (K, G)."""
        self.continuous.set_variance(variance)

    def standardize(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Network input (..., F) for samples (..., D)."""
        parts = x[..., self._order].split(self.n_columns, -1)
        return torch.cat([part.standardize(x, dtype) for part, x in zip(self._parts, parts, strict=True)], -1)

    @property
    def _parts(self) -> tuple[Any, ...]:
        return self.continuous, self.binary, self.categorical, self.counts

    @property
    def _heads(self) -> tuple[Any, ...]:
        return self.binary, self.categorical, self.counts

    def supports(self, x: Tensor) -> Tensor:
        """Whether all values of samples (N, D) can be observed, (N,)."""
        continuous, *others = x[:, self._order].split(self.n_columns, -1)
        supported = [head.supports(part).all(-1) for head, part in zip(self._heads, others, strict=True)]
        return torch.stack([self.continuous.supports(continuous), *supported]).all(0)

    def log_prob(self, x: Tensor, output: Tensor, offsets: Tensor | None = None) -> Tensor:
        """log p(x | z, c), shape (..., N), of standardized rows (..., N, F) under outputs (..., N, F).

        With what components add to the outputs of heads, (..., K, F): in each of them, (..., N, K).
        """
        G = self.sizes[0]
        of_continuous = self.continuous.log_prob(x[..., :G], output[..., :G])
        if offsets is not None:
            of_continuous = of_continuous.unsqueeze(-1)
        return of_continuous + self.log_prob_of_heads(x, output, offsets)

    def log_prob_of_heads(self, x: Tensor, output: Tensor, offsets: Tensor | None = None) -> Tensor:
        """The same, (..., N) or (..., N, K), of the columns that are not continuous, of rows (..., N, F)."""
        arguments = (x, output) if offsets is None else (x, output, offsets)
        _, *parts = zip(*(values.split(self.sizes, -1) for values in arguments), strict=True)
        first, *others = (head.log_prob(*part) for head, part in zip(self._heads, parts, strict=True))
        total: Tensor = sum(others, first)
        return total

    def log_jacobian(self, x: Tensor) -> Tensor:
        """log abs(d x / d standardized x) of the observed continuous cells of standardized rows (N, F), (N,) or ()."""
        return self.continuous.log_jacobian(x[..., : self.sizes[0]])

    def differentiate(self, x: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """d log p / d output, and the diagonal of the Fisher information: (..., F) from rows and outputs (..., F)."""
        parts = zip(self._parts, x.split(self.sizes, -1), output.split(self.sizes, -1), strict=True)
        pairs = [part.differentiate(x, output) for part, x, output in parts]
        slope, curvature = (torch.cat(each, -1) for each in zip(*pairs, strict=True))
        missing = x.isnan()
        return slope.masked_fill(missing, 0.0), curvature.masked_fill(missing, 0.0)

    def _map(self, name: str, values: Tensor) -> list[Tensor]:
        """A method of each part, applied to its share of values (..., F)."""
        parts = zip(self._parts, values.split(self.sizes, -1), strict=True)
        return [getattr(part, name)(value) for part, value in parts]

    def mean(self, output: Tensor, variance: Tensor | None = None) -> Tensor:
        """Expectations (..., F) in the units of the data, of categories their probabilities, for outputs (..., F).

        With ``variance`` (..., G) of the continuous columns as in :class:`~skgmvae.models.likelihoods.Gaussian`.
        """
        continuous, *outputs = output.split(self.sizes, -1)
        others = [head.mean(part) for head, part in zip(self._heads, outputs, strict=True)]
        return torch.cat([self.continuous.mean(continuous, variance), *others], -1)

    def collapse(self, expected: Tensor) -> Tensor:
        """The values (..., D) that stand for expectations (..., F): of categories the most probable."""
        return torch.cat(self._map("collapse", expected), -1)[..., self._back]

    def to_numbers(self, expected: Tensor) -> Tensor:
        """The expectations (..., D) of the values as numbers, from those of ``mean`` (..., F)."""
        return torch.cat(self._map("to_numbers", expected), -1)[..., self._back]

    def variance(self, output: Tensor) -> Tensor:
        """Variances (..., D) of the values as numbers, for outputs (..., F)."""
        return torch.cat(self._map("variance", output), -1)[..., self._back]

    def draw(self, output: Tensor, generator: torch.Generator) -> Tensor:
        """A draw of x | z, c in the units of the data, (..., D) for outputs (..., F)."""
        parts = zip(self._parts, output.split(self.sizes, -1), strict=True)
        return torch.cat([part.draw(value, generator) for part, value in parts], -1)[..., self._back]

    def join_heads(self, continuous: Tensor, heads: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Samples (..., D) of continuous values (..., G) in the units of the data, and of the heads' outputs (..., H).

        The heads' values are draws, or without a generator those that stand for their expectations.
        """
        parts = [continuous]
        for head, output in zip(self._heads, heads.split(self.sizes[1:], -1), strict=True):
            parts.append(head.collapse(head.mean(output)) if generator is None else head.draw(output, generator))
        return torch.cat(parts, -1)[..., self._back]

    @torch.no_grad()
    def estimate_heads(self, x: Tensor, responsibilities: Tensor) -> Tensor:
        """Outputs (K, H) of the heads that match the moments of standardized rows (N, F) in each component.

        Sets the dispersions of counts.
        """
        parts = zip(self._heads, x.double().split(self.sizes, -1)[1:], strict=True)
        return torch.cat([head.estimate(part, responsibilities.double()) for head, part in parts], -1)
