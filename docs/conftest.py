"""What of this folder is no page to run: the build runs the gallery, and tests/test_notebooks.py the notebooks."""

collect_ignore = ["_build", "auto_examples", "conf.py", "gallery", "generated", "notebooks"]
