"""Stop strings among tokens of single bytes, whole characters or not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from ft_harness.evaluation.backends.generation import Generator
from ft_harness.evaluation.backends.recovery import Effort


def byte_tokenizer():
    """A tokenizer of one token for each byte, none of them special."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    names = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    core = Tokenizer(
        models.BPE(
            {name: i for i, name in enumerate(names)}, [], unk_token="<unk>", byte_fallback=True
        )
    )
    core.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", unk_token="<unk>")


@pytest.fixture(scope="module")
def generator() -> Generator:
    """No model is needed: the tokens are given."""
    model = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=None))
    return Generator(SimpleNamespace(model=model, effort=Effort()), byte_tokenizer(), 0)


def ids_of(generator: Generator, text: bytes) -> list[int]:
    return generator.tokenizer.convert_tokens_to_ids([f"<0x{byte:02X}>" for byte in text])


def stops(generator: Generator, ids: list[int], stop: str) -> bool:
    (criterion,) = generator._criteria((stop,), 0)
    return bool(criterion(torch.tensor([ids]), None)[0])


WHOLE = "好好好\n".encode()  # three bytes per character: whatever is looked at begins inside one
BROKEN = b"a\xe5\xa5\n"  # a character without its last byte


@pytest.mark.parametrize("text", [WHOLE, BROKEN, b"\xff\n", b"\xe5\n"])
def test_a_line_break_after_characters_of_several_tokens_stops(text: bytes, generator: Generator):
    ids = ids_of(generator, text)
    assert stops(generator, ids, "\n")
    assert not stops(generator, ids[:-1], "\n")


def test_a_stop_string_of_several_bytes_after_a_broken_character(generator: Generator):
    ids = ids_of(generator, b"\xe5\xa5" + "。".encode())
    assert stops(generator, ids, "。")
    assert not stops(generator, ids[:-1], "。")


@pytest.mark.parametrize(
    ("text", "shown"),
    # of bytes that are no UTF-8 together each is lost, also the letter among them: U+FFFD
    [(WHOLE, "好好好"), (BROKEN, "\ufffd" * 3), (b"\xff\n", "\ufffd"), (b"a\nb", "a"), (b"\n", "")],
)
def test_the_text_ends_before_the_stop_string(text: bytes, shown: str, generator: Generator):
    found = generator.endings.read(ids_of(generator, text), ("\n",))
    assert (found.text, found.truncated) == (shown, False)


def test_a_text_without_a_stop_string_is_unfinished(generator: Generator):
    found = generator.endings.read(ids_of(generator, "好".encode() + b"\xff"), ("\n",))
    assert (found.tokens, found.truncated) == (4, True)
