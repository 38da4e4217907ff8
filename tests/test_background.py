"""The background: a density, mixed with that of the components."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_t, t

from skgmvae.models.background import ADDED_VARIANCE, FEATURE_FREEDOM, JOINT_FREEDOM, Background


def draw(n, D):
    rows = torch.randn(n, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows[:, -1] += 0.8 * rows[:, 0]
    return rows


def test_density_is_that_of_scipy():
    points, x = draw(50, 3), 3.0 * draw(20, 3).numpy() + 1.0
    background = Background(3).fit(points)
    mean = points.mean(0).numpy()
    scale = np.cov(points.numpy().T, ddof=0) + ADDED_VARIANCE * np.eye(3)
    joint = multivariate_t(mean, scale, df=JOINT_FREEDOM).pdf(x)
    each = t(FEATURE_FREEDOM, mean, np.sqrt(scale.diagonal())).pdf(x).prod(1)
    np.testing.assert_allclose(background(torch.from_numpy(x)).exp(), 0.5 * (joint + each))


@pytest.mark.parametrize("D", [1, 2])
def test_integral_is_one(D):
    axis = np.sinh(np.linspace(-12.0, 12.0, 1201))  # nodes far out
    weights = np.gradient(axis)
    grid = np.stack(np.meshgrid(*[axis] * D), -1).reshape(-1, D)
    area = weights if D == 1 else np.outer(weights, weights).ravel()
    density = Background(D).fit(draw(50, D))(torch.from_numpy(grid)).exp().numpy()
    np.testing.assert_allclose((density * area).sum(), 1.0, rtol=1e-3)


def test_its_weight_is_that_of_one_sample_not_seen():
    points, x = draw(50, 2), draw(5, 2)
    background = Background(2).fit(points)
    log_density = torch.linspace(-3.0, -900.0, 5).double()
    mixed = background.mix(log_density, x)
    torch.testing.assert_close(mixed.exp(), 50 / 51 * log_density.exp() + background(x).exp() / 51)
    torch.testing.assert_close(background.mix(log_density, x, background(x)), mixed)
    without = Background(2)
    torch.testing.assert_close(without.mix(log_density, x), log_density)
    restored = Background(2)
    restored.load_state_dict(background.state_dict())
    torch.testing.assert_close(restored.mix(log_density, x), mixed)


@pytest.mark.parametrize("x", [(0.3, -0.5), (6.0, 7.0), (2.0, -9.0)])
def test_missing_values_have_the_moments_of_the_parts(x):
    points = draw(50, 4)
    background = Background(4).fit(points)
    mean, covariance = points.mean(0).numpy(), np.cov(points.numpy().T, ddof=0) + ADDED_VARIANCE * np.eye(4)
    observed, missing = slice(0, 2), slice(2, 4)
    inverse = np.linalg.inv(covariance[observed, observed])
    regression = mean[missing] + covariance[missing, observed] @ inverse @ (x - mean[observed])
    rest = covariance[missing, missing] - covariance[missing, observed] @ inverse @ covariance[observed, missing]
    joint = multivariate_t(mean[observed], covariance[observed, observed], df=JOINT_FREEDOM).pdf(x)
    each = t(FEATURE_FREEDOM, mean[observed], np.sqrt(covariance.diagonal()[observed])).pdf(x).prod()
    share = joint / (joint + each)
    given = torch.tensor([[*x, np.nan, np.nan]], dtype=torch.float64)
    shares, means, variances = (part[0].numpy() for part in background.condition(given))
    np.testing.assert_allclose(shares, [share, 1.0 - share])
    np.testing.assert_allclose(means, [[*x, *regression], [*x, *mean[missing]]])
    np.testing.assert_allclose(variances[:, missing], [rest.diagonal(), covariance.diagonal()[missing]])
    assert (variances[:, observed] == 0.0).all()
    drawn = background.draw_given(given.expand(4000, 4), torch.Generator().manual_seed(0)).numpy()
    assert (drawn[:, observed] == x).all()
    expected = shares @ means[:, missing]
    between = [np.outer(m - expected, m - expected) for m in means[:, missing]]
    within = [rest, np.diag(covariance.diagonal()[missing])]
    total = sum(p * (w + b) for p, w, b in zip(shares, within, between, strict=True))
    errors = (drawn[:, missing].mean(0) - expected) / np.sqrt(total.diagonal() / 4000)
    assert np.abs(errors).max() < 4.0
    np.testing.assert_allclose(np.cov(drawn[:, missing].T), total, atol=0.1 * total.max())


def test_density_of_logarithms_is_bounded_at_zero():
    logs = draw(50, 2)
    background = Background(2).fit(logs, torch.tensor([False, True]))
    low = torch.tensor([[0.0, -40.0], [0.0, -30.0], [-40.0, 0.0], [torch.nan, -40.0]], dtype=torch.float64)
    bounded = background.bound(low)
    torch.testing.assert_close(bounded[:2, 1], logs[:, 1].min().expand(2))
    assert (bounded[2] == low[2]).all() and bounded[3, 0].isnan()
    logs[:, 1] = torch.nan  # not observed among these
    assert torch.equal(Background(2).fit(logs, torch.tensor([False, True])).bound(low[:3]), low[:3])
