"""Scripts that measure, in folders by question; README.md lists them.

A script is started by its path from a checkout in which nothing is installed, and Python then looks for modules beside
the script alone. Each script that is started so puts the checkout first on the path by one line, the same in all,

    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

so that ``benchmarks.common`` and the ``skgmvae`` of the same checkout are found. This file makes ``benchmarks`` a
regular package, which no other one of that name on the path can hide.
"""
