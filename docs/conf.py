"""The site: ``make docs`` builds it into ``site/`` with Sphinx, and a warning is an error."""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import normpath, relpath
from typing import Any

import nws_data

ROOT = Path(__file__).parents[1]

project, author, copyright = "NWS", "the NWS authors", "the NWS authors, Apache License 2.0"
release = nws_data.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["findings/*.md"]
highlight_language = "none"  # a block that names no language is output
html_theme, html_title = "furo", "NWS: the neural weight space dataset"
html_theme_options = {"navigation_with_keys": True}
html_show_sphinx = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # tests/test_site.py runs them; shown is what they gave on the dataset of make quickstart

add_module_names = False
autodoc_default_options = {"members": True, "show-inheritance": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
maximum_signature_line_length = 90
napoleon_numpy_docstring = False
napoleon_use_rtype = False

PAGES = {
    "FORMAT.md": "format.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/results/board.md": "board.md",
}
"""Pages that lie elsewhere in the repository, and the pages of the site that include them."""

_SITE = PAGES | {"README.md": "index.md"}
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)")


def setup(app: Any) -> None:
    """Let links between files of the repository hold on the site."""
    app.connect("source-read", _rewrite)


def _rewrite(app: Any, document: str, content: list[str]) -> None:
    """Links go to the page of the site; what the site lacks, such as code, is named only."""

    def link(match: re.Match[str]) -> str:
        text, target, anchor = match[1], normpath(f"docs/{document}/../{match[2]}"), match[3] or ""
        if target in _SITE:
            return f"[{text}]({relpath(_SITE[target], f'{document}/..')}{anchor})"
        outside = not target.startswith("docs/") and (ROOT / target).exists()
        return text if outside else match[0]  # a link to nothing ends the build

    content[0] = _LINK.sub(link, content[0])
