"""Markup: HTML and SVG put together so that what was said elsewhere can never be taken for a part of it."""

from __future__ import annotations

import json
from html import escape
from typing import Any

_EMPTY = frozenset({"br", "circle", "col", "line", "meta", "path", "polygon", "rect"})


class Markup(str):
    """Text that is markup already; any other is escaped where it is put in."""

    __slots__ = ()


def joined(*parts: object) -> Markup:
    """Joins markup and text; None is nothing."""
    return Markup(
        "".join(part if isinstance(part, Markup) else escape(str(part)) for part in parts if part is not None)
    )


def element(name: str, /, *parts: object, **attributes: object) -> Markup:
    """Returns an element. In attributes' names `_` at the end is dropped, any other stands for `-`; None: left out."""
    words = [name]
    for key, value in attributes.items():
        if value is not None:
            words.append(f'{key.rstrip("_").replace("_", "-")}="{escape(str(value))}"')
    opened = f"<{' '.join(words)}>"
    return Markup(f"{opened[:-1]}/>" if name in _EMPTY else f"{opened}{joined(*parts)}</{name}>")


def svg(width: float, height: float, label: str, /, *parts: object, **attributes: object) -> Markup:
    """Returns a drawing of these units, stretched to whatever place it gets."""
    return element(
        "svg",
        *parts,
        viewBox=f"0 0 {width:g} {height:g}",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
        **attributes,
    )


def data(name: str, value: Any) -> Markup:
    """Returns values for the page's script to read."""
    text = json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
    return element("script", Markup(text), type="application/json", id=name)
