"""Pages from templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def render(path: Path, values: Mapping[str, Any], **filters: Callable[[str], str]) -> str:
    """Return a template's text with these values; those of HTML are escaped."""
    environment = Environment(
        loader=FileSystemLoader(path.parent),
        autoescape=".html" in path.suffixes,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= filters
    return environment.get_template(path.name).render(values)
