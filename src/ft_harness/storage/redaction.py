"""What a secret is, and its removal from everything that is written or printed.

A secret has a known form (`hf_...`, the user part of a URL), or it is the value of an environment
variable or setting whose name says so, if the value looks like one: see `looks_secret` and
docs/decisions/026-secrets.md.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import repeat
from typing import Any
from urllib.parse import quote

REDACTED = "[redacted]"
_NAME = (
    r"(?:TOKEN(?!IZ)|SECRET|PASS(?:WORD|WD|PHRASE)|CREDENTIAL|KEY"
    r"|(?<![^\W_])(?:PAT|AUTH|PASS|JWT|CREDS|COOKIE|WEBHOOK|BEARER)(?![^\W_])|(?<=_)PWD(?![^\W_]))"
)
_SECRET_NAME = re.compile(_NAME, re.IGNORECASE)
# In a name, these say nothing: words that begin or end with one of the above by chance.
_ORDINARY = re.compile(
    r"(?:(?<![^\W\d_])|(?-i:(?<=[a-z])(?=[A-Z])))"
    r"(?:KEY(?:WORD|BOARD|NOTE|STONE|STROKE|FRAME|POINT|PHRASE|HOLE|CHAIN|PAD|PRESS|BINDING|MAP|SPACE)"
    r"|KEY(?:ED|ING|LESS)|KEYNES(?:IAN)?"
    r"|(?:MON|DON|TUR|HOC|WHIS|JOC|LAC|FLUN|MIC|DIC|HIC|SMO|PO|HO|JO|MALAR|CRI|TURN)KEY"
    r"|SECRET(?:ARY|ARIES|ARIAL|ARIAT|ION|E|ED|IVE|LY)|TOKENIS[MT])S?(?![^\W\d_])",
    re.IGNORECASE,
)
_PLACE_NAME = re.compile(r"_(?:PATH|FILE|DIR|SOCK|URL)$", re.IGNORECASE)  # where one is kept
# name=value and "name": "value", as options and JSON in an argument have it
_ASSIGNED = re.compile(
    rf"""([\w.-]{{0,40}}{_NAME}[\w.-]{{0,40}})["']?\s*[=:]\s*"""
    r"""(?:"([^"]+)"|'([^']+)'|([^\s,;&"'{}]+))""",
    re.IGNORECASE,
)
_SHORT = 64  # characters of a text that is kept: a big report has the same ones again and again
_SEARCHED = 1 << 14  # characters of a text that is looked through for assignments
# A token begins a word, or follows a JSON escape like \n or one of a URL. A URL's user part ends
# where its host's path, its query or a JSON string does, so that nothing but the secret is removed
# from a JSON text. Words with hyphens between them (sk-learn-pipelines-...) are no token.
_NO_WORDS = r"(?!(?:(?:[A-Za-z][a-z]{0,17}|[A-Z]{1,5}|\d{1,3})(?:[_-]+|(?![\w-])))+(?![\w-]))"
_FORMS = re.compile(
    r"(?:(?<![A-Za-z0-9])|(?<=\\[bfnrt])|(?<=%[0-9A-Fa-f]{2}))"
    rf"(?:hf_(?:[a-z]+_)?[A-Za-z0-9]{{20,}}|sk-{_NO_WORDS}[A-Za-z0-9_-]{{20,}}"
    r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|xapp-\d-[\w-]{10,}"
    rf"|gl(?:pat|rt|dt|ptt|cbt|imt|soat|ft|agent)-{_NO_WORDS}[\w-]{{20,}}"
    rf"|xox[abeoprs]-{_NO_WORDS}[\w-]{{10,}}"
    r"|npm_[A-Za-z0-9]{36}|A(?:KI|SI)A[A-Z0-9]{16}|AIza[\w-]{35}"
    r"|(?<![\w-])eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+"
    # payments, mail, clouds, packages, containers, trackers of issues
    r"|[rs]k_live_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/]{24,}|SG\.[\w-]{16,}\.[\w-]{32,}"
    r"|do[opr]_v1_[0-9a-f]{40,}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,}|hv[bsr]\.[\w-]{20,}"
    r"|dapi[0-9a-f]{32,}|pypi-AgE[\w-]{20,}|dckr_[a-z]{3}_[\w-]{20,}|shp[a-z]{2}_[0-9a-fA-F]{32,}"
    r"|ATATT3[\w=-]{30,}|lin_api_[A-Za-z0-9]{30,}|AGE-SECRET-KEY-1[0-9A-Z]{40,}"
    # hosts of models
    r"|(?:gsk_|xai-|pplx-)[A-Za-z0-9]{40,}|nvapi-[\w-]{40,}|r8_[A-Za-z0-9]{30,}|tgp_v1_[\w-]{30,})"
    r"|(?<=hooks\.slack\.com/services/)[\w/-]+|(?<=/api/webhooks/)\d+/[\w-]+"
    r"""|(?<=://)[^/?#\s:@"'<>\\]+(?::[^/?#\s"'<>\\]*)?(?=@)"""
    # of an address; of a connection string; behind an address's #
    r"""|(?P<named>(?:[?&](?:[\w-]{0,40}[_-])?(?i:(?:access)?"""
    r"""(?:token|secret|password|key|sig|signature|credential))"""
    r"""|;(?i:accountkey|sharedaccesskey|sharedaccesssignature|password)"""
    r"""|#(?i:(?:access_|id_)?token))=)[^&;\s"'<>\\]+"""
    r"""|(?P<header>(?i:authorization\\?["']?\s*[:=]\s*\\?["']?(?:bearer|basic|token))\s+)"""
    r"[\w.~+/=-]+"
    # with a digit: words may follow "bearer" too
    r"|(?P<bearer>\b(?i:bearer)\s+)(?=[A-Za-z._~+/-]*\d)[A-Za-z0-9._~+/-]{20,}=*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY[A-Z ]*-----.*?(?:-----END [A-Z ]*PRIVATE KEY[A-Z ]*-----|$)",
    re.DOTALL,
)
# One of these is in every text that holds a form. Forms are looked for where one is: that is half
# of the time that a million samples take to write. The last three may span lines.
_CUES = (
    "hf_", "sk-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "pat_", "glpat-", "glrt-", "gldt-",
    "glptt-", "glcbt-", "glimt-", "glsoat-", "glft-", "glagent-", "xox", "xapp-", "npm_", "akia",
    "asia", "aiza", "eyj", "live_", "whsec_", "sg.", "v1_", "ya29.", "gocspx-", "hvb.", "hvs.",
    "hvr.", "dapi", "pypi-", "oat_", "shpca_", "shppa_", "shpss_", "atatt3", "api_", "key-",
    "gsk_", "xai-", "pplx-", "nvapi-", "r8_", "://", "token=", "secret=", "password=", "key=",
    "sig=", "signature=", "credential=", "authorization", "bearer", "private key",
)  # fmt: skip
_SPANNING = _CUES[-3:]
# What precedes the mark that a cue ends in: a text is parted there once for all of these.
_BEFORE = {
    mark: tuple(cue[:-1] for cue in _CUES if cue.endswith(mark) and mark not in cue[:-1])
    for mark in "_-."
}
_OTHERS = [cue for cue in _CUES if cue[:-1] not in _BEFORE.get(cue[-1], ())]
_UNASSIGNED = [cue for cue in _OTHERS if "=" not in cue]
_SHORTEST, _FEWEST_KINDS, _LONG = 8, 4, 16  # characters; different ones; of no plain word
_WORDS = re.compile(r"[^\W\d_]+(?:_[^\W\d_]+)*")
_MARKER = re.compile(r"<.*>|\[.*\]")  # special tokens like <|endoftext|>
_USER_PART = re.compile(r"""://[^/?#\s:@]*:([^/?#\s@]+)@""")
_LEARNT: set[str] = set()
# Fields whose texts are names and hashes of ours, which a secret may happen to be part of.
_IDENTIFIERS = {
    "task", "alias", "group", "split", "metric", "primary_metric", "subject", "base_subject",
    "tuned_subject", "name", "eval_id", "item_key", "key", "check", "status", "verdict", "identity",
    "fingerprint", "sha256", "seal",
}  # fmt: skip
_STRANGERS = {"doc"}  # whose fields have any name


