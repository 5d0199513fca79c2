"""Untrusted text made visible, for every file and line that leaves the program: secrets are taken
out, what can't be seen is shown.

Names, notes and sample texts come from data, models and other people. In Markdown they pass through
`storage.markdown` too.
"""

from __future__ import annotations

import re
import unicodedata

from ft_harness.storage.redaction import redact

_FORMULA = re.compile(r"[\s\ufeff'\"]*[=+\-@\t\r]")
_BLANKS = str.maketrans("", "", "\n\t")


def _is_shown(character: str) -> bool:
    return character.isprintable() or character in "\n\t" or unicodedata.category(character) == "Zs"


def _code(character: str) -> str:
    number = ord(character)
    return (
        f"\\x{number:02x}"
        if number < 0x100
        else f"\\u{number:04x}"
        if number < 0x10000
        else f"\\U{number:08x}"
    )


def visible(text: str, limit: int | None = None) -> str:
    r"""Untrusted text made visible: the first `limit` characters (None: all) without secrets;
    control, bidi and zero-width characters as `\x1b`, `\u202e`; a mark where cut."""
    text = redact(text)
    shown = text[:limit]
    if not (shown.isprintable() or shown.translate(_BLANKS).isprintable()):
        shown = "".join(each if _is_shown(each) else _code(each) for each in shown)
    if limit is None or len(text) <= limit:
        return shown
    return f"{shown} … [cut at {limit} of {len(text)} characters]"


def one_line(text: str, limit: int | None = None) -> str:
    r"""Untrusted text made visible on one line: a line break is shown as `\n`."""
    return visible(text, limit).replace("\n", "\\n").replace("\t", "\\t")


def guard_formula(text: str) -> str:
    """Untrusted text behind an apostrophe where a spreadsheet would take it for a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguard_formula(text: str) -> str:
    """The text that `guard_formula` guarded; any other as it is."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
