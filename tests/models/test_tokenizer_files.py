"""A tokenizer that would take all memory, end the process or panic is refused in three lines."""

from __future__ import annotations

import base64
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ft_harness.errors import InputError
from ft_harness.models import base_model
from ft_harness.models.adapters import tokens
from ft_harness.models.tokenizer_file import check_tokenizer_file
from ft_harness.recipe import ModelSection
from tests.builders.command import assert_three_lines

NAME = "tokenizer.json"
Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def model(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def change_tokenizer(folder: Path, change: Change) -> None:
    content = json.loads((folder / NAME).read_text())
    change(content)
    (folder / NAME).write_text(json.dumps(content))


def section(folder: Path) -> ModelSection:
    return ModelSection(pretrained=str(folder))


def replacing(old: dict[str, str], new: str, times: int) -> dict[str, Any]:
    step = {"type": "Replace", "pattern": old, "content": new}
    return {"type": "Sequence", "normalizers": [step] * times}


def charsmap(trie: list[int], texts: bytes, size: int | None = None) -> dict[str, str]:
    packed = struct.pack(f"<I{len(trie)}I", 4 * len(trie) if size is None else size, *trie)
    encoded = base64.b64encode(packed + texts).decode()
    return {"type": "Precompiled", "precompiled_charsmap": encoded}


def template(tokens: int, uses: int) -> dict[str, Any]:
    special = {"id": "<s>", "ids": [1] * tokens, "tokens": ["<s>"] * tokens}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    single = [{"SpecialToken": {"id": "<s>", "type_id": 0}}] * uses + [text]
    pair = [text, {"Sequence": {"id": "B", "type_id": 1}}]
    return {
        "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": {"<s>": special},
    }  # fmt: skip


# each would end the process or take all of its memory within the tokenizers library
BOMBS: dict[str, Change] = {
    "a text that grows": lambda t: t.update(normalizer=replacing({"String": "a"}, "a" * 10, 12)),
    "a letter that no first text has": lambda t: t.update(
        normalizer=replacing({"String": "q"}, "q" * 10, 12)
    ),
    "by an expression": lambda t: t.update(normalizer=replacing({"Regex": "."}, "aa", 40)),
    "one long text": lambda t: t.update(normalizer=replacing({"String": "a"}, "b" * 9999, 1)),
    "within a sequence": lambda t: t.update(
        normalizer={
            "type": "Sequence",
            "normalizers": [replacing({"String": "a"}, "a" * 10, 6)] * 2,
        }
    ),
    "a prefix again and again": lambda t: t.update(
        normalizer={
            "type": "Sequence",
            "normalizers": [{"type": "Prepend", "prepend": "a" * 9999}] * 40,
        }
    ),
    "decoding": lambda t: t.update(
        decoder={
            "type": "Sequence",
            "decoders": replacing({"String": "a"}, "a" * 10, 12)["normalizers"],
        }
    ),
    "many parts": lambda t: t.update(normalizer=replacing({"String": "a"}, "b", 5000)),
    "a step without a type": lambda t: t.update(
        normalizer={"pattern": {"String": "a"}, "content": "b" * 9999}
    ),
    "special tokens": lambda t: t.update(post_processor=template(1000, 100_000)),
    "a table of characters that is longer than it is": lambda t: t.update(
        normalizer=charsmap([], b"", 0xFFFFFFFC)
    ),
    "a truncated table of characters": lambda t: t.update(
        normalizer={"type": "Precompiled", "precompiled_charsmap": "/////w=="}
    ),
    "a table of characters with long texts": lambda t: t.update(
        normalizer=charsmap([0] * 256, b"a" * 9999 + b"\0")
    ),
}
# each makes the library panic, which Python sees as no Exception
PANICS: dict[str, Change] = {
    "parts of no length": lambda t: t.update(pre_tokenizer={"type": "FixedLength", "length": 0}),
    "nothing that is replaced": lambda t: t.update(normalizer=replacing({"String": ""}, "zz", 1)),
    "a table of characters without an end": lambda t: t.update(normalizer=charsmap([0xFFFFFFFF], b"")),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_tokenizer_without_bounds_is_refused_unread(name: str, model: Path):
    change_tokenizer(model, BOMBS[name])
    with pytest.raises(InputError, match=NAME):
        check_tokenizer_file(model / NAME)
    with pytest.raises(InputError, match=NAME):
        base_model.load_tokenizer(section(model))


@pytest.mark.parametrize("name", PANICS)
def test_a_tokenizer_that_panics_is_refused(name: str, model: Path):
    change_tokenizer(model, PANICS[name])
    with pytest.raises(InputError, match=r"stopped|more than 64"):
        base_model.load_tokenizer(section(model))


def test_an_adapters_tokenizer_that_panics_is_refused(model: Path, model_folder: Path):
    change_tokenizer(model, PANICS["parts of no length"])
    base = base_model.load_tokenizer(section(model_folder))
    (found,), _ = tokens.compare(model, base, 320, None)
    assert "tokenizer.json: the library that reads it stopped" in found.what


def test_an_adapters_tokenizer_has_the_same_bounds(model: Path, model_folder: Path):
    change_tokenizer(model, BOMBS["a text that grows"])
    base = base_model.load_tokenizer(section(model_folder))
    (found,), _ = tokens.compare(model, base, 320, None)
    assert NAME in found.what


@pytest.mark.usefixtures("small_index")
def test_a_panic_on_a_later_text_is_three_lines(ft: Any, model: Path, tmp_path: Path):
    """The texts that are tried first have none of what it panics on."""
    change_tokenizer(
        model,
        lambda t: t.update(
            pre_tokenizer={
                "type": "Sequence",
                "pretokenizers": [
                    {
                        "type": "Split", "pattern": {"Regex": "(w|ww)+$(.*)*x|warm(.*)*(.*)*q"},
                        "behavior": "Isolated", "invert": False,
                    },
                    t["pre_tokenizer"],
                ],
            }
        ),
    )  # fmt: skip
    labels = ("positive", "negative")
    rows = [{"text": f"{i} warm {'w' * 99}", "label": labels[i % 2]} for i in range(40)]
    (tmp_path / "d.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    recipe = tmp_path / "adapters/a/recipe.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(
        f"model: {{pretrained: {model}}}\ntask: {{name: demo_sentiment}}\ndata: {{source: d.jsonl}}\n"
    )
    code, _, err = ft("check", recipe)
    assert code == 3, err
    assert_three_lines(err, "retry-limit")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.update(normalizer=replacing({"Regex": "\\s+"}, " ", 3)),
        lambda t: t.update(normalizer=replacing({"String": " "}, "▁", 2)),
        lambda t: t.update(normalizer=replacing({"String": "\n"}, "<0x0A>", 1)),
        lambda t: t.update(normalizer={"type": "Prepend", "prepend": "▁"}),
        lambda t: t.update(post_processor=template(1, 1)),
        lambda t: t.update(normalizer=None, decoder=None),
    ],
)
def test_usual_tokenizers_are_read(change: Change, model: Path):
    change_tokenizer(model, change)
    check_tokenizer_file(model / NAME)
