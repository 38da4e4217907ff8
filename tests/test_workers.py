"""On the workers of Dask and Ray: same results as in one process, and one pretraining per fold."""

import shutil
import sys

import joblib
import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.model_selection import GridSearchCV

from skgmvae import VaDEClustering
from skgmvae.model_selection import ComponentSearchCV

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, _ = make_blobs(90, 3, centers=3, random_state=0)
N_FOLDS = 2


@pytest.fixture(scope="module", params=["dask", "ray"])
def backend(request, tmp_path_factory):
    """Name of a joblib backend with two worker processes."""
    pytest.importorskip("distributed" if request.param == "dask" else "ray")
    if request.param == "dask":
        from distributed import Client, LocalCluster

        folder = tmp_path_factory.mktemp("dask")
        cluster = LocalCluster(
            2, threads_per_worker=1, processes=True, dashboard_address=":0", local_directory=str(folder)
        )
        with cluster, Client(cluster):
            yield "dask"
    else:
        import ray
        from ray.util.joblib import register_ray

        ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR")
        register_ray()
        yield "ray"
        ray.shutdown()


def make_grid(memory):
    settings = {"linear_path": False, "pretrain_iter": 2, "max_iter": 2, "random_state": 0}
    vade = VaDEClustering(**settings, memory=str(memory))
    return GridSearchCV(vade, {"n_components": [2, 3]}, cv=N_FOLDS, refit=False)


def test_grids(backend, tmp_path):
    expected = make_grid(tmp_path / "here").fit(X)
    with joblib.parallel_backend(backend, n_jobs=2):
        grid = make_grid(tmp_path / "there").fit(X)
    np.testing.assert_array_equal(grid.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"])
    pretrained = {path.parent.name for path in (tmp_path / "there").rglob("output.pkl")}
    assert len(pretrained) == N_FOLDS


@pytest.mark.parametrize("backend", ["dask"], indirect=True)
def test_search_for_the_number_of_components(backend):
    def search():
        criteria = ["icl"]
        return ComponentSearchCV(VaDEClustering(), range(1, 4), cv=2, criteria=criteria, refit=False, random_state=0)

    expected = search().fit(X)
    with joblib.parallel_backend(backend, n_jobs=2):
        found = search().fit(X)
    for name, values in expected.cv_results_.items():
        np.testing.assert_array_equal(found.cv_results_[name], values, err_msg=name)


def test_blocks_of_a_dask_array():
    blocks = pytest.importorskip("dask.array").from_array(X, chunks=(40, 3))
    vade = VaDEClustering(3, random_state=0).fit(X)
    labels = blocks.map_blocks(vade.predict, dtype="int64", drop_axis=1)
    scores = blocks.map_blocks(vade.score_samples, dtype="float64", drop_axis=1)
    np.testing.assert_array_equal(labels.compute(), vade.predict(X))
    np.testing.assert_allclose(scores.compute(), vade.score_samples(X), rtol=1e-10)


@pytest.fixture(scope="module")
def frame():
    pd = pytest.importorskip("pandas")
    return pd.DataFrame(X, columns=list("abc"))


@pytest.fixture(scope="module")
def fitted(frame):
    return VaDEClustering(3, random_state=0).fit(frame)


def make_predict(model):
    def predict(batch):
        some = batch[list("abc")]
        return batch.assign(cluster=model.predict(some), log_density=model.score_samples(some))

    return predict


def assert_clustered_alike(clustered, frame, model):
    clustered, expected = (each.sort_values(list("abc")) for each in (clustered, make_predict(model)(frame)))
    np.testing.assert_array_equal(clustered["cluster"], expected["cluster"])
    np.testing.assert_allclose(clustered["log_density"], expected["log_density"], rtol=1e-10)


@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_batches_of_a_ray_dataset(backend, frame, fitted):
    if backend != "ray":
        pytest.skip("needs Ray")
    pytest.importorskip("pyarrow")
    from ray import data

    rows = data.from_pandas([frame[:40], frame[40:]])
    assert_clustered_alike(rows.map_batches(make_predict(fitted), batch_format="pandas").to_pandas(), frame, fitted)


@pytest.mark.filterwarnings("ignore")  # PySpark's own, about pandas
def test_partitions_of_a_spark_frame(frame, fitted, monkeypatch):
    sql = pytest.importorskip("pyspark.sql")
    pytest.importorskip("pyarrow")
    if shutil.which("java") is None:
        pytest.skip("needs Java")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")  # a quicker start
    predict = make_predict(fitted)
    # one worker for both partitions: it loads the libraries once
    spark = sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    rows = spark.createDataFrame(frame).repartition(2)
    schema = "a double, b double, c double, cluster long, log_density double"
    clustered = rows.mapInPandas(lambda batches: map(predict, batches), schema).toPandas()
    spark.stop()
    assert_clustered_alike(clustered, frame, fitted)
