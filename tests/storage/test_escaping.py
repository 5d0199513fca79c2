"""Text as Markdown that no renderer makes a link of, one with linkify included."""

from __future__ import annotations

import re

import pytest
from markdown_it import MarkdownIt

from ft_harness.storage.markdown import inline, table

# What markdown-it's linkify takes for a link: a host whose last part is a domain known to it (any
# of two letters; .com and its kin), an address with a scheme, an e-mail address.
LINKED = re.compile(r"[\w-]\.[^\W\d_]{2,}|\w+://\S|//\w+\.\w|\w@\w|www\.\w", re.IGNORECASE)
HOSTS = [
    "evil.com", "see evil.com/x?y=z", "http://evil.com", "//evil.com", "README.md", "a.b.c.io",
    "evil.com:8080", "me@evil.org", "x_y.sh", "evil.рф", "(evil.com)", "a.evil.com.", "-evil.co",
    "www.evil.com", "xn--e1afmkfd.org", "*evil*.com x.zip", "a|b.com", "evil.com|x", "`evil.com`",
    "ftp://a.b", "mailto:a@b.de", "1.evil.com", "evil..com", "evil.com$x", "\\evil.com", "e.vil.com",
    "_.AA", "-.com", "__init__.py",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTS)
def test_a_host_name_is_no_link(text: str):
    renderer = MarkdownIt("commonmark", {"html": True}).enable("table")
    for source in (
        inline(text),
        f"# {inline(text)}",
        f"- {inline(text)}",
        table([text], [[text]], "l"),
    ):
        html = renderer.render(source)
        assert "<a" not in html
        outside = re.sub(r"<code>.*?</code>", "\0", html, flags=re.DOTALL)
        assert not LINKED.search(re.sub(r"<[^>]*>", "\0", outside)), html
        shown = re.sub(r"<[^>]*>", "", html).replace("&quot;", '"').replace("&amp;", "&").strip()
        assert text.strip() in shown


def test_a_name_with_dots_is_one_piece_of_code():
    assert inline("train.per_device_train_batch_size") == "`train.per_device_train_batch_size`"


@pytest.mark.parametrize("text", ["0.95", "e.g. this", "v1.2.3", "lm-eval 0.4.13", "a. B", "3.5x"])
def test_numbers_and_sentences_stay_as_they_are(text: str):
    assert inline(text) == text


MARKERS = [
    "-", "+", "- a", "+ a", "1.", "1) a", "123456789. a", "- - -", " - a", "    a", "     - a", "1. ",
]  # fmt: skip


@pytest.mark.parametrize("text", MARKERS)
def test_what_begins_a_list_or_code_is_text(text: str):
    renderer = MarkdownIt("commonmark", {"html": True})
    words = " ".join(text.split())
    alone, item = renderer.render(inline(text)), renderer.render(f"- {inline(text)}")
    assert " ".join(alone.split()).replace("> ", ">") == f"<p>{words}</p>"
    assert " ".join(item.split()).replace("> ", ">") == f"<ul><li>{words}</li></ul>".replace(
        "</li><", "</li><"
    )


def test_a_cell_is_no_place_for_a_list():
    assert table(["a"], [["-"], ["+ 1"]], "l").splitlines()[2:] == ["| -   |", "| + 1 |"]
