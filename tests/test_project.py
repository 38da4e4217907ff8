"""What the project's files say about each other: versions, tasks, workflows, links."""

import ast
import re
import runpy
import tomllib
from pathlib import Path

import pytest
import yaml

import skgmvae

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
YAML = [*WORKFLOWS, *FORMS, ROOT / ".github" / "dependabot.yml", ROOT / ".readthedocs.yaml", ROOT / "CITATION.cff"]
CALLERS = [".ci/run", ".ci/oldest", "CONTRIBUTING.md", "docs/releasing.md", "changes/README.md"]
CALLERS += [f".github/workflows/{name}.yml" for name in ("docs", "package", "tests")]
LINK = re.compile(r'(?:\]\(|(?:src|href)=")(?![a-z]+:|#)([^)"#]+)')
NOX = re.compile(r"nox\b.*?--?s(?:ession)? ([\w ]+\w)")


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def find_sessions():
    """Names of the functions of noxfile.py with the decorator ``nox.session``."""
    functions = [node for node in ast.parse(read("noxfile.py")).body if isinstance(node, ast.FunctionDef)]
    return {f.name for f in functions if any("nox.session" in ast.unparse(mark) for mark in f.decorator_list)}


def test_the_version_is_the_same_everywhere():
    assert "version" in PYPROJECT["project"]["dynamic"]
    assert PYPROJECT["tool"]["hatch"]["version"]["path"] == "skgmvae/__init__.py"
    assert str(yaml.safe_load(read("CITATION.cff"))["version"]) == skgmvae.__version__
    assert f"version = {{{skgmvae.__version__}}}" in read("docs/about.md")


def test_continuous_integration_runs_every_python_that_the_package_names():
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(PYPROJECT["project"]["classifiers"]))
    jobs = yaml.safe_load(read(".github/workflows/tests.yml"))["jobs"]
    assert jobs["newest"]["strategy"]["matrix"]["python-version"] == named
    assert PYPROJECT["project"]["requires-python"] == f">={named[0]}"


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_yaml_files_can_be_read(path):
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_have_least_permissions_and_pinned_actions(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]
    assert "secrets." not in path.read_text(encoding="utf-8")
    for name, job in workflow["jobs"].items():
        assert job.get("permissions", {}) == ({"id-token": "write"} if name == "publish" else {})
        for step in job.get("steps", []):
            assert re.search(r"@(release/)?v\d+$", step.get("uses", "none@v0")), step


@pytest.mark.parametrize("name", CALLERS)
def test_sessions_that_are_called_exist(name):
    called = {session for sessions in NOX.findall(read(name)) for session in sessions.split()}
    assert called
    assert called <= find_sessions()


def test_the_whole_check_runs_every_kind_of_check():
    assert "--session lint types docs demo\n" in read(".ci/run")


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md"])
def test_links_resolve_to_files(name):
    missing = [link for link in LINK.findall(read(name)) if not (ROOT / link).exists()]
    assert not missing


def test_dead_links_of_the_site_are_found(tmp_path, capsys):
    check = runpy.run_path(str(ROOT / ".ci" / "check_links.py"))["main"]
    assert check([str(tmp_path)]) == 2
    (tmp_path / "other.html").write_text('<p id="here"><a href="index.html#there">')
    links = ["other.html#here", "other.html?v=1", "#there", "https://nowhere.invalid/x", "search.html#any"]
    (tmp_path / "search.html").touch()
    page = '<p id="there">' + "".join(f'<a href="{link}">' for link in links)
    (tmp_path / "index.html").write_text(page)
    assert check([str(tmp_path)]) == 0
    (tmp_path / "index.html").write_text(page + '<a href="other.html#gone"><img src="gone.png">')
    capsys.readouterr()
    assert check([str(tmp_path)]) == 1
    assert capsys.readouterr().out == "index.html: gone.png\nindex.html: other.html#gone\n"


# what a newcomer looks for, and the page that answers
TASKS = {
    "install": ("install.md", "pip install 'skgmvae[plot]'"),
    "missing cells": ("missing.md", ".impute(frame)"),
    "outliers": ("outliers.md", "np.flatnonzero(scores < threshold)"),
    "why component 0 is the largest": ("faq.md", "## Why is component 0 the largest?"),
    "how many clusters": ("choose_k.md", "search.best_n_components_"),
    "save and load": ("saving.md", "VaDEClustering.load(path)"),
    "in a pipeline": ("pipeline.md", "make_pipeline(RobustScaler(), VaDEClustering("),
    "a grid over K, M and λ": ("grid_search.md", '"n_mc_samples": [1, 4], "min_information": [0.0, 0.5]'),
    "when not to use it": ("faq.md", "## When should I not use it?"),
    "cite": ("about.md", "@software{skgmvae,"),
}


def test_what_a_newcomer_looks_for_is_one_click_away():
    docs = ROOT / "docs"
    first = set(re.findall(r"\]\((\w+\.md)", (docs / "index.md").read_text()))
    for task, (page, answer) in TASKS.items():
        assert page in first and answer in (docs / page).read_text(), task
    near = first.union(*(re.findall(r"\]\((\w+\.md)", (docs / page).read_text()) for page in first))
    assert {path.name for path in docs.glob("*.md")} - near == {"index.md"}


def test_readme_has_no_relative_link_at_a_package_index():
    text = '![a](docs/images/a.png) <img width="9" src="docs/b.png"> <a href="docs/c.md">[d](LICENSE)'
    text += read("README.md")
    for rule in PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    assert not LINK.findall(text)
    assert "https://skgmvae.readthedocs.io/en/stable/choosing.html#how-many-clusters" in text
    assert "![a](https://raw.githubusercontent.com/skgmvae/skgmvae/v$HFPR_VERSION/docs/images/a.png)" in text


def test_fragments_have_a_type():
    types = {section["directory"] for section in PYPROJECT["tool"]["towncrier"]["type"]}
    names = [path.name for path in (ROOT / "changes").iterdir() if path.name != "README.md"]
    assert [name for name in names if not re.fullmatch(rf"(\d+|\+[\w-]+)\.({'|'.join(types)})\.md", name)] == []
    assert f"\n{PYPROJECT['tool']['towncrier']['start_string']}" in read("CHANGELOG.md")


def test_the_command_of_the_bug_report_prints_versions(capsys):
    command = re.search(r'python -c "(.*)"', read(".github/ISSUE_TEMPLATE/bug_report.yml")).group(1)
    exec(command, {})
    assert re.search(r"^torch \d", capsys.readouterr().out, re.MULTILINE)
