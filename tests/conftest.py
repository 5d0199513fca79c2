"""Small models, tokenizers and data, made in a second; nothing is downloaded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.tiny import build_tokenizer, review_rows, save_model, write_jsonl

TOKENIZERS = ("bpe_bos", "bpe_plain", "byte_fallback")


def pytest_configure(config: pytest.Config) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data and models; the test is skipped where FT_HARNESS_SHARED is not set."""
    folder = os.environ.get("FT_HARNESS_SHARED")
    if not folder:
        pytest.skip("FT_HARNESS_SHARED is not set")
    return Path(folder)


@pytest.fixture(scope="session", params=TOKENIZERS)
def tokenizer(request):
    return build_tokenizer(request.param)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "tiny", seed=0)


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the columns of demo_sentiment: 64 / 16 / 24 rows."""
    folder = tmp_path_factory.mktemp("reviews")
    write_jsonl(folder / "train.jsonl", review_rows(64))
    write_jsonl(folder / "validation.jsonl", review_rows(16, start=100))
    write_jsonl(folder / "test.jsonl", review_rows(24, start=200))
    return folder
