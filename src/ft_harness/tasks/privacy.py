"""Personal data and keys in texts: e-mail addresses, card numbers, access keys.

A small set of patterns whose hits are nearly always right; names and addresses need a language
model and are not looked for.
"""

from __future__ import annotations

import re

# in any script; git@ is how repositories are named
_EMAIL = re.compile(r"(?<![\w.+-])(?!git@)[\w.+-]{1,64}@(?:[\w-]{1,63}\.)+[^\W\d_]{2,24}(?![\w-])")
# Domains set aside for examples (RFC 2606) belong to nobody.
_EXAMPLE = re.compile(r"@(?:.*\.)?(?:example(?:\.(?:com|net|org))?|test|invalid|localhost)$", re.I)
# between the digits: blanks and hyphens, also those that keep a line together; points only between
# groups of four, since decimal numbers have them
_DIGITS = re.compile(
    r"(?<![\d.,-])(?:\d{4}(?:\.\d{4}){3}"
    r"|\d(?:[ \u00a0\u2007\u202f\u2010-\u2013-]?\d){12,18})(?![\d]|[.,-]\d)"
)
_KEYS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:AKIA|ASIA)[A-Z0-9]{16}"  # Amazon
    r"|AIza[A-Za-z0-9_-]{35}"  # Google
    r"|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,}"
    r"|glpat-[A-Za-z0-9_-]{20,}"
    r"|hf_[A-Za-z0-9]{30,}"
    r"|sk-(?=[A-Za-z_-]*\d)(?:[a-z]+-)*[A-Za-z0-9_-]{32,}|[rs]k_live_[A-Za-z0-9]{20,}"
    r"|xox[abprs]-[A-Za-z0-9-]{20,}"
    r"|npm_[A-Za-z0-9]{36}|pypi-AgE[A-Za-z0-9_-]{50,}"
    r"|SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"  # SendGrid
    r"|shp(?:at|ss|ca|pa)_[a-fA-F0-9]{32}|do[opr]_v1_[a-f0-9]{64}"
    r"|ya29\.[A-Za-z0-9_-]{20,}"  # Google OAuth
    r"|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"  # a JSON web token
    r")(?![A-Za-z0-9])"
    r"|-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"
)
_CARD_STARTS = re.compile(r"4|5[1-5]|2[2-7]|3[47]|6(?:011|5|4[4-9])|35|30[0-5]|3[68]")


def find_private(text: str) -> set[str]:
    """The kinds of private data in a text: "e-mail addresses", "card numbers", "access keys"."""
    found: set[str] = set()
    if "@" in text and any(not _EXAMPLE.search(hit[0]) for hit in _EMAIL.finditer(text)):
        found.add("e-mail addresses")
    if any(is_card_number(hit[0]) for hit in _DIGITS.finditer(text)):
        found.add("card numbers")
    if _KEYS.search(text):
        found.add("access keys")
    return found


def is_card_number(text: str) -> bool:
    """Whether digits, and what is between them, are those of a payment card: a known first part
    and a right check digit.

    Source: ISO/IEC 7812-1, Luhn's formula.
    """
    digits = [int(char) for char in text if char.isdigit()]
    if len(set(digits)) == 1 or not _CARD_STARTS.match("".join(map(str, digits))):
        return False
    doubled = [
        sum(divmod(2 * digit, 10)) if place % 2 else digit
        for place, digit in enumerate(reversed(digits))
    ]
    return 13 <= len(digits) <= 19 and sum(doubled) % 10 == 0
