"""What `ft-server` sends, against stock `lm_eval --model local-completions` on the same server.

    python benchmarks/server.py [--data DIR] [--items 100] [--shots 3] [--url http://127.0.0.1:8000]

Both score the bundled model on the same items: SNLI of DIR/snli, else `demo_nli`. Without `--url` a
stand-in server is started, whose counters have the names of vLLM's; a vLLM that runs serves the
bundled model. `share` is local-completions' tokens divided by ours; with three one-token answers it
is to be at least 2.5. Needs lm-eval's extra `api` (tenacity, tiktoken). The answers of both are
compared too.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).parents[1]))

from ft_harness.paths import bundled_model_dir, task_yamls_dir
from tests.builders.served import StandIn

SHARE = 2.5
COUNTERS = ("vllm:request_success_total", "vllm:prompt_tokens_total")


def read_counters(url: str) -> list[float]:
    """(requests, prompt tokens) that the server has answered so far."""
    with urlopen(f"{url}/metrics") as answer:
        text = answer.read().decode()
    return [
        sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))
        for name in COUNTERS
    ]


def run(command: list[str], url: str) -> tuple[float, float, float]:
    """(requests, prompt tokens, seconds) of a command."""
    before, started = read_counters(url), time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    spent = time.monotonic() - started
    after = read_counters(url)
    return after[0] - before[0], after[1] - before[1], spent


def answers_in(folder: Path) -> list[int]:
    """The likeliest choice of each doc."""
    (file,) = folder.rglob("samples_*.jsonl")
    samples = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    samples.sort(key=lambda sample: sample["doc_id"])
    values = ([float(response[0][0]) for response in sample["resps"]] for sample in samples)
    return [max(range(len(row)), key=row.__getitem__) for row in values]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--shots", type=int, default=3)
    parser.add_argument("--url")
    options = parser.parse_args()
    model = str(bundled_model_dir())
    url = options.url or StandIn(Path(model)).url
    sides = {
        "local-completions": f"model=base,base_url={url}/v1/completions,tokenizer={model}",
        "ft-server": f"pretrained={model},url={url}",
    }
    task = "snli_custom" if options.data else "demo_nli"
    data = (
        {"data_source": str(options.data / "snli"), "data_validation_size": 300}
        if options.data
        else {}
    )
    spent, answers = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for side, given in sides.items():
            command = [sys.executable, "-m", "ft_harness", "lm-eval", "run", "--model", side]
            command += ["--model_args", given, "--tasks", task, "--limit", str(options.items)]
            command += [
                "--num_fewshot",
                str(options.shots),
                "--include_path",
                str(task_yamls_dir()),
            ]
            command += ["--metadata", json.dumps(data)] if data else []
            command += ["--log_samples", "--output_path", f"{folder}/{side}"]
            spent[side] = run(command, url)
            answers[side] = answers_in(Path(folder) / side)
    print(f"{'':18} {'requests':>9} {'tokens':>9} {'seconds':>8}")
    for side, (requests, tokens, seconds) in spent.items():
        print(f"{side:18} {requests:9,.0f} {tokens:9,.0f} {seconds:8.1f}")
    share = spent["local-completions"][1] / spent["ft-server"][1]
    other = sum(a != b for a, b in zip(*answers.values(), strict=True))
    print(f"share {share:.2f}, {other} of {options.items} answers differ")
    sys.exit(share < SHARE)


if __name__ == "__main__":
    main()
