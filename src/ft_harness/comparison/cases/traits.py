"""The traits by which items are put into slices, and what they are computed from (words, fields,
likelihoods): pure functions of a sample.

The lists of words are ours and short: a trait is a hint where to look, not a linguistic analysis.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from typing import Any

from ft_harness.data.fingerprints import Item, find_fields, plain
from ft_harness.metrics.characters import punctuation, split_tokens
from ft_harness.records import Sample

_LOOKED_AT = 300  # samples from which the text fields are read
_FUNCTION_WORDS = """
    a about after all also am an and any are as at be because been before being both but by can
    could did do does doing down each few for from had has have having he her here hers him his
    how i if in into is it its itself just may me might more most my no nor not of off on once
    only or other our ours out over own s same she should so some such t than that the their
    theirs them then there these they this those through to too under until up very was we were
    what when where which while who whom whose why will with would you your yours
    的 了 在 是 和 与 與 及 之 也 而 者 其 有 为 為 以 于
    於 这 這 那 他 她 它 我 你 们 們 就 都 不 吗 嗎 呢 吧
"""
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|nobody|nothing|nowhere|neither|nor|cannot|without)\b|n['’]t\b"
    r"|[不没沒未勿莫弗毋無无]|非(?!常)"
)
_NUMBER = re.compile(
    r"\d|\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
    r"|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|billion"
    r"|hundreds|thousands|millions|billions|dozen|dozens)\b|[二三四五六七八九十百千万萬亿億两兩]"
)
_QUESTIONS = {  # the earliest one in the question counts; of two in one place the first of the list
    "how many or much": r"\bhow (?:many|much)\b|多少|[几幾][个個何位次年天]",
    "when": r"\bwhen\b|\b(?:what|which) (?:year|date|day|month|century|decade|time)\b"
    r"|何[时時年日]|什[么麼][时時]候",
    "where": r"\bwhere\b|何[处處地]|[哪][里裡裏]|什[么麼]地方",
    "who": r"\bwho(?:m|se)?\b|[谁誰孰]|何人",
    "why": r"\bwhy\b|[为為]什[么麼]|[为為]何|何[故以]",
    "which": r"\bwhich\b|哪",
    "how": r"\bhow\b|怎|如何",
    "what": r"\bwhat\b|什[么麼]|何",
    "yes or no": r"^(?:is|are|was|were|am|do|does|did|has|have|had"
    r"|can|could|will|would|shall|should|may|might|must)\b|[吗嗎]",
}
_QUESTION = re.compile(
    "|".join(f"(?P<q{number}>{pattern})" for number, pattern in enumerate(_QUESTIONS.values()))
)


@lru_cache(maxsize=1)
def _function_words() -> frozenset[str]:
    return frozenset(_FUNCTION_WORDS.split())


@lru_cache(maxsize=1)
def _without_punctuation() -> dict[int, str]:
    return dict.fromkeys(map(ord, punctuation()), " ")


def content_words(text: str) -> set[str]:
    """The words of a text that carry its content, case folded: no function words (English and
    Chinese) and no punctuation. In scripts written without blanks each character is a word."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return set(split_tokens(folded.translate(_without_punctuation()))) - _function_words()


def find_text_fields(samples: Iterable[Sample]) -> list[str]:
    """Doc fields whose texts traits are computed from: those that occur in nearly all prompts, in
    the prompt's order; not the answer's own field."""
    # Read from the prompts themselves: a task's template may build a field's text in any way, and
    # need not name the field.
    looked_at = list(islice(samples, _LOOKED_AT))
    items = [
        Item(sample.item_key, sample.prompt, sample.target, sample.doc) for sample in looked_at
    ]
    names = find_fields(items)
    return [
        name
        for name in names
        if not all(plain(item.doc[name]) == plain(item.answer) for item in items)
    ]


def show_fields(doc: Mapping[str, Any], fields: Iterable[str]) -> dict[str, str]:
    """The texts of these fields of an item's doc; what is no text is left out."""
    return {name: value for name in fields if isinstance(value := doc.get(name), str)}


def join_fields(texts: Mapping[str, str]) -> str:
    """The texts of several fields of an item's doc, a line each."""
    return "\n".join(texts.values())


def read_log_likelihoods(sample: Sample) -> list[float] | None:
    """The log-likelihood of each choice of an item in nats; None where the model did not choose
    between several."""
    pairs = [
        response
        for response in sample.responses
        if isinstance(response, list) and len(response) == 2
    ]
    if len(sample.responses) < 2 or len(pairs) < len(sample.responses):
        return None
    return [float(value) for value, _ in pairs]


