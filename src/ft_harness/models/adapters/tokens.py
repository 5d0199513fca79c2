"""Whether the tokenizer that an adapter folder brings is the base's: prompts are encoded by the
base's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from ft_harness.errors import FtHarnessError, InputError, panics_named
from ft_harness.models.prompts import PromptForm
from ft_harness.models.tokenizer_file import TOKENIZER_FILE, check_tokenizer_file
from ft_harness.storage import sha256_text
from ft_harness.storage.strict_files import read_json

TOKENIZER_SETTINGS = "tokenizer_config.json"
_OTHER_FILES = (
    "tokenizer.model",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
)
# Blanks, digits, marks and other scripts: where tokenizers of one vocabulary differ.
_TEXTS = (
    "The film was good, 12 of 34 said.",
    "naïve  Straße\n\tнет 你好 🙂",
    "Question: who?\nAnswer: {x} <b>",
)


def compare(
    folder: Path, tokenizer: Any, rows: int, form: PromptForm | None
) -> tuple[list[FtHarnessError], list[str]]:
    """(faults, what could not be checked) of an adapter folder's tokenizer compared with the
    base's.

    Args:
        tokenizer: the base's.
        rows: of the base's embedding, which may be padded beyond the tokens.
        form: how prompts are rendered; None: not known yet.
    """
    if not (folder / TOKENIZER_FILE).is_file():
        others = [name for name in _OTHER_FILES if (folder / name).is_file()]
        return [], [
            f"its tokenizer ({others[0]}) was not compared with the base's"
        ] if others else []
    if not getattr(tokenizer, "is_fast", False):
        return [], [f"its {TOKENIZER_FILE} was not compared: the base's tokenizer has no such file"]
    path = folder / TOKENIZER_FILE
    try:
        check_tokenizer_file(path)
        with panics_named(path):
            found, notes = _compare_vocabulary(path, tokenizer, rows)
            found = found or _other_start(folder, tokenizer)
        return found or (_other_template(folder, form) if form else []), notes
    except InputError as error:
        return [error], []


def _compare_vocabulary(
    path: Path, tokenizer: Any, rows: int
) -> tuple[list[FtHarnessError], list[str]]:
    try:
        own = Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers library raises plain Exception
        raise InputError(
            f"{path}: no tokenizer", "a whole file", "remove it, or fetch it again"
        ) from error
    own.no_truncation()
    own.no_padding()
    mine, base = own.get_vocab(), tokenizer.get_vocab()
    moved = sorted(token for token in mine.keys() & base.keys() if mine[token] != base[token])
    extra = {token: number for token, number in mine.items() if token not in base}
    beyond = [token for token, number in extra.items() if number >= rows]
    other = [
        text
        for text in _TEXTS
        if own.encode(text, add_special_tokens=False).ids != _encode(tokenizer, text)
    ]
    if beyond:
        return [
            _fault(
                path,
                f"{len(beyond)} tokens more than the {rows} rows of the base's embedding",
                beyond,
            )
        ], []
    if moved or other:
        what = (
            f"{len(moved)} tokens with other numbers"
            if moved
            else "the same text gives other tokens"
        )
        return [_fault(path, f"not the base's tokenizer: {what}", moved or other)], []
    notes = (
        [f"{len(extra)} tokens of its tokenizer that the base's lacks, as {min(extra)!r}"]
        if extra
        else []
    )
    lacking = sorted(base.keys() - mine.keys())
    return [], notes + (
        [f"{len(lacking)} tokens that its tokenizer lacks, as {lacking[0]!r}"] if lacking else []
    )


def _encode(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _fault(path: Path, what: str, tokens: list[str]) -> InputError:
    return InputError(
        f"{path}: {what} (as {tokens[0][:40]!r})",
        "the tokenizer of the base; its vocabulary is neither cut nor extended",
        "use the base it was trained on, or score a merged model",
    )


def own_ends(folder: Path, tokenizer: Any) -> tuple[int, ...]:
    """Tokens that end an answer by an adapter folder's tokenizer or generation settings, and don't
    by the base's tokenizer."""
    found: set[int] = set()
    config, generation = folder / TOKENIZER_SETTINGS, folder / "generation_config.json"
    end = _text_of(read_json(config).get("eos_token")) if config.is_file() else None
    if end is not None and end != tokenizer.eos_token:
        number = tokenizer.convert_tokens_to_ids(end)
        if number is not None and tokenizer.convert_ids_to_tokens(number) == end:
            found.add(int(number))
    if generation.is_file():
        named = read_json(generation).get("eos_token_id")
        ends = named if isinstance(named, list) else [named]
        found |= {each for each in ends if type(each) is int}
    return tuple(sorted(found - {tokenizer.eos_token_id}))


def _text_of(token: Any) -> str | None:
    """A special token in tokenizer_config.json: a text, or an object with one."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None


def _other_start(folder: Path, tokenizer: Any) -> list[FtHarnessError]:
    """The folder's tokenizer must start texts as the base's does, by which prompts are encoded."""
    path = folder / TOKENIZER_SETTINGS
    if not path.is_file():
        return []
    config = read_json(path)
    own, base = _text_of(config.get("bos_token")), tokenizer.bos_token
    named = {"bos_token": (own or base, base)} | {
        name: (config[name], tokenizer.init_kwargs[name])
        for name in ("add_bos_token", "add_prefix_space")
        if config.get(name) is not None and tokenizer.init_kwargs.get(name) is not None
    }
    return [
        InputError(
            f"{path}: {name} is {there!r}, the base's {here!r}",
            "a tokenizer that starts texts as the base's does: prompts are encoded by that one",
            "use the base folder that it was trained on",
        )
        for name, (there, here) in named.items()
        if there != here
    ]


def _other_template(folder: Path, form: PromptForm) -> list[FtHarnessError]:
    """A chat template that the folder brings must be the one that prompts are rendered by."""
    file, config = folder / "chat_template.jinja", folder / TOKENIZER_SETTINGS
    own: Any = None
    if file.is_file():
        own = file.read_text(encoding="utf-8", errors="replace")
    elif config.is_file():
        own = read_json(config).get("chat_template")
    if not isinstance(own, str) or form.chat_template_hash in (None, sha256_text(own)[:16]):
        return []
    return [
        InputError(
            f"{folder}: brings another chat template ({sha256_text(own)[:16]}) than the base's "
            f"({form.chat_template_hash})",
            "prompts of the form that the adapter was trained on",
            "give the base folder the adapter's template, or set task.apply_chat_template=false",
        )
    ]
