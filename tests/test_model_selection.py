"""The search over the number of components: what it finds, and what a meta-estimator promises."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs, make_moons
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from skgmvae import VaDEClustering
from skgmvae.model_selection import ComponentSearchCV
from skgmvae.model_selection._mixed import find_mixed, read_mixed, score_mixed
from skgmvae.model_selection._reader import fit_reader
from skgmvae.training import pretraining

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
FAST = {"hidden_layer_sizes": (8,), "max_iter": 1, "tol": 100.0, "init_params": "kmeans", "random_state": 0}


def make_search(estimator=None, n_components=4, **parameters):
    options = {"cv": 2, "criteria": ("log_likelihood",), "random_state": 0, **parameters}
    return ComponentSearchCV(estimator or GaussianMixture(random_state=0), n_components, **options)


@pytest.fixture(scope="module")
def three():
    """150 samples of 2 features in three separate groups, and their number."""
    return make_blobs([60, 50, 40], centers=[[0, 0], [8, 0], [0, 8]], random_state=0)


@pytest.fixture(scope="module")
def found(three):
    return make_search(criteria=("log_likelihood", "icl", "stability", "description_length")).fit(three[0])


# ------------------------------------------------------------------------------- what it finds


def test_separate_gaussians_are_found_by_every_criterion_but_the_graph(found, three):
    choices = {**found.best_by_criterion_}
    assert choices.pop("description_length") >= 3
    assert choices == dict.fromkeys(("combined", "separation", "bic", "log_likelihood", "icl", "stability"), 3)
    assert found.best_n_components_ == 3 and found.best_params_ == {"n_components": 3}
    assert found.cv_results_["param_n_components"][found.best_index_] == 3
    X, y = three
    labels = found.predict(X)
    assert len(set(zip(labels.tolist(), y.tolist(), strict=True))) == 3
    assert np.array_equal(found.best_estimator_.predict(X), labels)
    assert found.score(X) == pytest.approx(GaussianMixture(3, random_state=0).fit(X).score(X))


def test_moons_are_two_although_more_components_describe_their_density_better():
    X, _ = make_moons(300, noise=0.06, random_state=0)
    search = make_search(n_components=[1, 2, 6], refit=False).fit(X)
    assert search.best_n_components_ == 2
    assert search.best_by_criterion_["log_likelihood"] == 6


@pytest.mark.parametrize("kind", ["normal", "uniform", "standard_t"])
def test_one_cloud_is_one_cluster(kind):
    rng = np.random.default_rng(0)
    options = {"df": 4} if kind == "standard_t" else {}
    search = make_search(criteria=(), refit=False).fit(getattr(rng, kind)(size=(300, 2), **options))
    assert search.best_n_components_ == 1
    assert search.cv_results_["combined"][0] == 0.0


def test_the_largest_number_is_compared_with_more(three):
    search = make_search(n_components=2, criteria=(), refit=False).fit(three[0])
    assert sorted(search.partitions_) == [1, 2, 3, 4] and len(search.cv_results_["combined"]) == 2
    more = make_search(n_components=4, criteria=(), refit=False).fit(three[0])
    assert search.cv_results_["combined"][1] == more.cv_results_["combined"][1] < 1.0


def test_without_one_among_the_numbers_the_smallest_is_chosen():
    X = np.random.default_rng(0).normal(size=(200, 2))
    assert make_search(n_components=[5, 3, 4], criteria=()).fit(X).best_n_components_ == 3


def test_columns_are_those_of_a_frame(found):
    frame = pd.DataFrame(found.cv_results_)
    assert frame["param_n_components"].tolist() == [1, 2, 3, 4]
    assert frame["params"][2] == {"n_components": 3}
    splits = frame[["split0_test_log_likelihood", "split1_test_log_likelihood"]].to_numpy()
    assert np.allclose(frame["mean_test_log_likelihood"], splits.mean(1))
    assert np.allclose(frame["se_test_log_likelihood"], splits.std(1, ddof=1) / np.sqrt(2))
    assert frame["rank_test_log_likelihood"].min() == 1
    assert frame["mean_test_stability"][0] == 0.0  # one cluster is no evidence
    assert frame["mean_test_icl"][0] == pytest.approx(frame["mean_test_log_likelihood"][0])
    assert (frame["mean_test_icl"] <= frame["mean_test_log_likelihood"] + 1e-12).all()
    assert found.n_splits_ == 2 and found.refit_time_ > 0.0
    assert frame["bic"].idxmin() == 2 and frame["tied"].notna().tolist() == [False, False, True, False]


def test_held_out_scores_are_in_the_units_of_the_data(three):
    scores = [
        make_search(refit=False).fit(scale * three[0]).cv_results_["mean_test_log_likelihood"] for scale in (1, 10)
    ]
    assert np.allclose(scores[0] - scores[1], 2 * np.log(10))


def test_held_out_score_of_one_component_is_that_of_one_gaussian(three):
    X = three[0]
    search = make_search(n_components=[1], cv=KFold(3, shuffle=True, random_state=1), refit=False).fit(X)
    for i, (train, test) in enumerate(KFold(3, shuffle=True, random_state=1).split(X)):
        expected = GaussianMixture(1).fit(X[train]).score(X[test])
        assert search.cv_results_[f"split{i}_test_log_likelihood"][0] == pytest.approx(expected, abs=1e-3)


def test_numbers_too_large_for_the_samples_are_unknown(three):
    search = make_search(n_components=[1, 2, 40], refit=False).fit(three[0][::5])
    assert np.isnan(search.cv_results_["separation"][2]) and 40 not in search.partitions_
    assert search.cv_results_["rank_test_log_likelihood"][2] == 3


def test_more_samples_than_are_partitioned_get_the_labels_of_their_neighbors(three, monkeypatch):
    X, y = three
    monkeypatch.setattr("skgmvae.model_selection._partitions.MAX_SAMPLES", 90)
    search = make_search(refit=False).fit(X * [1.0, 100.0])
    assert search.best_n_components_ == 3
    assert len(set(zip(search.partitions_[3].tolist(), y.tolist(), strict=True))) == 3


def test_many_features_are_projected(three):
    wide = three[0] @ np.random.default_rng(0).normal(size=(2, 120))
    wide += 0.1 * np.random.default_rng(1).normal(size=wide.shape)
    assert make_search(criteria=(), refit=False).fit(wide).best_n_components_ == 3


@pytest.mark.parametrize("seed", [1, 2])
def test_equal_gaussians_that_overlap_are_found(seed):
    """As far from each other as two groups of two are, and nearer."""
    X = make_blobs(300, centers=4, random_state=seed)[0]
    assert make_search(n_components=5, criteria=(), refit=False).fit(X).best_n_components_ == 4


@pytest.mark.parametrize(("noise", "seed"), [(0.08, 0), (0.1, 1000)])
def test_pieces_of_few_samples_are_no_normal_clusters(noise, seed):
    """The lowest BIC is that of six to eight components, each of which passes a test of normality."""
    X = make_moons(300, noise=noise, random_state=seed)[0]
    search = make_search(n_components=9, criteria=(), refit=False).fit(X)
    assert search.best_n_components_ == 2 < search.best_by_criterion_["bic"]
    assert np.isnan(search.cv_results_["misfit"]).all()


# ------------------------------------------------------------------------------- a meta-estimator


def test_check_estimator():
    check_estimator(make_search(VaDEClustering(**FAST), n_components=[2], criteria=()), on_skip=None)


def test_results_are_equal_for_the_same_seed_whatever_the_workers(three):
    X = three[0]
    options = {"n_components": 2, "criteria": ("icl", "stability"), "refit": False}
    with joblib.parallel_config(backend="threading"):  # processes take seconds to start
        searches = [make_search(n_jobs=n, **options).fit(X) for n in (1, 2)]
    for name, column in searches[0].cv_results_.items():
        assert np.array_equal(column, searches[1].cv_results_[name], equal_nan=column.dtype.kind == "f"), name


def test_clone_pickle_and_joblib(found, three, tmp_path):
    again = clone(found)
    assert again.get_params()["criteria"] == found.criteria and not hasattr(again, "best_estimator_")
    joblib.dump(found, tmp_path / "search.joblib")
    for restored in (pickle.loads(pickle.dumps(found)), joblib.load(tmp_path / "search.joblib")):
        assert np.array_equal(restored.predict_proba(three[0]), found.predict_proba(three[0]))


def test_set_output_reaches_the_estimator(three):
    frame = pd.DataFrame(three[0], columns=["a", "b"])
    search = make_search(VaDEClustering(latent_dim=2, **FAST), [3]).set_output(transform="pandas").fit(frame)
    embedding = search.transform(frame)
    assert list(embedding.columns) == list(search.get_feature_names_out()) == ["vadeclustering0", "vadeclustering1"]
    assert list(search.feature_names_in_) == ["a", "b"] and search.n_features_in_ == 2
    assert isinstance(search.set_output(transform="default").transform(frame), np.ndarray)


def test_a_pipeline_is_searched_in_what_its_last_step_gets(three):
    X = three[0] * [1.0, 1e6]
    search = make_search(make_pipeline(StandardScaler(), VaDEClustering(**FAST))).fit(X)
    assert search.best_params_ == {"vadeclustering__n_components": 3}
    assert search.best_estimator_[-1].n_components == 3 and search.n_features_in_ == 2
    assert np.array_equal(search.labels_, search.predict(X))
    bare = make_search(VaDEClustering(**FAST)).fit(StandardScaler().fit_transform(X))
    assert np.allclose(search.cv_results_["separation"], bare.cv_results_["separation"])


def test_initial_labels_are_cut_with_the_folds_and_routed(three):
    X, y = three
    given = np.where(np.arange(len(X)) % 5 == 0, (y + 1) % 3, y)  # other clusters than without labels
    plain = make_search(VaDEClustering(**FAST), [3], fit_folds=True).fit(X, init_labels=given)
    assert plain.best_estimator_.init_params_ == "init_labels"
    with sklearn.config_context(enable_metadata_routing=True):
        vade = VaDEClustering(**FAST).set_fit_request(init_labels=True)
        routed = make_search(vade, [3], fit_folds=True).fit(X, init_labels=given)
        with pytest.raises(TypeError, match="init_labels"):
            make_search(VaDEClustering(**FAST).set_fit_request(init_labels=False), [3]).fit(X, init_labels=given)
    assert np.array_equal(routed.predict(X), plain.predict(X))
    unlabeled = make_search(VaDEClustering(**FAST), [3], fit_folds=True).fit(X)
    scores = [search.cv_results_["split0_test_log_likelihood"] for search in (plain, routed, unlabeled)]
    assert np.array_equal(scores[0], scores[1]) and not np.array_equal(scores[0], scores[2])


def count_pretrainings(monkeypatch):
    counted = []
    original = pretraining.train

    def count(*args, **kwargs):
        counted.append(1)
        return original(*args, **kwargs)

    monkeypatch.setattr(pretraining, "train", count)
    return counted


def test_folds_are_pretrained_once_for_all_numbers(three, monkeypatch):
    counted = count_pretrainings(monkeypatch)
    vade = VaDEClustering(linear_path=False, pretrain_iter=1, **{**FAST, "random_state": None})
    search = make_search(vade, [2, 3, 4], fit_folds=True, refit=False, cv=3).fit(three[0])
    assert len(counted) == 3
    assert search.cv_results_["mean_test_log_likelihood"].shape == (3,)


@pytest.mark.parametrize("Search", [GridSearchCV, HalvingGridSearchCV])
def test_grids_of_three_parameters_pretrain_once_per_set_of_samples(Search, three, monkeypatch, tmp_path):
    counted = count_pretrainings(monkeypatch)
    vade = VaDEClustering(linear_path=False, pretrain_iter=1, init_clamp=0.0, memory=str(tmp_path), **FAST)
    grid = {"n_components": [2, 3], "n_mc_samples": [1, 2], "min_information": [0.0, 0.3]}
    folds = KFold(2, shuffle=True, random_state=0)
    options = {"factor": 4, "min_resources": 60, "random_state": 0} if Search is HalvingGridSearchCV else {}
    search = Search(vade, grid, cv=folds, refit=False, **options).fit(three[0])
    n_rounds = getattr(search, "n_iterations_", 1)
    assert len(counted) == 2 * n_rounds


def test_trials_of_optuna_pretrain_once_per_fold(three, monkeypatch, tmp_path):
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    counted = count_pretrainings(monkeypatch)
    vade = VaDEClustering(linear_path=False, pretrain_iter=1, init_clamp=0.0, memory=str(tmp_path), **FAST)

    def objective(trial):
        vade.set_params(
            n_components=trial.suggest_int("n_components", 2, 3),
            n_mc_samples=trial.suggest_int("n_mc_samples", 1, 2),
            min_information=trial.suggest_float("min_information", 0.0, 0.3),
        )
        return cross_val_score(vade, three[0], cv=KFold(2, shuffle=True, random_state=0)).mean()

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=3)
    assert len(counted) == 2 and len({trial.value for trial in study.trials}) == 3


def test_refit_by_another_criterion_a_callable_or_not_at_all(found, three):
    X = three[0]
    assert make_search(refit="log_likelihood", n_components=2).fit(X).best_n_components_ == 2
    assert make_search(refit=lambda results: 0, n_components=2, criteria=()).fit(X).best_n_components_ == 1
    search = make_search(refit=False, n_components=2).fit(X)
    assert search.best_n_components_ == 2 and not hasattr(search, "predict")
    assert hasattr(found, "sample") and not hasattr(found, "transform")  # as GaussianMixture
    with pytest.raises(NotFittedError):
        make_search().predict(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": []}, "at least one; got []"),
        ({"n_components": [2, 0]}, "positive integers"),
        ({"n_components": [2.5]}, "positive integers"),
        ({"criteria": ("bic",)}, "got 'bic'"),
        ({"refit": "icl"}, "refit='icl' is not among the criteria"),
        ({"estimator": KMeans()}, "must have the parameter n_components"),
        ({"refit": "silhouette"}, "'refit' parameter"),
    ],
)
def test_what_cannot_be_searched_is_refused(parameters, message, three):
    with pytest.raises(ValueError, match=message.replace("[", r"\[").replace("]", r"\]")):
        make_search(**parameters).fit(three[0])


def test_too_few_samples_for_all_numbers_are_refused(three):
    with pytest.raises(ValueError, match="at least 600 samples, 3 for each component .* has"):
        make_search(n_components=[200, 300]).fit(three[0])


def test_dates_are_refused():
    frame = pd.DataFrame({"a": np.arange(20.0), "when": pd.date_range("2020-01-01", periods=20)})
    with pytest.raises(ValueError, match="dates or durations: 'when'"):
        make_search().fit(frame)


@pytest.mark.parametrize("holes", [False, True])
def test_tables_with_categories_and_missing_values_are_searched(holes):
    rng = np.random.RandomState(0)
    y = rng.randint(3, size=300)
    frame = pd.DataFrame(np.array([[0.0, 0.0], [8.0, 0.0], [4.0, 7.0]])[y] + rng.randn(300, 2), columns=["a", "b"])
    frame["city"] = np.where(rng.rand(300) < 0.8, np.array(["Aix", "Bern", "Cork"])[y], "Dover")
    if holes:
        frame = frame.mask(rng.rand(*frame.shape) < 0.05)
    vade = VaDEClustering(max_iter=0, random_state=0)
    criteria = ["log_likelihood", "stability"] if holes else []
    search = ComponentSearchCV(vade, range(2, 5), cv=2, criteria=criteria, random_state=0).fit(frame)
    assert search.best_n_components_ == 3
    assert adjusted_rand_score(y, search.predict(frame)) > 0.9
    assert set(search.sample(50)[0]["city"]) <= {"Aix", "Bern", "Cork", "Dover"}


def make_mixed(kind, rng, n=300):
    """A table whose categories tell of groups, or are as random as the cities of their rows."""
    y = rng.randint(3, size=n)
    if kind == "all columns tell":
        frame = pd.DataFrame(np.array([[0.0, 0.0], [2.4, 0.0], [0.0, 2.4]])[y] + rng.randn(n, 2), columns=["a", "b"])
        for name in ("job", "plan"):
            frame[name] = np.where(rng.rand(n) < 0.75, np.array(["u", "v", "w"])[y], rng.choice(["u", "v", "w"], n))
        return frame, y
    if kind == "categories tell":
        return pd.DataFrame(
            {f"q{j}": np.where(rng.rand(n) < 0.8, y, rng.randint(3, size=n)) for j in range(5)}, dtype=str
        ), y
    frame = pd.DataFrame(make_moons(n, noise=0.08, random_state=rng)[0], columns=["a", "b"])
    if kind == "no groups":
        frame, y = pd.DataFrame(rng.uniform(size=(n, 2)), columns=["a", "b"]), np.zeros(n, dtype=int)
    frame["city"] = rng.choice(["Aix", "Bern", "Cork", "Dover"], n)
    return frame, y


@pytest.mark.parametrize(
    ("kind", "number"), [("all columns tell", 3), ("categories tell", 3), ("curves", 2), ("no groups", 1)]
)
def test_numbers_of_groups_of_mixed_tables_are_found(kind, number):
    """Pieces of a curve, or of a square, with the same categories are no groups."""
    frame, y = make_mixed(kind, np.random.RandomState(1))
    search = ComponentSearchCV(VaDEClustering(), range(1, 5), criteria=[], refit=False, random_state=0).fit(frame)
    assert search.best_n_components_ == number
    if number == 3:  # the clusters that are compared are those of the estimator
        vade = VaDEClustering(3, max_iter=0, random_state=0).fit(frame)
        assert adjusted_rand_score(vade.labels_, search.partitions_[3]) > 0.95
        assert adjusted_rand_score(y, search.partitions_[3]) > 0.6


def test_mixtures_of_a_long_table_are_fitted_to_some_of_its_samples(monkeypatch):
    monkeypatch.setattr("skgmvae.model_selection._reader.MAX_SAMPLES", 200)
    frame, y = make_mixed("all columns tell", np.random.RandomState(1))
    table = read_mixed(fit_reader(VaDEClustering(), frame), frame)
    found = find_mixed(table, [3], np.random.RandomState(0))
    assert found.fits[3].responsibilities.shape == (200, 3) and found.labels[3].shape == (300,)
    assert adjusted_rand_score(y, found.labels[3]) > 0.6
    search = ComponentSearchCV(VaDEClustering(), [1, 3], criteria=["icl"], cv=2, refit=False, random_state=0)
    assert search.fit(frame).best_n_components_ == 3


def test_a_lower_criterion_beyond_the_largest_number_does_not_hide_the_best_within():
    rng, levels = np.random.RandomState(3), np.array(["no", "maybe", "yes"])
    y = rng.randint(3, size=300)
    answers = [np.where(rng.rand(300) < 0.75, (y + i * (1 + y)) % 3, rng.randint(3, size=300)) for i in range(7)]
    frame = pd.DataFrame({f"q{i}": levels[answer] for i, answer in enumerate(answers)})
    frame["age"] = rng.uniform(20.0, 70.0, 300)
    search = ComponentSearchCV(VaDEClustering(), 2, criteria=[], refit=False, random_state=0).fit(frame)
    assert search.best_by_criterion_["combined"] == search.best_by_criterion_["bic"] == 2


def test_criteria_that_a_table_does_not_have_choose_nothing():
    frame, _ = make_mixed("categories tell", np.random.RandomState(1), 60)
    options = {"criteria": ["description_length"], "random_state": 0}
    search = ComponentSearchCV(VaDEClustering(), [1, 2], refit=False, **options).fit(frame)
    assert search.best_by_criterion_.keys() == {"combined", "bic"}
    with pytest.raises(ValueError, match="refit='separation' cannot choose"):
        ComponentSearchCV(VaDEClustering(), [1, 2], refit="separation", **options).fit(frame)


def test_columns_are_warned_of_where_no_fit_does():
    frame = make_mixed("all columns tell", np.random.RandomState(1), 60)[0].assign(name=[f"n{i}" for i in range(60)])
    with pytest.warns(UserWarning, match="name"):
        ComponentSearchCV(VaDEClustering(), [1], criteria=[], refit=False).fit(frame)


def test_groups_of_log_normal_columns_are_counted_and_scores_are_in_the_units_of_the_data():
    rng = np.random.RandomState(0)
    logarithms = rng.normal(size=(400, 3)) + 2.4 * rng.randint(2, size=(400, 1))
    X = np.exp(logarithms)
    options = {"refit": False, "random_state": 0}
    for likelihood, is_found in (("auto", True), ("gaussian", False)):
        search = ComponentSearchCV(VaDEClustering(likelihood=likelihood), 4, criteria=[], **options).fit(X)
        assert (search.best_n_components_ == 2) == is_found
    scores = []
    for likelihood, samples in (("log_normal", X), ("gaussian", logarithms)):
        vade = VaDEClustering(likelihood=likelihood)
        search = ComponentSearchCV(vade, 3, criteria=["log_likelihood"], cv=2, **options).fit(samples)
        scores.append(search.cv_results_["mean_test_log_likelihood"])
    np.testing.assert_allclose(scores[0], scores[1] - logarithms.sum(1).mean(), atol=0.02)


def test_held_out_scores_of_mixed_tables_are_in_the_units_of_the_data():
    frame, _ = make_mixed("all columns tell", np.random.RandomState(0))
    found = []
    for scale in (1.0, 10.0):
        train, test = (frame.assign(a=scale * frame["a"])[rows] for rows in (slice(0, 200), slice(200, None)))
        table = read_mixed(fit_reader(VaDEClustering(), train), train)
        fit = find_mixed(table, [3], np.random.RandomState(0)).fits[3]
        found.append(score_mixed(table, fit, table.read(test)))
    np.testing.assert_allclose(found[1], np.array(found[0]) - np.log(10.0), atol=1e-4)
    vade = VaDEClustering(3, max_iter=0, random_state=0).fit(train)
    assert found[1][0] == pytest.approx(vade.score(test), abs=0.05)
    responsibilities = vade.predict_proba(test)
    entropy = -(responsibilities * np.log(responsibilities + 1e-300)).sum(1).mean()
    assert found[1][0] - found[1][1] == pytest.approx(entropy, abs=0.05)
