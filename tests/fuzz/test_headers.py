"""Binary headers: safetensors, and the checkpoints of a training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save

from ft_harness.records.adapter_files import WEIGHTS_FILE
from ft_harness.storage.safetensors_file import read_header
from ft_harness.training import checkpoints, progress
from ft_harness.training.progress import PROGRESS_FILE, Progress, read_progress
from tests.fuzz.inputs import changed, damaged, json_bytes
from tests.fuzz.outcome import examples, outcome

pytestmark = pytest.mark.slow  # hundreds of inputs a test
WHOLE = save(
    {"a.weight": torch.ones(2, 3), "b": torch.zeros(4, dtype=torch.int64)}, {"format": "pt"}
)
LENGTH = int.from_bytes(WHOLE[:8], "little")
HEADER: dict[str, Any] = json.loads(WHOLE[8 : 8 + LENGTH])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("headers")


def with_header(header: Any) -> bytes:
    text = json_bytes(header)
    return len(text).to_bytes(8, "little") + text + WHOLE[8 + LENGTH :]


numbers = st.one_of(
    st.integers(0, 100),
    st.sampled_from([-1, 1 << 62, 1 << 63, 1 << 64, 10**12, 0.0, True, None, "1", [], "F32"]),
)


@examples(500)
@given(
    content=st.one_of(
        changed(HEADER).map(with_header),
        changed(HEADER, new=numbers).map(with_header),
        damaged(WHOLE),
        st.binary(max_size=40),
    )
)
def test_what_is_read_as_a_header_is_one_for_safetensors_too(content: bytes, folder: Path):
    path = folder / "model.safetensors"
    path.write_bytes(content)
    found = outcome(lambda: read_header(path))
    if found is None:
        return
    with safe_open(path, "pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    assert {name: info.shape for name, info in found.items()} == shapes


PROGRESS = json.loads(Progress(step=3, best_step=2, best_value=0.5).model_dump_json())


@examples(150)
@given(data=st.data())
def test_a_checkpoint(data: st.DataObject, folder: Path):
    """With a seal that fits, as whoever can write the folder can write it, and without one."""
    path = folder / "checkpoint-3"
    path.mkdir(exist_ok=True)
    (path / WEIGHTS_FILE).write_bytes(WHOLE)
    progress = st.one_of(changed(PROGRESS).map(json_bytes), damaged(json_bytes(PROGRESS)))
    (path / PROGRESS_FILE).write_bytes(data.draw(progress))
    checkpoints.seal(path, 3, "plan")
    if data.draw(st.booleans()):
        manifest = path / checkpoints.MANIFEST_FILE
        whole = manifest.read_bytes()
        new = st.one_of(changed(json.loads(whole)).map(json_bytes), damaged(whole))
        manifest.write_bytes(data.draw(new))
    fault = outcome(lambda: checkpoints.fault_of(path, "plan"))
    assert fault is None or isinstance(fault, str)
    outcome(lambda: read_progress(path))


CHANGE = {"step": 1, "setting": "micro_batch", "before": 8, "after": 4}


@examples(150)
@given(
    content=st.one_of(
        changed(CHANGE).map(json_bytes), damaged(json_bytes(CHANGE) + b"\n" + json_bytes(CHANGE))
    )
)
def test_the_changes_of_a_training(content: bytes, folder: Path):
    (folder / progress.CHANGES_FILE).write_bytes(content)

    def read() -> None:
        kept = progress.read_changes(folder)
        opened = checkpoints.CheckpointFolder(folder, "plan", 1, None, kept)
        opened.record()
        assert opened.micro_batch is None or isinstance(opened.micro_batch, int)

    outcome(read)


@examples(100)
@given(
    content=st.one_of(
        changed({"identity": {"a": {"b": 1}}, "execution": {"processes": 1}}).map(json_bytes),
        st.binary(max_size=20),
    )
)
def test_the_plan_of_a_training(content: bytes, folder: Path):
    (folder / checkpoints.PLAN_FILE).write_bytes(content)
    outcome(lambda: checkpoints._changes_since(folder, {"processes": 2}, 1))
