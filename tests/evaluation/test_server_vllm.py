"""A real vLLM against the weights on this machine: the bundled base and an adapter over four tasks.

FT_HARNESS_VLLM names an environment with vLLM 0.32 or newer (its folder, with bin/vllm). vLLM
0.32 on a CPU ends where log-likelihoods within prompts of an adapter are asked for by several
requests at once, so it takes one at a time here.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from ft_harness.paths import bundled_model_dir
from ft_harness.records import read_evaluation
from tests.builders.tiny import save_adapter

pytestmark = [pytest.mark.server, pytest.mark.slow]  # a minute to start, minutes to score

TASKS = ("demo_nli", "demo_sentiment", "demo_qa", "demo_preference")
ITEMS = 60


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vllm") / "mine"
    return save_adapter(folder, bundled_model_dir(), seed=1, r=8, lora_alpha=1)


@pytest.fixture(scope="module")
def url(adapter: Path, tmp_path_factory: pytest.TempPathFactory):
    environment = os.environ.get("FT_HARNESS_VLLM")
    if not environment:
        pytest.skip("FT_HARNESS_VLLM is not set")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        f"{environment}/bin/vllm", "serve", str(bundled_model_dir()), "--served-model-name", "base",
        "--enable-lora", "--max-lora-rank", "16", "--max-model-len", "512", "--max-num-seqs", "1",
        "--dtype", "float32", "--enforce-eager", "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    settings = {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    log = tmp_path_factory.mktemp("log") / "vllm.log"
    with log.open("w") as out:
        running = subprocess.Popen(
            command, env=os.environ | settings, stdout=out, stderr=out, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            time.sleep(1)
            assert running.poll() is None, log.read_text()[-2000:]
            try:
                httpx.get(f"{address}/v1/models").raise_for_status()
                break
            except httpx.HTTPError:
                continue
        yield address
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        running.wait(60)


def samples(results: Path) -> dict[tuple[str, int], tuple]:
    """(subject, doc) -> (responses, prediction)."""
    return {
        (evaluation.record.subject, sample.doc_id): (sample.responses, sample.prediction)
        for file in results.rglob("record.json")
        for evaluation in [read_evaluation(file.parent)]
        for sample in evaluation.samples()
    }


@pytest.mark.parametrize("task", TASKS)
def test_no_answer_flips(
    task: str, url: str, adapter: Path, ft, tmp_path: Path, record_testsuite_property
):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        # a token less than the bundled model's context, as a server reads
        f"model: {{pretrained: bundled, max_length: 511}}\ntask: {{name: {task}}}\n"
        f"eval: {{splits: [test], limit: {ITEMS}}}\ncontrols: {{tasks: []}}\n",
        encoding="utf-8",
    )
    for out, more in (("here", []), ("there", ["--server", url])):
        code, _, err = ft("eval", recipe, "--adapter", adapter, "--out", out, *more)
        assert code == 0, err
    here, there = (samples(tmp_path / out / "results") for out in ("here", "there"))
    assert here.keys() == there.keys()
    flips = [key for key in here if here[key][1] != there[key][1]]
    off = [
        abs(ours[0] - theirs[0])
        for key in here
        for ours, theirs in zip(here[key][0], there[key][0], strict=True)
        if isinstance(ours, list)
    ]
    record_testsuite_property(
        f"nats of {task}", max(off, default=0.0)
    )  # pytest --junit-xml shows it
    assert not flips
    assert max(off, default=0) < 0.001