@lru_cache(maxsize=4096)
def says_secret(name: str) -> bool:
    """Whether a variable or setting is a secret by its name, and not only the path of one."""
    return bool(_SECRET_NAME.search(_ORDINARY.sub("", name))) and not _PLACE_NAME.search(name)


@lru_cache(maxsize=4096)
def looks_secret(value: str) -> bool:
    """Whether the value of a variable whose name says so is taken for a secret: eight characters,
    four different ones.

    Words of letters, also with `_` between them, of fewer than 16 characters (`demo_sentiment`),
    special tokens (`<|endoftext|>`) and paths of this machine are none: they occur where no secret
    is.
    """
    if len(value) < _SHORTEST or len(set(value)) < _FEWEST_KINDS:
        return False
    if _MARKER.fullmatch(value) or ("/" in value and os.path.exists(value)):
        return False
    return len(value) >= _LONG or not _WORDS.fullmatch(value)


def learn_secrets(settings: Any) -> None:
    """Remember the secrets among settings or arguments: values under a name that says so, or after
    such a name in a text like `token=...`."""
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            if isinstance(value, str) and says_secret(str(name)):
                _learn([value])
            else:
                learn_secrets(value)
    elif isinstance(settings, list | tuple):
        for part in settings:
            learn_secrets(part)
    elif isinstance(settings, str):
        for name, *values in _ASSIGNED.findall(settings[:_SEARCHED]):
            value = "".join(values)
            learn_secrets({name: value} if says_secret(name) else value)
        _learn(_USER_PART.findall(settings[:_SEARCHED]))


