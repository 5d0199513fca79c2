"""What strangers may write: texts, values, and whole documents with something in them changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

from tests.builders.study import ATTACKS, PAYLOADS

_PIECES = [each for each in (*PAYLOADS, *ATTACKS) if len(each) < 500]
_MARKS = r"""= + - @ | ` ``` ~~~ \ $ $$ % # ^ _ * & < > " ' { } [ ] ( ) ! :// www. evil.com mailto:
\end{document} \input{x} </script> <!-- --> ]]> &lt;"""
_UNSEEN = "\n\r\t\x00\x07\u202e\u2066\u200b\ufeff\u2028\u00ad\ud800"
_LIVE = (*_MARKS.split(), *_UNSEEN, "\x1b[2J")
# any character, half ones among them
characters = st.characters(codec=None)
texts = st.one_of(
    st.sampled_from(_PIECES),
    st.text(characters, max_size=20),
    st.lists(st.one_of(st.sampled_from(_LIVE), st.text(max_size=3)), max_size=8).map("".join),
)
_NUMBERS = st.sampled_from(
    [0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**30, 10**4000, 0.0, -0.0, 0.5, 1e-320, 1e308]
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), _NUMBERS, texts)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the parts of a document are."""
    parts = (
        value.items()
        if isinstance(value, Mapping)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, part in parts:
        yield (*path, key)
        yield from _paths(part, (*path, key))


@st.composite
def changed(draw: st.DrawFn, document: Any, most: int = 2, new: Any = values) -> Any:
    """A document with one to `most` of its parts replaced, left out, moved or added."""
    found = deepcopy(document)
    for _ in range(draw(st.integers(1, most))):
        paths = list(_paths(found))
        if not paths:
            return found
        *above, last = draw(st.sampled_from(paths))
        parent = found
        for key in above:
            parent = parent[key]
        how = draw(st.sampled_from(["replace", "replace", "borrow", "drop", "add"]))
        if how == "drop":
            del parent[last]
        elif how == "add" and isinstance(parent, dict):
            parent[draw(texts)] = draw(new)
        elif how == "borrow":  # a value that has its place elsewhere
            *others, end = draw(st.sampled_from(paths))
            given: Any = found
            for key in others:
                given = given[key]
            parent[last] = deepcopy(given[end])
        else:
            parent[last] = draw(new)
    return found


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes of which some are changed, cut off, doubled or added."""
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(0, len(found) - 1)))
        how = draw(st.sampled_from(["flip", "cut", "add", "double", "number"]))
        if how == "flip" and found:
            found[place] ^= draw(st.integers(1, 255))
        elif how == "cut":
            del found[place : place + draw(st.integers(1, 64))]
        elif how == "add":
            found[place:place] = draw(st.binary(max_size=16))
        elif how == "double":
            found[place:place] = found[place : place + draw(st.integers(1, 64))]
        else:  # where a length or an offset may be
            found[place : place + 8] = draw(
                st.sampled_from([2**63, 2**62, 2**31, 0, 2**64 - 1])
            ).to_bytes(8, "little")
    return bytes(found)


_YAML = (
    *("0x" + "f" * 5000, "1e400", ".nan", "-.inf", "!!binary aGk=", "!!binary x", "!!set {a, b}"),
    *("!!omap [a: 1, b: 2]", "!!pairs [a: 1]", "2026-01-01", "!!timestamp 2026-13-01", "12:30:45"),
    *("!!int x", "!!int 1:2", "!!float x", "!!bool maybe", "!!null x", "!!str [a]", "!!map [a]"),
    *(
        "!!python/object/apply:os.system [x]",
        "!function os.system",
        "!function [a]",
        "!x y",
        "=",
        "<<",
    ),
    *(
        "&a [*a]",
        "*nobody",
        "{<<: {a: 1}}",
        "{<<: 1}",
        "{<<: [1]}",
        "{? [a] : 1}",
        "{? {a: 1} : 1}",
    ),
    *(
        "{1: a, true: b, null: c, 1.5: d}",
        "[[[[[[[[[[]]]]]]]]]]",
        "{a: 1, a: 2}",
        "1_000",
        "'\\ud800'",
    ),
)
_MARK = "yaml of its own: "


def yaml_texts(document: Any) -> st.SearchStrategy[str]:
    """A document as YAML with something in it changed, such as no JSON can say."""
    new = st.one_of(values, st.sampled_from(range(len(_YAML))).map(lambda at: f"{_MARK}{at}"))
    return changed(document, new=new).map(_write_yaml)


def _write_yaml(document: Any) -> str:
    text = json.dumps(document)
    for number, each in enumerate(_YAML):
        text = text.replace(json.dumps(f"{_MARK}{number}"), each)
    return text


def json_bytes(value: Any) -> bytes:
    """JSON as a careless program writes it: NaN and halves of characters among it."""
    return json.dumps(value, ensure_ascii=True).encode()
