"""Check the links of the built site that stay within it: files, and anchors in them.

    python .ci/check_links.py docs/_build

Prints each dead one with the page that it is on, and ends with the status 1 if there are any. Nothing is fetched.
"""

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

GENERATED = ("search.html", "genindex.html")  # whose anchors are made in the browser


class Page(HTMLParser):
    """Links and anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called for each tag."""
        values = {name: value for name, value in attrs if value}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        self.links |= {values[name] for name in ("href", "src") if name in values}


def find_pages(site: Path) -> list[Path]:
    """Pages of the site, without templates that the theme leaves among its files."""
    return sorted(path for path in site.rglob("*.html") if "_static" not in path.relative_to(site).parts)


def find_dead_links(site: Path) -> Iterator[tuple[str, str]]:
    """Page and link, for each that leads to no file or to no anchor in it."""
    site = site.resolve()
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in find_pages(site)}
    for path, page in pages.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            fragment = unquote(parts.fragment)
            known = target not in pages or target.name in GENERATED or fragment in pages[target].anchors
            if not target.is_file() or (fragment and not known):
                yield path.relative_to(site).as_posix(), link


def main(argv: list[str] | None = None) -> int:
    """Check the folder that is named."""
    (folder,) = argv if argv is not None else sys.argv[1:]
    if not Path(folder, "index.html").is_file():
        print(f"{folder} is not a built site; build it with: nox -s docs", file=sys.stderr)
        return 2
    dead = list(find_dead_links(Path(folder)))
    for page, link in dead:
        print(f"{page}: {link}")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main())
