"""A document as one HTML file that needs no network, no script and no other file.

The template escapes every text itself; a policy in the page forbids scripts and everything from elsewhere; figures are
data: addresses.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from ft_harness.report.document import Document, Heading, one_line, several_lines, text_of

if TYPE_CHECKING:
    from jinja2 import Template


def html_page(document: Document, figures: Mapping[str, bytes]) -> str:
    """The page; `figures` gives svg images by key. A missing one is left out."""
    style = _read("page.css")
    images = {key: f"data:image/svg+xml;base64,{base64.b64encode(image).decode()}" for key, image in figures.items()}
    contents = [block.text for block in document.blocks if isinstance(block, Heading) and block.level == 2]
    digest = base64.b64encode(sha256(style.encode()).digest()).decode()
    return _template().render(document=document, contents=contents, images=images, style=style, digest=digest) + "\n"


def _read(name: str) -> str:
    return files("ft_harness.report").joinpath(name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"one_line": one_line, "several_lines": several_lines, "text_of": text_of, "slug": slug}
    return environment.from_string(_read("page.html"))


def slug(heading: str) -> str:
    """The id of a section's heading, which is ours: lower-case words joined by hyphens."""
    return "-".join(heading.lower().split())
