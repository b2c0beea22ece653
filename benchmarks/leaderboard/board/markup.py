"""HTML and SVG elements as functions: everything that is not an element already is escaped."""

from __future__ import annotations

import html


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


_VOID = {"meta", "br", "wbr", "line", "rect", "path", "circle"}


def element(name: str, /, *content: object, **attributes: object) -> Markup:
    """Return an element.

    Args:
        name: the tag.
        content: texts, which are escaped, and :class:`Markup`, which is not.
        attributes: values are escaped; ``_`` in a name becomes ``-``, ``class_`` is ``class``, None leaves one out.
    """
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        end = "/>" if name not in ("meta", "wbr") else ">"
        return Markup(f"<{name}{shown}{end}")
    return Markup(f"<{name}{shown}>{joined(*content)}</{name}>")


def joined(*content: object) -> Markup:
    """Return texts and elements one after the other."""
    return Markup("".join(part if isinstance(part, Markup) else html.escape(str(part), quote=False) for part in content))
