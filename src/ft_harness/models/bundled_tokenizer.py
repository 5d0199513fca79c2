"""The bundled model's tokenizer without transformers, which takes seconds to load: to show tokens.

What is trained on and scored is tokenised by transformers' own; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer

from ft_harness.paths import bundled_model_dir
from ft_harness.storage.strict_files import read_json


class BundledTokenizer:
    """As transformers' tokenizer of the bundled model, as far as `Encoder` asks."""

    def __init__(self) -> None:
        folder = bundled_model_dir()
        settings = read_json(folder / "tokenizer_config.json")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.model_max_length: int = settings["model_max_length"]
        self.unk_token_id = None
        self.bos_token_id, self.eos_token_id, self.pad_token_id = (
            self._tokenizer.token_to_id(settings[f"{name}_token"]) for name in ("bos", "eos", "pad")
        )

    def __call__(
        self, texts: Sequence[str], add_special_tokens: bool = True
    ) -> dict[str, list[list[int]]]:
        """The ids of each text, as `input_ids`."""
        return {"input_ids": [self.encode(text, add_special_tokens) for text in texts]}

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def decode(self, ids: int | Sequence[int]) -> str:
        """The text of tokens, special ones too."""
        listed = [ids] if isinstance(ids, int) else list(ids)
        text: str = self._tokenizer.decode(listed, skip_special_tokens=False)
        return text