def _learn(values: Iterable[str]) -> None:
    _LEARNT.update(_found_in(values))


def _found_in(values: Iterable[str]) -> Iterator[str]:
    """The secrets among values, and each line of one: texts are shown with other line breaks."""
    for value in values:
        yield from filter(looks_secret, {value, *map(str.strip, value.splitlines())})


class _Known:
    """The values of environment variables that are secret by their name, and secrets learnt;
    updated when either changes."""

    def __init__(self) -> None:
        self._environment: dict[bytes, bytes] = {}
        self._learnt = -1
        self._found: frozenset[str] = frozenset()

    def secrets(self) -> frozenset[str]:
        # `os.environ` itself decodes every name and value each time, for each text of a report
        environment = vars(os.environ)["_data"]
        if environment != self._environment or len(_LEARNT) != self._learnt:
            named = (os.environ[name] for name in os.environ if says_secret(name))
            self._found = frozenset([*_found_in(named), *_LEARNT])
            self._environment, self._learnt = dict(environment), len(_LEARNT)
        return self._found


_known = _Known()


@lru_cache(maxsize=16)
def _spellings(secrets: frozenset[str]) -> list[tuple[str, re.Pattern[str] | None]]:
    """Each secret as text, in JSON and in a URL, longest first; one of digits with the pattern by
    which it is no part of another number."""
    written = {
        spelt
        for secret in secrets
        for spelt in (
            secret,
            json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1],
            quote(secret, safe=""),
        )
    }
    return [
        (text, re.compile(rf"(?<![\d.]){text}(?![\d.])") if text.isdecimal() else None)
        for text in sorted(written, key=len, reverse=True)
    ]


def redact(text: str) -> str:
    """A text without secrets: any known to this process or of a known form."""
    secrets = _known.secrets()
    return _redact_short(text, secrets) if len(text) <= _SHORT else _redact(text, secrets)


def _redact(text: str, secrets: frozenset[str]) -> str:
    for secret, alone in _spellings(secrets):
        if secret in text:
            text = alone.sub(REDACTED, text) if alone else text.replace(secret, REDACTED)
    folded = text.casefold()
    found = _find_cues(folded)
    if not found:
        return text
    if any(cue in _SPANNING for cue in found):
        return _FORMS.sub(_keep_name, text)
    # any other form is in a line with its cue, and in one string of a JSON text
    mark, holds = "\n" if "\n" in text else '"', _searcher(tuple(found))
    pieces = text.split(mark)
    for place, shown in enumerate(folded.split(mark)):
        if holds(shown):
            pieces[place] = _FORMS.sub(_keep_name, pieces[place])
    return mark.join(pieces)


@lru_cache(maxsize=256)
def _searcher(cues: tuple[str, ...]) -> Callable[[str], re.Match[str] | None]:
    """What looks for the first of some cues in a text."""
    return re.compile("|".join(map(re.escape, cues))).search


def _find_cues(folded: str) -> list[str]:
    """Those that are in a text."""
    found = [cue for cue in (_OTHERS if "=" in folded else _UNASSIGNED) if cue in folded]
    for mark, ends in _BEFORE.items():
        parts = folded.split(mark)
        if len(parts) > 1 and any(map(str.endswith, parts, repeat(ends))):
            found += [f"{end}{mark}" for end in ends if f"{end}{mark}" in folded]
    return found


_redact_short = lru_cache(maxsize=1 << 14)(_redact)


def _keep_name(found: re.Match[str]) -> str:
    return f"{found['named'] or found['header'] or found['bearer'] or ''}{REDACTED}"


def redact_values(value: Any, identifiers: Iterable[str] = frozenset(_IDENTIFIERS)) -> Any:
    """A structure without secrets in its texts; keys, numbers and texts under the names of
    `identifiers` stay."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: _redact_field(str(key), part, identifiers) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(redact_values(part, identifiers) for part in value)
    return value


def _redact_field(name: str, value: Any, identifiers: Iterable[str]) -> Any:
    if name in _STRANGERS:
        return redact_values(value, ())
    named = isinstance(value, str) and (name in identifiers or name.endswith("_hash"))
    return value if named and identifiers else redact_values(value, identifiers)


def redact_json(text: str) -> str:
    """A JSON text, secrets taken out of its values as by `redact_values`; unchanged where it has
    none."""
    if redact(text) == text:
        return text
    try:
        value = redact_values(json.loads(text))
    except ValueError:
        return redact(text)
    several = "\n" in text.strip()
    shown = json.dumps(
        value,
        ensure_ascii=False,
        indent=2 if several else None,
        separators=None if several else (",", ":"),
    )
    return shown + text[len(text.rstrip()) :]
