"""The displays: what they draw is what the estimator says; conventions that all of them keep."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae.model_selection import ComponentSearchCV
from skgmvae.plotting import (
    ComponentHierarchyDisplay,
    ComponentSamplesDisplay,
    ComponentScatterDisplay,
    ComponentSearchDisplay,
    ComponentSizesDisplay,
    ConfidenceDisplay,
    HistoryDisplay,
    LatentSpaceDisplay,
    ReliabilityDisplay,
    StyleTraversalDisplay,
)

plt = pytest.importorskip("matplotlib.pyplot")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
ALL = ("samples", "traversal", "history", "latent", "confidence", "sizes", "reliability")


@pytest.fixture(autouse=True)
def without_windows(monkeypatch):
    """Draw off screen, and leave no figure open."""
    plt.switch_backend("Agg")
    plt.close("all")  # those of other files
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def fitted(blobs, quick):
    return GMVAEClustering(3, min_information=0.5, **{**quick, "pretrain_iter": 20, "max_iter": 20}).fit(blobs[0])


@pytest.fixture
def draw(fitted, blobs):
    """Each display of one estimator by its name."""
    X = blobs[0]
    makers = {
        "samples": lambda ax: ComponentSamplesDisplay.from_estimator(fitted, expected=True, image_shape=(2, 2), ax=ax),
        "traversal": lambda ax: StyleTraversalDisplay.from_estimator(fitted, image_shape=(2, 2), ax=ax),
        "history": lambda ax: HistoryDisplay.from_estimator(fitted, ax=ax),
        "latent": lambda ax: LatentSpaceDisplay.from_estimator(fitted, X, ax=ax),
        "confidence": lambda ax: ConfidenceDisplay.from_estimator(fitted, X, ax=ax),
        "sizes": lambda ax: ComponentSizesDisplay.from_estimator(fitted, ax=ax),
        "reliability": lambda ax: ReliabilityDisplay.from_estimator(fitted, *blobs, ax=ax),
    }
    return lambda name, ax=None: makers[name](ax)


# ------------------------------------------------------------------------------- every display


@pytest.mark.parametrize("name", ALL)
def test_draws_on_a_new_figure_or_on_given_axes_and_again(name, draw):
    display = draw(name)
    assert display.figure_ is not None and plt.get_fignums() == [1]
    figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    given = draw(name, axes[0])
    assert given.figure_ is figure and plt.get_fignums() == [1, 2]  # and no further figure
    assert display.plot() is display and display.figure_ is not figure
    assert (display.axes_ if name == "history" else np.array([display.ax_])).ravel()[0].figure is display.figure_
    figure.canvas.draw()
    whole = plt.figure(layout="constrained")
    part = whole.subfigures(1, 2)[0]
    assert draw(name, part.subplots()).figure_ is part
    whole.canvas.draw()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", [(4, 3), (10, 8)])
def test_labels_lie_within_the_figure_and_ticks_do_not_overlap(name, size, draw):
    figure, ax = plt.subplots(figsize=size, layout="constrained")
    draw(name, ax)
    figure.canvas.draw()
    whole = figure.bbox
    for part in figure.axes:
        for axis, low, high in ((part.xaxis, "x0", "x1"), (part.yaxis, "y0", "y1")):
            boxes = [label.get_window_extent() for label in axis.get_ticklabels() if label.get_text()]
            shown = sorted((getattr(box, low), getattr(box, high)) for box in boxes)
            assert all(a[1] <= b[0] for a, b in pairwise(shown))
        if part.axison:
            box = part.get_tightbbox()
            assert box.x0 > -2 and box.y0 > -2 and box.x1 < whole.x1 + 2 and box.y1 < whole.y1 + 2


@pytest.mark.parametrize("n_components", [2, 10, 30])
@pytest.mark.parametrize("size", [(4, 3), (10, 8)])
def test_many_components_keep_legible_ticks(n_components, size):
    K = n_components
    rng = np.random.default_rng(0)
    displays = [
        (ConfidenceDisplay(rng.dirichlet(np.full(K, 0.1), 500)), "xaxis"),
        (ComponentSizesDisplay(rng.integers(1, 100, K), rng.dirichlet(np.ones(K))), "xaxis"),
        (ComponentSamplesDisplay(rng.uniform(size=(5 * K, 4)), np.repeat(np.arange(K), 5), (2, 2)), "yaxis"),
    ]
    for display, axis in displays:
        figure, ax = plt.subplots(figsize=size, layout="constrained")
        ticks = getattr(display.plot(ax).ax_, axis).get_ticklabels()
        figure.canvas.draw()
        boxes = [label.get_window_extent() for label in ticks if label.get_text()]
        assert len(boxes) >= min(K, 5)
        assert not any(a.overlaps(b) for a, b in pairwise(boxes))


def test_matplotlib_is_imported_on_use_only():
    code = "import skgmvae, skgmvae.plotting, sys; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "display",
    [
        ComponentSamplesDisplay(np.ones((1, 4)), [0], (2, 2)),
        HistoryDisplay({"lower_bound": [1.0]}),
        LatentSpaceDisplay([[0.0, 1.0]], [0]),
        ConfidenceDisplay([[1.0]]),
        ComponentSizesDisplay([3]),
        ReliabilityDisplay([0.9], [1.0], [3], 0.1),
    ],
    ids=lambda display: type(display).__name__,
)
def test_plot_without_matplotlib_says_how_to_install_it(display, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'skgmvae\[plot\]'"):
        display.plot()


# ----------------------------------------------------------------------------------- latent space


def test_two_latent_dimensions_are_drawn_as_they_are(fitted, blobs):
    display = LatentSpaceDisplay.from_estimator(fitted, blobs[0])
    assert display.projector_ is None and display.means is None
    drawn = np.concatenate([points.get_offsets() for points in display.ax_.collections])
    order = np.argsort(fitted.labels_, kind="stable")
    np.testing.assert_allclose(drawn, fitted.transform(blobs[0])[order])
    assert [text.get_text() for text in display.ax_.texts][:3] == ["0", "1", "2"]
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("z 1", "z 2")


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_ellipses_of_vade_are_two_standard_deviations_after_the_projection(covariance_type, blobs, quick):
    settings = {**quick, "latent_dim": 3, "max_iter": 2, "covariance_type": covariance_type}
    model = VaDEClustering(3, **settings).fit(blobs[0])
    display = LatentSpaceDisplay.from_estimator(model, blobs[0])
    assert isinstance(display.projector_, PCA) and display.ax_.get_xlabel() == "PCA 1"
    S = {
        "full": model.latent_covariances_,
        "tied": [model.latent_covariances_] * 3,
        "diag": [np.diag(row) for row in model.latent_covariances_] if covariance_type == "diag" else None,
        "spherical": [value * np.eye(3) for value in model.latent_covariances_]
        if covariance_type == "spherical"
        else 0,
    }[covariance_type]
    rng = np.random.default_rng(0)
    for c, ellipse in enumerate(display.ax_.patches):
        draws = display.projector_.transform(rng.multivariate_normal(model.latent_means_[c], S[c], 200_000))
        np.testing.assert_allclose(ellipse.center, draws.mean(0), atol=0.02 * draws.std())
        widths = np.sort([ellipse.width, ellipse.height])
        np.testing.assert_allclose(widths, 4.0 * np.sqrt(np.linalg.eigvalsh(np.cov(draws.T))), rtol=0.02)
        # the first axis points along an eigenvector
        angle = np.radians(ellipse.angle)
        along = draws @ [np.cos(angle), np.sin(angle)]
        np.testing.assert_allclose(4.0 * along.std(), ellipse.width, rtol=0.02)
    assert len(display.ax_.patches) == 3


def test_projectors(blobs, quick):
    X = blobs[0]
    model = VaDEClustering(3, **{**quick, "latent_dim": 3, "max_iter": 2}).fit(X)
    Z = model.transform(X)
    fitted_pca = PCA(2).fit(Z[:50])
    display = LatentSpaceDisplay.from_estimator(model, X, projector=fitted_pca)
    np.testing.assert_allclose(display.embedding, fitted_pca.transform(Z))
    assert len(display.ax_.patches) == 3
    whitened = LatentSpaceDisplay.from_estimator(model, X, projector=PCA(2, whiten=True))
    assert len(whitened.ax_.patches) == 0 and whitened.projector_.n_samples_ == len(X)
    by_tsne = LatentSpaceDisplay.from_estimator(model, X, projector=TSNE(max_iter=250, perplexity=5.0))
    assert by_tsne.ax_.get_ylabel() == "TSNE 2" and len(by_tsne.ax_.patches) == 0
    with pytest.raises(ValueError, match=r"PCA\(n_components=3\) returned an array of shape \(120, 3\)"):
        LatentSpaceDisplay.from_estimator(model, X, projector=PCA(3))


def test_one_latent_dimension_pipelines_and_vaeem(blobs, quick):
    X = blobs[0]
    settings = {**quick, "max_iter": 2}
    line = LatentSpaceDisplay.from_estimator(VaDEClustering(2, **{**settings, "latent_dim": 1}).fit(X), X)
    assert (line.ax_.get_xlabel(), line.ax_.get_ylabel()) == ("z", "row") and len(line.ax_.patches) == 0
    pipeline = make_pipeline(StandardScaler(), VaDEClustering(3, **settings)).fit(X)
    assert len(LatentSpaceDisplay.from_estimator(pipeline, X).ax_.patches) == 3
    vaeem = VAEEMClustering(3, **settings).fit(X)
    display = LatentSpaceDisplay.from_estimator(vaeem, X, projector=PCA(2))
    joint = vaeem.transform(X)
    expected = PCA(2).fit_transform(np.sqrt(joint.max(1, keepdims=True) - joint))
    np.testing.assert_allclose(np.abs(display.embedding), np.abs(expected))


def test_rows_far_away_are_counted_and_do_not_squeeze_the_others():
    points = np.random.default_rng(0).normal(size=(1000, 2))
    points[:3] = 1e4
    ax = LatentSpaceDisplay(points, np.zeros(1000, dtype=int)).plot().ax_
    assert ax.get_xlim()[1] < 10.0 and ax.texts[-1].get_text().endswith("samples outside")
    n_outside = int(ax.texts[-1].get_text().split()[0])
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    inside = (points[:, 0] > x0) & (points[:, 0] < x1) & (points[:, 1] > y0) & (points[:, 1] < y1)
    assert n_outside == 1000 - inside.sum() and 3 <= n_outside < 30


def test_points_that_are_none():
    with pytest.raises(ValueError, match=r"shape \(n_samples, 2\).*got \(2, 3\) and \(2,\)"):
        LatentSpaceDisplay(np.ones((2, 3)), [0, 1]).plot()


# --------------------------------------------------------------------------- confidence and sizes


def test_confidence_counts_rows_by_their_largest_responsibility():
    responsibilities = [[0.995, 0.005, 0.0], [0.6, 0.4, 0.0], [0.05, 0.95, 0.0], [0.1, 0.9, 0.0], [0.4, 0.6, 0.0]]
    display = ConfidenceDisplay(responsibilities, bounds=(0.7, 0.9, 0.99)).plot()
    np.testing.assert_allclose(display.shares_, [[0.5, 0, 0, 0.5], [1 / 3, 0, 2 / 3, 0], [0, 0, 0, 0]])
    bars = np.array([bar.get_height() for bar in display.ax_.patches]).reshape(4, 3)
    np.testing.assert_allclose(bars.T, display.shares_)
    names = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert names == ["< 0.7", "0.7 – 0.9", "0.9 – 0.99", "≥ 0.99"]


@pytest.mark.parametrize("bounds", [(0.9, 0.5), (0.0, 0.5), (0.5, 1.0), ()])
def test_bounds_that_do_not_increase(bounds):
    with pytest.raises(ValueError, match="bounds must increase between 0 and 1"):
        ConfidenceDisplay([[1.0]], bounds).plot()


def test_labels_are_no_responsibilities():
    with pytest.raises(ValueError, match=r"shape \(n_samples, n_components\), as of predict_proba; got \(3,\)"):
        ConfidenceDisplay([0, 1, 1]).plot()


def test_sizes_are_training_counts_beside_weights(fitted, blobs):
    display = ComponentSizesDisplay.from_estimator(fitted)
    heights = [bar.get_height() for bar in display.ax_.patches]
    np.testing.assert_allclose(heights, np.bincount(fitted.labels_) / 120)
    np.testing.assert_allclose(display.ax_.get_lines()[0].get_ydata(), fitted.weights_)
    of_others = ComponentSizesDisplay.from_estimator(fitted, blobs[0][fitted.labels_ == 1])
    assert [bar.get_height() for bar in of_others.ax_.patches] == [0.0, 1.0, 0.0]
    with pytest.raises(ValueError, match=r"weights must have shape \(2,\), one per component; got \(3,\)"):
        ComponentSizesDisplay([1, 2], fitted.weights_).plot()


# ------------------------------------------------------------------------------------------ grids


def test_reliability_is_accuracy_by_confidence_of_matched_labels():
    # matched: component 1 with "a", 0 with "b"; the bins from .6 and from .9 have two samples each
    responsibilities = [[0.05, 0.95], [0.35, 0.65], [0.65, 0.35], [0.95, 0.05]]
    display = ReliabilityDisplay.from_predictions(["a", "a", "a", "b"], responsibilities, n_bins=10)
    assert list(np.flatnonzero(display.counts)) == [6, 9]
    diagonal, curve = display.ax_.get_lines()
    np.testing.assert_allclose(curve.get_xydata(), [[0.65, 0.5], [0.95, 1.0]])
    assert curve.get_label() == "ECE 0.100"
    again = display.plot(display.ax_, name="again", marker="x")
    assert len(again.ax_.get_lines()) == 3 and again.ax_.get_lines()[0] is diagonal
    assert again.ax_.get_legend().get_texts()[1].get_text() == "again: ECE 0.100"
    colors = [line.get_color() for line in again.ax_.get_lines()]
    assert len(set(colors)) == 3


def test_traversal_display_has_a_row_per_component_and_a_column_per_point(fitted):
    display = StyleTraversalDisplay.from_estimator(fitted, direction=[1.0, 1.0], values=[-1, 0, 2], image_shape=(2, 2))
    expected = np.concatenate([fitted.traverse([[-1.0, -1.0], [0.0, 0.0], [2.0, 2.0]], component=c) for c in range(3)])
    np.testing.assert_array_equal(display.images, expected)
    assert [label.get_text() for label in display.ax_.get_xticklabels()] == ["-1", "0", "2"]
    assert display.ax_.get_images()[0].get_size() == (3 * 3, 3 * 3)  # 2 × 2 pixels and a gap


def test_traversal_needs_a_style_and_one_of_its_axes(fitted):
    with pytest.raises(ValueError, match="direction must be an axis of w from 0 to 1, or a vector; got 2"):
        StyleTraversalDisplay.from_estimator(fitted, direction=2, image_shape=(2, 2))
    with pytest.raises(TypeError, match="VaDEClustering has no style variable w; pass a fitted GMVAEClustering"):
        StyleTraversalDisplay.from_estimator(VaDEClustering())


def test_grid_has_a_labeled_row_per_component():
    samples = np.arange(12.0).reshape(3, 4)
    display = ComponentSamplesDisplay(samples, [5, 2, 5], (2, 2)).plot()
    mosaic = display.ax_.images[0].get_array().filled(-1.0)
    assert mosaic.shape == (6, 6)  # two rows, two columns, a gap of one pixel
    np.testing.assert_array_equal(mosaic[:2, :2], [[4, 5], [6, 7]])
    np.testing.assert_array_equal(mosaic[3:5, 3:5], [[8, 9], [10, 11]])
    assert (mosaic[:3, 3:] == -1.0).all()  # component 2 has one sample
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == ["2", "5"]


def test_color_images_are_drawn_in_color():
    display = ComponentSamplesDisplay(np.ones((1, 12)), [0], (3, 2, 2)).plot()
    assert display.ax_.images[0].get_array().shape == (3, 3, 3)


@pytest.mark.parametrize(
    ("samples", "labels", "shape", "message"),
    [
        (np.ones((2, 5)), [0, 1], (2, 2), r"image_shape \(2, 2\) has 4 pixels but samples have shape \(2, 5\)"),
        (np.ones((2, 4)), [0], (2, 2), "got 2 samples and 1 labels"),
        (np.ones((2, 8)), [0, 1], (2, 2, 2), r"must be \(H, W\), \(1, H, W\) or \(3, H, W\), got \(2, 2, 2\)"),
    ],
)
def test_samples_that_are_no_such_images(samples, labels, shape, message):
    with pytest.raises(ValueError, match=message):
        ComponentSamplesDisplay(samples, labels, shape).plot()


# ---------------------------------------------------------------------------------------- history


def test_history_display_shows_every_term_and_the_minimum_information(fitted):
    above, below = HistoryDisplay.from_estimator(fitted).axes_
    labels = [line.get_label() for ax in (above, below) for line in ax.get_lines()]
    assert labels == ["lower_bound", "log_likelihood", "kl_latent", "kl_style", "kl_component", "min_information"]
    for line in (*above.get_lines(), *below.get_lines()[:-1]):
        assert line.get_ydata() == pytest.approx(fitted.history_[line.get_label()])
    assert set(below.get_lines()[-1].get_ydata()) == {0.5}


def test_history_without_a_noise_variable_and_on_two_given_axes():
    terms = ("lower_bound", "log_likelihood", "kl_latent", "kl_style", "kl_component")
    history = {name: [0.0 if name == "kl_style" else 1.0] * 3 for name in terms}
    placed_by_hand = plt.figure().add_axes((0.2, 0.2, 0.5, 0.6))
    above, below = HistoryDisplay(history).plot(placed_by_hand).axes_
    assert above.get_position().y0 > below.get_position().y1
    axes = plt.subplots(1, 2)[1]
    display = HistoryDisplay(history).plot(axes)
    assert display.axes_.tolist() == axes.tolist()
    assert [line.get_label() for line in axes[1].get_lines()] == ["kl_latent", "kl_component"]


@pytest.fixture(scope="module")
def search(blobs, quick):
    options = {"cv": 2, "criteria": ("log_likelihood",), "random_state": 0}
    return ComponentSearchCV(VaDEClustering(**{**quick, "latent_dim": 3}), 4, **options).fit(blobs[0])


def test_search_display_shows_each_criterion_and_the_neighboring_numbers_of_clusters(search, blobs):
    display = ComponentSearchDisplay.from_search(search, blobs[0])
    labels = [ax.get_ylabel().replace("\n", " ") for ax in display.axes_[:3]]
    assert labels == ["separation (nats)", "information lost (share)", "log-likelihood (nats / sample)"]
    assert [ax.get_title() for ax in display.axes_[3:]] == ["2 clusters", "3 clusters (chosen)", "4 clusters"]
    n_points = [sum(len(dots.get_offsets()) for dots in ax.collections) for ax in display.axes_[3:]]
    assert n_points == [120] * 3 and [len(ax.collections) for ax in display.axes_[3:]] == [2, 3, 4]
    line = display.axes_[0].lines[0]
    assert np.allclose(line.get_ydata(), search.cv_results_["separation"])
    ring = display.axes_[2].collections[-1].get_offsets()[0]
    assert ring[0] == search.best_by_criterion_["log_likelihood"]
    assert len(ComponentSearchDisplay.from_search(search).axes_) == 3
    display.figure_.canvas.draw()


def test_search_display_of_a_mixed_table_shows_the_bic_of_all_columns(blobs):
    frame = pd.DataFrame(blobs[0], columns=list("abcd")[: blobs[0].shape[1]])
    frame["city"] = np.array(["Aix", "Bern", "Cork"])[blobs[1]]
    options = {"criteria": (), "refit": False, "random_state": 0}
    search = ComponentSearchCV(VaDEClustering(), [1, 3], **options).fit(frame)
    display = ComponentSearchDisplay.from_search(search, frame)
    assert [ax.get_ylabel() for ax in display.axes_[:2]] == ["BIC\n(all columns)", "separation\n(nats)"]
    assert display.axes_[0].collections[-1].get_offsets()[0].tolist() == [3, search.cv_results_["bic"][1]]
    assert [ax.get_title() for ax in display.axes_[2:]] == ["1 cluster", "3 clusters (chosen)", "4 clusters"]


def test_search_display_refuses_other_samples(search, blobs):
    with pytest.raises(ValueError, match="the 120 samples of the search; got 60"):
        ComponentSearchDisplay.from_search(search, blobs[0][::2])


def test_hierarchy_display_is_a_dendrogram_on_given_axes(search, blobs):
    ax = plt.subplots()[1]
    display = ComponentHierarchyDisplay.from_estimator(search.best_estimator_, blobs[0], ax=ax)
    assert display.ax_ is ax and sorted(text.get_text() for text in ax.get_xticklabels()) == ["0", "1", "2"]
    with pytest.raises(ValueError, match="single component"):
        ComponentHierarchyDisplay(np.empty((0, 4))).plot()


# ------------------------------------------------------------------------------ pairs of features


def test_scatter_matrix_has_the_samples_and_the_share_of_the_draws_within_its_contours(blobs, quick):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(blobs[0], columns=list("abcd"))
    frame["flag"] = blobs[1] == 0
    frame.loc[:9, "b"] = np.nan
    model = VaDEClustering(3, **{**quick, "max_iter": 0}).fit(frame)
    display = ComponentScatterDisplay.from_estimator(model, frame)
    assert sorted(display.names) == list("abcd") and display.axes_.shape == (4, 4)
    labels = model.predict(frame)
    for i, j in ((1, 0), (3, 2)):
        ax = display.axes_[i, j]
        for c, points in enumerate(ax.collections[:3]):
            expected = frame.loc[labels == c, [display.names[j], display.names[i]]].dropna().to_numpy()
            np.testing.assert_array_equal(np.ma.compress_rows(points.get_offsets()), expected)
        for c, contours in enumerate(ax.collections[3:]):
            draws = display.draws[display.components == c][:, [j, i]]
            outer, inner = (path.contains_points(draws).mean() for path in contours.get_paths())
            assert abs(outer - 0.9) < 0.03 and abs(inner - 0.5) < 0.05
    assert not display.axes_[0, 1].axison
    areas = [curve.get_paths()[0].vertices[:, 1].sum() for curve in display.axes_[2, 2].collections]
    np.testing.assert_allclose(np.divide(areas, sum(areas)), model.weights_, atol=0.06)


def test_scatter_matrix_takes_features_by_name_or_index_and_refuses_others(blobs, quick):
    model = VaDEClustering(3, **{**quick, "max_iter": 0}).fit(blobs[0])
    assert ComponentScatterDisplay.from_estimator(model, blobs[0], features=[2, 0]).names == ["2", "0"]
    assert len(ComponentScatterDisplay.from_estimator(model, blobs[0], n_features=2).names) == 2
    frame = pd.DataFrame(blobs[0]).add_prefix("x")
    named = VaDEClustering(3, **{**quick, "max_iter": 0}).fit(frame)
    assert ComponentScatterDisplay.from_estimator(named, frame, features=[1, "x0"]).names == ["x1", "x0"]
    messages = {(1,): "two features of numbers or more; got", (1, 7): "features names an unknown feature, 7; X has"}
    for features, message in messages.items():
        with pytest.raises(ValueError, match=message):
            ComponentScatterDisplay.from_estimator(model, blobs[0], features=features)
