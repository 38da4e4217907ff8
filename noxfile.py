"""The tasks of the project; ``nox --list`` prints them.

Each session makes its own environment. With ``nox --no-venv --no-install`` it uses the active one as it is; `.ci/run`
does so, because five environments with PyTorch take longer than the sessions themselves.
"""

import re
import shutil
import zipfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "tests"]

PYPROJECT = nox.project.load_toml("pyproject.toml")
DEPENDENCIES = PYPROJECT["project"]["dependencies"]
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
TOOLS = {re.split("[<>=]", requirement)[0]: requirement for requirement in EXTRAS["dev"]}
OLDEST_PYTHON = nox.project.python_versions(PYPROJECT)[0]
RELATIVE_LINK = re.compile(r'(?:\]\(|(?:src|href)=")(?![a-z]+:|#)[^)"]*')


@nox.session
def tests(session):
    """Run the tests with the newest dependencies. Options go to pytest; ``-P 3.13`` chooses the Python."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", "-n", "2", *session.posargs)


@nox.session(python=OLDEST_PYTHON)
def oldest(session):
    """Run the tests with the oldest versions that pyproject.toml allows. Options go to pytest."""
    constraints = Path(session.virtualenv.location, "oldest.txt")
    floors = [requirement.replace(">=", "==") for requirement in DEPENDENCIES + EXTRAS["test"]]
    constraints.write_text("\n".join(floors) + "\n", encoding="utf-8")
    session.log(", ".join(floors))
    session.install("--constraint", str(constraints), ".[test]")
    session.run("python", "-m", "pytest", "-n", "2", *session.posargs)


@nox.session
def lint(session):
    """Check the code with ruff, and its format."""
    session.install(TOOLS["ruff"])
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session):
    """Check the types of the package, and those that a user's script sees."""
    session.install(".[plot]", TOOLS["mypy"])
    session.run("mypy")
    session.run("mypy", "--strict", "tests/typing/user_script.py")


@nox.session
def mutation(session):
    """Run the tests on mutants of the package, some at random and some named; see "Mutation tests" in CONTRIBUTING.md.

    Groups and options of `.ci/mutation.py` go after ``--``.
    """
    session.install(".[test]", TOOLS["cosmic-ray"])
    session.run("python", ".ci/mutation.py", *session.posargs)


@nox.session
def reliability(session):
    """Interrupts, kills, edited files, contexts and long lives, in full: some hours on two cores.

    The results are appended to `benchmarks/results/reliability.jsonl`, and the page is written. Names of scripts in
    `benchmarks/reliability` may be given after ``--``.
    """
    session.install(".[test]")
    runs = {
        "edited_files": ["--trials", "10000"],
        "interrupts": ["--all"],
        "kills": ["--kills", "200"],
        "contexts": ["--trials", "1000"],
        "long_lives": ["--fits", "1000", "--queries", "100000"],
    }
    for name in session.posargs or runs:
        script = f"benchmarks/reliability/{name}.py"
        with Path("benchmarks/results/reliability.jsonl").open("a", encoding="utf-8") as out:
            session.run("python", script, *runs[name], stdout=out)
    session.run("python", "benchmarks/reliability/report.py")


@nox.session
def docs(session):
    """Build the documentation in docs/_build, with the gallery, and run the notebooks.

    A warning or a dead link within the site is an error.
    """
    session.install(".[docs,test]")
    session.run("python", "-m", "pytest", ".ci/test_notebooks.py")
    session.run("sphinx-build", "-W", "--keep-going", "--quiet", "docs", "docs/_build")
    session.run("python", ".ci/check_links.py", "docs/_build")


@nox.session
def demo(session):
    """Run ``python -m skgmvae`` as installed, and check that it draws its picture."""
    session.install(".[plot]")
    folder = Path(session.create_tmp()).resolve()
    picture = folder / "samples.png"
    picture.unlink(missing_ok=True)
    with session.chdir(folder):  # in the checkout, Python would import its sources
        session.run("python", "-m", "skgmvae", "--out", str(picture))
    if not picture.is_file() or picture.stat().st_size == 0:
        session.error("the demonstration did not draw samples.png")


@nox.session(reuse_venv=False)
def wheel(session):
    """Build the sdist and the wheel in dist/, check them, and install the wheel."""
    session.install("build>=1.2", "twine>=6.1")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build")
    files = sorted(Path("dist").resolve().iterdir())
    session.run("twine", "check", "--strict", *map(str, files))
    built = next(path for path in files if path.suffix == ".whl")
    links = RELATIVE_LINK.findall(read_metadata(built))
    if links:
        session.error(f"links that do not work on a package index: {', '.join(links)}; see pyproject.toml")
    session.install(str(built))
    with session.chdir(session.create_tmp()):
        session.run("python", "-c", "import skgmvae; print(skgmvae.__version__)")


def read_metadata(path):
    """METADATA of a wheel: the fields, then README as a package index shows it."""
    with zipfile.ZipFile(path) as file:
        name = next(name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        return file.read(name).decode()


@nox.session
def changelog(session):
    """Print what the fragments in changes/ will add to CHANGELOG.md. The version may be given after ``--``."""
    session.install(TOOLS["towncrier"])
    version = session.posargs[0] if session.posargs else "next"
    session.run("towncrier", "build", "--draft", "--version", version)
