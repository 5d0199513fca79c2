"""Text that a spreadsheet would compute: kept from it by an apostrophe, which comes off again when it is read.

Source: OWASP, CSV injection.
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"[\s\ufeff'\"]*[=+\-@\t\r]")


def guard(text: str) -> str:
    """The text, behind an apostrophe where a spreadsheet would take it for a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguard(text: str) -> str:
    """The text that was guarded; any other as it is."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
