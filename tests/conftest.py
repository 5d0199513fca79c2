"""Small models, tokenizers and data, made in a second; nothing is downloaded."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when huggingface_hub is imported

from ft_harness import cli
from ft_harness.models.base_model import BaseModel, load_base_model
from ft_harness.pipeline import runs
from ft_harness.recipe import ModelSection
from ft_harness.tasks import finding
from tests.builders.tiny import (
    build_tokenizer,
    review_rows,
    save_model,
    write_jsonl,
)

TOKENIZERS = ("bpe_bos", "bpe_plain", "byte_fallback")


def pytest_configure(config: pytest.Config) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["TQDM_DELAY"] = (
        "2"  # as the command sets it, which is too late where tqdm is imported already
    )
    gc.disable()  # until all tests are collected: what is made up to then stays


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data and models; the test is skipped where FT_HARNESS_SHARED is not
    set."""
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


@pytest.fixture(scope="module")
def base(model_folder: Path) -> BaseModel:
    """The tiny model, loaded for each module of tests by itself."""
    return load_base_model(ModelSection(pretrained=str(model_folder)))


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the columns of demo_sentiment: 64 / 16 / 24 rows."""
    folder = tmp_path_factory.mktemp("reviews")
    write_jsonl(folder / "train.jsonl", review_rows(64))
    write_jsonl(folder / "validation.jsonl", review_rows(16, start=100))
    write_jsonl(folder / "test.jsonl", review_rows(24, start=200))
    return folder


@pytest.fixture(scope="session")
def imdb(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the labelled reviews of IMDB only."""
    folder = tmp_path_factory.mktemp("imdb")
    for split in ("train", "test"):
        (folder / f"{split}.jsonl.gz").symlink_to(shared / f"data/imdb/imdb_{split}.jsonl.gz")
    return folder


@pytest.fixture
def ft(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Run the command in this process and a folder of its own: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ft-harness", *map(str, arguments)])
        before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def small_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """lm-eval's own tasks are left out: reading 14,000 files takes longer than all these tests."""
    from lm_eval.tasks import TaskManager

    whole = TaskManager.__init__
    monkeypatch.setattr(
        TaskManager, "__init__", lambda self, **given: whole(self, include_defaults=False, **given)
    )
    read = finding._lm_eval_index.__wrapped__  # what other tests have read is kept for them
    monkeypatch.setattr(finding, "_lm_eval_index", cache(read))
    # its log handler would hold the stderr of the first test, which is closed in the second
    monkeypatch.setattr("lm_eval.utils.setup_logging", lambda: None)


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test fails where a model is loaded."""
    monkeypatch.setattr(runs, "load_base_model", lambda _: pytest.fail("a model was loaded"))


@pytest.fixture(autouse=True)
def no_handler_left() -> Iterator[None]:
    """What a command logs to is closed with its test: handlers don't outlive it, on any logger."""
    yield
    loggers = [logging.getLogger(), *logging.root.manager.loggerDict.values()]
    for logger in (each for each in loggers if isinstance(each, logging.Logger)):
        for handler in [each for each in logger.handlers if type(each) is logging.StreamHandler]:
            if getattr(handler.stream, "closed", False) or logger is logging.root:
                logger.removeHandler(handler)