def find_margin(log_likelihoods: Iterable[float]) -> float | None:
    """A trait's value: how sure a model was of its choice, the best log-likelihood minus the second
    best; None for fewer than two."""
    best = sorted(log_likelihoods, reverse=True)[:2]
    return best[0] - best[1] if len(best) == 2 else None


@dataclass(frozen=True)
class Trait:
    """One property of items that they are sliced by.

    Attributes:
        definition: what it is, for the reader.
        read: its value for an item: a category, or a number, of which quartiles are made; None: it
            has none.
        unit: of a number.
        scale: what a number is multiplied by for the reader.
        from_answers: it depends on what a model answered, so that a slice is no fair sample of
            items.
    """

    name: str
    definition: str
    read: Callable[[Sample], str | float | None]
    unit: str | None = None
    scale: float = 1.0
    from_answers: bool = False


def list_traits(fields: Sequence[str], further: Sequence[str] = ()) -> list[Trait]:
    """The traits of items whose prompts show these text fields; `further` names doc fields that a
    user slices by."""
    # What the user asked for comes first in the tables.
    named = [
        Trait(field_kind(name), f"the doc's field {name}", partial(_read_category, name))
        for name in further
    ]
    # The last text of a prompt is what is asked about: the hypothesis after its premise, the
    # question after its passage.
    focus = fields[-1] if fields else None
    traits = [
        Trait(
            "prompt length",
            "characters of the prompt",
            lambda sample: float(len(sample.prompt)),
            "characters",
        ),
        Trait(
            "prompt cut", "whether the prompt was too long, so that its beginning is lost", _is_cut
        ),
        Trait("answerable", "whether the passage holds the answer", _answerable),
        Trait(
            "base margin",
            "log-likelihood of the best choice minus that of the second best, by the base model",
            lambda sample: find_margin(read_log_likelihoods(sample) or []),
            "nats",
            from_answers=True,
        ),
    ]
    if focus is not None:
        traits += _text_traits(focus)
    if focus is not None and len(fields) > 1:
        traits.append(
            Trait(
                "word overlap",
                f"share of the content words of {focus} that also occur in {fields[0]}",
                lambda sample: overlap_share(
                    str(sample.doc.get(fields[0]) or ""), str(sample.doc.get(focus) or "")
                ),
                "%",
                100.0,
            )
        )
    return [*named, *traits]


def field_kind(name: str) -> str:
    """What the trait by a user's own field is called."""
    return f"{name} (field)"


def _text_traits(field: str) -> list[Trait]:
    """Traits of one text field, which comes last in the prompt: the hypothesis, the question, or
    all there is."""

    def text(sample: Sample) -> str:
        return unicodedata.normalize("NFKC", str(sample.doc.get(field) or "")).casefold()

    return [
        Trait(
            "negation",
            f"a negation word in {field}",
            lambda sample: _say(bool(_NEGATION.search(text(sample)))),
        ),
        Trait(
            "number",
            f"a digit or number word in {field}",
            lambda sample: _say(bool(_NUMBER.search(text(sample)))),
        ),
        Trait(
            "question type",
            f"the first question word of {field}, where it is a question",
            lambda sample: find_question_type(text(sample), is_question=field == "question"),
        ),
    ]


def overlap_share(first: str, last: str) -> float | None:
    """A trait's value: share of the last text's content words that also occur in the first; None
    where it has none."""
    words = content_words(last)
    return len(words & content_words(first)) / len(words) if words else None


def find_question_type(text: str, *, is_question: bool) -> str | None:
    """A trait's value: what a folded text asks for; None where it is no question (has no question
    mark at its end), unless it is said to be one."""
    if not is_question and not text.rstrip().endswith(
        "?"
    ):  # NFKC has made ? of the full-width mark
        return None
    # One expression for all: of "who knows when" the first word counts, by its place and not by the
    # order of a list.
    found = _QUESTION.search(text)
    if found is None or found.lastgroup is None:
        return "other"
    return list(_QUESTIONS)[int(found.lastgroup[1:])]


def _say(holds: bool) -> str:
    return "yes" if holds else "no"


def _answerable(sample: Sample) -> str | None:
    """By the official scorer's split of the scores, else by an empty list of answers; None: no such
    task."""
    if "HasAns_exact" in sample.scores:
        return _say(sample.scores["HasAns_exact"] is not None)
    answers = sample.doc.get("answers")
    return _say(bool(answers)) if isinstance(answers, list) else None


def _is_cut(sample: Sample) -> str:
    return _say(sample.truncated)


def _read_category(name: str, sample: Sample) -> str | None:
    """A doc field's value as text; None for lists and the like, which are no categories."""
    value = sample.doc.get(name)
    return str(value) if isinstance(value, str | int | float) else None
