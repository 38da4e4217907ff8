"""Mutual information of the labels at both ends of a link, from the affinity between clusters."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["information_kept", "link_information", "merge_cheapest"]

MOST_AT_ONCE = 64  # clusters of which all triples are looked at
TINY = float(np.finfo(np.float64).tiny)


def _x_log_x(x: NDArray[np.float64]) -> NDArray[np.float64]:
    terms: NDArray[np.float64] = x * np.log(np.maximum(x, TINY))
    return terms


def link_information(table: NDArray[np.float64]) -> float:
    """Σ_ab p_ab log(p_ab / (p_a p_b)), in nats, of a symmetric table (K, K) of sum one."""
    return float(_x_log_x(table).sum() - 2.0 * _x_log_x(table.sum(1)).sum())


def information_kept(table: NDArray[np.float64]) -> float:
    """Information as a share of the label's entropy, at most 1; 0 for a single cluster."""
    entropy = -_x_log_x(table.sum(1)).sum()
    return link_information(table) / float(entropy) if entropy > 0.0 else 0.0


def merge_cheapest(table: NDArray[np.float64], n_clusters: int) -> NDArray[np.intp]:
    """New label of each cluster after merging pairs, the one that loses least each time, down to ``n_clusters``."""
    merged_to = np.arange(len(table))
    while len(table) > n_clusters:
        a, b = sorted(divmod(int(_costs_of_merging(table).argmin()), len(table)))
        table = table.copy()
        table[a] += table[b]
        table[:, a] += table[:, b]
        table = np.delete(np.delete(table, b, 0), b, 1)
        merged_to[merged_to == b] = a
        merged_to[merged_to > b] -= 1
    return merged_to


def _costs_of_merging(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Information that the union of clusters a and b loses (K, K); infinite on the diagonal.

    Of Σ p log p, the union changes the rows and columns a and b, which are equal, and the four entries where they
    cross; of the cluster shares, two.
    """
    K, shares, own = len(table), table.sum(1), table.diagonal()
    each, terms, share_terms = np.arange(K), _x_log_x(table), _x_log_x(shares)
    to_itself = _x_log_x(own[:, None] + table)
    to_others = _sum_unions(table, terms) - to_itself - to_itself.T
    rows, crossing = terms.sum(1), terms.diagonal()[:, None] + terms.diagonal() + 2.0 * terms
    before = rows[:, None] + rows - crossing
    inside = _x_log_x(own[:, None] + own + 2.0 * table) - crossing
    sizes = _x_log_x(shares[:, None] + shares) - share_terms[:, None] - share_terms
    costs = 2.0 * (before - to_others) - inside + 2.0 * sizes
    costs[each, each] = np.inf
    return np.asarray(costs)


def _sum_unions(table: NDArray[np.float64], terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Σ_c u_abc log u_abc with u_abc = p_ac + p_bc, (K, K), of a symmetric table p and its p log p."""
    if len(table) <= MOST_AT_ONCE:
        return np.asarray(_x_log_x(table[:, None] + table).sum(2))
    rows = terms.sum(1)
    total: NDArray[np.float64] = rows[:, None] + rows
    for row, term in zip(table, terms, strict=True):  # what the union changes where both have links
        linked = np.flatnonzero(row)
        entries, before = row[linked], term[linked]
        total[np.ix_(linked, linked)] += _x_log_x(entries[:, None] + entries) - before[:, None] - before
    return total
