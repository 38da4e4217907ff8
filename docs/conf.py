"""Configuration of the documentation site; CONTRIBUTING.md has the command that builds it."""

import re
import warnings

from sklearn.exceptions import ConvergenceWarning

import skgmvae

project = "skgmvae"
author = "skgmvae developers"
copyright = author
version = release = skgmvae.__version__

# The build fetches nothing, so that it gives the same pages anywhere and fails for no reason outside the checkout:
# hence no intersphinx, and names of other packages are left as text (nitpick_ignore_regex). The pages themselves
# load MathJax when they are read.
extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates", "notebooks", "gallery"]
templates_path = ["_templates"]
suppress_warnings = ["config.cache"]  # sphinx_gallery_conf holds functions and classes

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(joblib|matplotlib|numpy|safetensors|scipy|sklearn|skorch|torch)\..*"),
    ("py:obj", r"\w+_"),  # numpydoc links fitted attributes that are properties, which the templates do not list
]

autodoc_typehints = "none"  # the docstrings say more about types, shapes and units
autosummary_generate = True
numpydoc_show_class_members = False  # the templates list them

copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = f"skgmvae {release}"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "header_links_before_dropdown": 7,
    "navbar_align": "left",
    "navigation_with_keys": False,
    "show_prev_next": False,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
}


def reset_warnings(gallery_conf, fname):
    """Before every example: epochs are few here, and warnings that they do not suffice would bury the text."""
    warnings.simplefilter("ignore", ConvergenceWarning)


sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_examples",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "image_scrapers": ("matplotlib",),
    "image_srcset": ["2x"],
    "min_reported_time": 1,
    "plot_gallery": True,
    "reset_modules": ("matplotlib", reset_warnings),
    "reset_modules_order": "before",
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
}


# pages beside which there is nothing to list get the whole width
ALONE = ("index",)
html_sidebars = {page: [] for page in ALONE}


def adapt_page(app, docname, source):
    """What reads well in the repository, and to doctest, made to read well here.

    Pages link to the scripts of the gallery: their executed pages take over. The empty line that ends an example
    for doctest goes, and no line breaks at a ±.
    """
    source[0] = source[0].replace("\n\n```\n", "\n```\n").replace(" ± ", "\u00a0±\u00a0")
    source[0] = re.sub(r"\]\(gallery/(\w+)\.py\)", r"](auto_examples/\1.rst)", source[0])
    source[0] = source[0].replace("](gallery/)", "](auto_examples/index.rst)")


def setup(app):
    """Called by Sphinx."""
    app.connect("source-read", adapt_page)
