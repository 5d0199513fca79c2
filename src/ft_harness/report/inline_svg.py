"""A figure as SVG inside the page: nothing but shapes, by an allow-list of elements, attributes and
values.

The page's policy forbids style attributes, so that each declaration becomes the attribute of the
same name. Identifiers are those of the figure with a prefix of its own, and stay only where
something refers to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from xml.etree import ElementTree

_ELEMENTS = {"svg", "g", "defs", "clipPath", "path", "rect", "use"}
_PLACES = {"d", "x", "y", "width", "height", "viewBox", "transform"}
_LOOKS = {
    *(
        "fill",
        "fill-opacity",
        "fill-rule",
        "opacity",
        "stroke",
        "stroke-dasharray",
        "stroke-dashoffset",
    ),
    *("stroke-linecap", "stroke-linejoin", "stroke-miterlimit", "stroke-opacity", "stroke-width"),
}
_VALUE = re.compile(r"[\w\s#.,()%+-]*")
_FUNCTION = re.compile(r"([A-Za-z-]+)\s*\(")
_FUNCTIONS = {"matrix", "rotate", "scale", "translate"}
_TARGET = re.compile(r"(?:url\()?#([\w.-]+)\)?")
_USUAL = (
    'stroke-linejoin="round" stroke-linecap="butt"'  # matplotlib's style sheet, which is left out
)
_DESCRIPTION = "The numbers drawn here are in the csv file of the figure, next to the report."


def inline_svg(image: bytes, number: int, title: str) -> str:
    """The markup of an svg image; `number` distinguishes the page's figures, `title` is read to
    those who can't see it.

    It has no size of its own but the proportions of its view box.
    """
    root = ElementTree.fromstring(image)
    prefix = f"f{number}-"
    kept = {
        target
        for element in root.iter()
        for name in ("href", "clip-path")
        if (target := _target(element, name))
    }
    parts = "".join(_markup(child, prefix, kept) for child in root)
    box = "".join(
        f' viewBox="{escape(value)}"'
        for value in [root.get("viewBox", "")]
        if value and _is_plain(value)
    )
    names = f'role="img" aria-labelledby="{prefix}title" aria-describedby="{prefix}desc"'
    description = f'<desc id="{prefix}desc">{_DESCRIPTION}</desc>'
    labels = f'<title id="{prefix}title">{escape(title)}</title>{description}'
    return f"<svg{box} {names} {_USUAL}>{labels}{parts}</svg>"


def _markup(element: ElementTree.Element, prefix: str, kept: set[str]) -> str:
    """An element and what is in it; nothing where it is not allowed. Letters are drawn as shapes,
    no text is kept."""
    name = _local(element.tag)
    if name not in _ELEMENTS:
        return ""
    attributes = "".join(
        f' {key}="{escape(value)}"' for key, value in _attributes(element, prefix, kept)
    )
    inner = "".join(_markup(child, prefix, kept) for child in element)
    return f"<{name}{attributes}>{inner}</{name}>"


def _attributes(
    element: ElementTree.Element, prefix: str, kept: set[str]
) -> Iterator[tuple[str, str]]:
    own = element.get("id")
    if own in kept:
        yield "id", f"{prefix}{own}"
    for name in ("href", "clip-path"):
        if target := _target(element, name):
            yield name, f"#{prefix}{target}" if name == "href" else f"url(#{prefix}{target})"
    declared = (part.partition(":")[::2] for part in element.get("style", "").split(";"))
    looks = {name.strip(): value.strip() for name, value in declared}
    for name, value in (element.attrib | looks).items():
        if (name in _LOOKS or (name in _PLACES and name not in looks)) and _is_plain(value):
            yield name, value.replace("\n", " ").strip()


def _is_plain(value: str) -> bool:
    """Numbers, colours and moves: nothing that names another place."""
    return bool(_VALUE.fullmatch(value)) and set(_FUNCTION.findall(value)) <= _FUNCTIONS


def _target(element: ElementTree.Element, name: str) -> str | None:
    """What an element refers to in its own figure."""
    value = next((value for key, value in element.attrib.items() if _local(key) == name), "")
    found = _TARGET.fullmatch(value)
    return found[1] if found else None


def _local(name: object) -> str:
    """A name without its namespace; comments have none."""
    return name.rpartition("}")[2] if isinstance(name, str) else ""
