"""The bundled model's tokenizer, with and without transformers."""

from __future__ import annotations

import json

import pytest

from ft_harness.models.base_model import load_tokenizer
from ft_harness.models.bundled_tokenizer import BundledTokenizer
from ft_harness.paths import BUNDLED, bundled_data_dir
from ft_harness.recipe import ModelSection

TEXTS = [
    "",
    " ",
    "A film.\n\n  It was",
    "<s>twice",
    "an end</s>",
    "<pad>",
    "naïve café 你好 🙂",
    "\x00\t",
]


@pytest.mark.parametrize("special", [True, False])
def test_it_is_transformers_own(special: bool):
    ours, theirs = BundledTokenizer(), load_tokenizer(ModelSection(pretrained=BUNDLED))
    texts = [*TEXTS]
    for path in sorted(bundled_data_dir("").rglob("*.jsonl")):
        rows = path.read_text(encoding="utf-8").splitlines()[:50]
        texts += [str(value) for row in rows for value in json.loads(row).values()]
    assert len(texts) > 100
    encoded = theirs(texts, add_special_tokens=special)["input_ids"]
    assert ours(texts, add_special_tokens=special)["input_ids"] == encoded
    for text, ids in zip(texts, encoded, strict=True):
        assert ours.encode(text, add_special_tokens=special) == ids
        assert ours.decode(ids) == theirs.decode(ids)
        assert [ours.decode(each) for each in ids] == [theirs.decode(each) for each in ids]
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "model_max_length")
    assert [getattr(ours, name) for name in names] == [getattr(theirs, name) for name in names]
