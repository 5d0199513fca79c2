"""`ft-harness lm-eval`: the stock command's arguments and output, with our back-ends and tasks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from ft_harness.records import read_evaluation
from tests.builders.command import assert_three_lines
from tests.builders.tiny import review_rows, save_model, write_jsonl

CODE = "task: stranger\ndataset_path: json\ncustom_dataset: !function evil.load\n"


pytestmark = pytest.mark.usefixtures("small_index")


def samples(folder: Path) -> list[dict]:
    (file,) = folder.rglob("samples_*.jsonl")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def arguments(model: str, model_folder: Path, reviews: Path, out: Path) -> list[str]:
    return [
        "lm-eval", "--model", model, "--model_args", f"pretrained={model_folder},dtype=float32",
        "--tasks", "demo_sentiment", "--metadata", json.dumps({"data_source": str(reviews)}), "--device", "cpu",
        "--batch_size", "4", "--log_samples", "--output_path", str(out),
    ]  # fmt: skip


def test_our_back_end_scores_as_the_stock_one_without_an_include_path(
    ft, model_folder, reviews, tmp_path
):
    found = {}
    for model in ("ft-causal", "hf"):
        code, out, err = ft(*arguments(model, model_folder, reviews, tmp_path / model))
        assert code == 0, err
        assert "|demo_sentiment|" in out
        found[model] = [
            [response[0][0] for response in sample["resps"]] for sample in samples(tmp_path / model)
        ]  # log-likelihoods
    assert len(found["hf"]) == 24
    for ours, theirs in zip(found["ft-causal"], found["hf"], strict=True):
        assert [float(value) for value in ours] == pytest.approx(
            [float(value) for value in theirs], abs=1e-4
        )


def trained(ft, folder: Path, model_folder: Path, reviews: Path, adapter: str) -> None:
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"model: {{pretrained: {model_folder}}}\ntask: {{name: demo_sentiment}}\ndata: {{source: {reviews}}}\n"
        f"adapter: {adapter}\ntrain: {{num_train_epochs: 1, learning_rate: 0.02}}\neval: {{splits: [test]}}\n",
        encoding="utf-8",
    )
    for command in (("train", recipe, "--name", "a"), ("eval", recipe, "--adapter", "adapters/a")):
        code, _, err = ft(*command)
        assert code == 0, err


@pytest.mark.slow  # processes that import everything
@pytest.mark.parametrize(
    ("model", "adapter"), [("ft-causal", "{r: 4}"), ("ft-seqcls", "{r: 4, task_type: SEQ_CLS}")]
)
def test_an_adapter_alone_names_its_base(
    model: str, adapter: str, ft, model_folder, reviews, tmp_path
):
    """The same log-likelihoods as `ft-harness eval` gave, from lm-eval's own command and `peft=`
    alone."""
    trained(ft, tmp_path, model_folder, reviews, adapter)
    (record,) = (tmp_path / "results" / "a").rglob("record.json")
    known = {
        sample.doc["text"]: sample.responses for sample in read_evaluation(record.parent).samples()
    }
    given = arguments(model, model_folder, reviews, tmp_path / "out")
    given[given.index("--model_args") + 1] = f"peft={tmp_path / 'adapters' / 'a'}"
    code, _, err = ft(*given)
    assert code == 0, err
    found = samples(tmp_path / "out")
    assert len(found) == 24
    for sample in found:
        values = [float(response[0][0]) for response in sample["resps"]]
        assert values == pytest.approx(
            [response[0] for response in known[sample["doc"]["text"]]], abs=1e-5
        )


def test_an_adapter_of_another_base_is_refused(ft, model_folder, reviews, tmp_path):
    """Of the same shapes, so that only the card tells them apart."""
    trained(ft, tmp_path, model_folder, reviews, "{r: 4}")
    other = save_model(tmp_path / "other", seed=1)
    given = arguments("ft-causal", model_folder, reviews, tmp_path / "out")
    given[given.index("--model_args") + 1] = (
        f"pretrained={other},peft={tmp_path / 'adapters' / 'a'}"
    )
    code, _, err = ft(*given)
    assert code == 3
    assert_three_lines(err, "trained on", str(other))


def test_an_adapter_that_changes_nothing_is_refused(ft, model_folder, reviews, tmp_path):
    trained(ft, tmp_path, model_folder, reviews, "{r: 4}")
    folder = tmp_path / "adapters" / "a"
    weights = load_file(folder / "adapter_model.safetensors")
    faint = {key: tensor * 1e-20 if "lora_B" in key else tensor for key, tensor in weights.items()}
    save_file(faint, folder / "adapter_model.safetensors", {"format": "pt"})
    (folder / "card.json").unlink()  # an adapter of another trainer: its bytes are not known
    given = arguments("ft-causal", model_folder, reviews, tmp_path / "out")
    given[given.index("--model_args") + 1] = f"pretrained={model_folder},peft={folder}"
    code, _, err = ft(*given)
    assert code == 3
    assert_three_lines(err, "changes no logit")


@pytest.mark.parametrize("model", ["ft-causal", "ft-seqcls"])
def test_an_adapter_that_is_not_there(model: str, ft, model_folder, reviews, tmp_path):
    given = arguments(model, model_folder, reviews, tmp_path)
    given[given.index("--model_args") + 1] = (
        f"pretrained={model_folder},peft={tmp_path / 'adaptres'}"
    )
    code, _, err = ft(*given)
    assert code == 3
    assert_three_lines(err, "adaptres: no such adapter folder")


@pytest.mark.parametrize("argument", ["mixed_precision_dtype=bfloat16", "think_end_token=</think>"])
def test_arguments_of_hf_that_would_do_nothing_are_refused(
    argument: str, ft, model_folder, reviews, tmp_path
):
    given = arguments("ft-causal", model_folder, reviews, tmp_path)
    given[given.index("--model_args") + 1] += f",{argument}"
    code, _, err = ft(*given)
    assert code == 2
    assert_three_lines(err, f"no model argument {argument.partition('=')[0]}")


def test_an_encoder_decoder_is_refused(ft, model_folder, reviews, tmp_path):
    from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=320, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=4)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    AutoTokenizer.from_pretrained(model_folder).save_pretrained(tmp_path / "t5")
    code, _, err = ft(*arguments("ft-causal", tmp_path / "t5", reviews, tmp_path))
    assert code == 3
    assert_three_lines(err, "an encoder-decoder")


def test_automatic_batches_may_be_asked_for_as_in_lm_eval(ft, model_folder, reviews, tmp_path):
    given = arguments("ft-causal", model_folder, reviews, tmp_path)
    given[given.index("--batch_size") + 1] = "auto:4"
    code, _, err = ft(*given, "--limit", "3")
    assert code == 0, err


@pytest.mark.slow  # a process of its own
def test_a_head_without_a_device_named_ends_well_in_a_process_of_its_own(
    ft, model_folder, reviews, tmp_path
):
    """lm-eval names cuda where the user names nothing; and nothing may be undone while the
    interpreter ends."""
    trained(ft, tmp_path, model_folder, reviews, "{r: 4, task_type: SEQ_CLS}")
    given = arguments("ft-seqcls", model_folder, reviews, tmp_path / "out")
    given[given.index("--model_args") + 1] = f"peft={tmp_path / 'adapters' / 'a'}"
    given[given.index("--device") : given.index("--device") + 2] = []
    done = subprocess.run(
        [sys.executable, "-m", "ft_harness", *given],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "|demo_sentiment|" in done.stdout


def test_what_lm_eval_refuses_is_three_lines(ft, model_folder, reviews, tmp_path):
    given = arguments("ft-casual", model_folder, reviews, tmp_path)
    code, _, err = ft(*given)
    assert code == 3
    assert_three_lines(err, "lm-eval stopped", "ft-casual")


def test_no_model_at_all_is_said(ft, model_folder, reviews, tmp_path):
    given = arguments("ft-causal", model_folder, reviews, tmp_path)
    given[given.index("--model_args") + 1] = "dtype=float32"
    code, _, err = ft(*given)
    assert code == 2
    assert_three_lines(err, "no model is named")


def test_an_unknown_task_is_three_lines(ft, model_folder, reviews, tmp_path):
    given = arguments("ft-causal", model_folder, reviews, tmp_path)
    given[given.index("demo_sentiment")] = "demo_sentimant"
    code, _, err = ft(*given)
    assert code == 3
    assert_three_lines(err, "no task demo_sentimant; did you mean demo_sentiment?")


def stranger(tmp_path: Path) -> Path:
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "stranger.yaml").write_text(CODE, encoding="utf-8")
    (folder / "evil.py").write_text(
        f"open({str(tmp_path / 'marker')!r}, 'w')\ndef load(**_): pass\n", encoding="utf-8"
    )
    return folder


@pytest.mark.parametrize("way", ["include_path", "file", "folder", "config"])
def test_code_of_strangers_is_refused(way: str, ft, model_folder, reviews, tmp_path):
    folder = stranger(tmp_path)
    given = arguments("ft-causal", model_folder, reviews, tmp_path)
    if way == "include_path":
        given += ["--include_path", str(folder)]
    elif way == "config":
        (tmp_path / "config.yaml").write_text(f"include_path: {folder}\n", encoding="utf-8")
        given += ["--config", str(tmp_path / "config.yaml")]
    else:
        given[given.index("demo_sentiment")] = (
            str(folder / "*.yaml") if way == "file" else str(folder)
        )
    code, _, err = ft(*given)
    assert code == 4
    assert_three_lines(
        err, "stranger.yaml: would run code of its own (!function evil.load)", "--trust-task-code"
    )
    assert not (tmp_path / "marker").exists()


def test_code_runs_where_it_is_trusted(ft, model_folder, reviews, tmp_path):
    folder = stranger(tmp_path)
    given = [
        *arguments("ft-causal", model_folder, reviews, tmp_path / "out"),
        "--include_path",
        str(folder),
    ]
    assert ft(*given, "--trust-task-code")[0] == 0


def test_tasks_of_an_include_path_stand_beside_ours(ft, model_folder, tmp_path):
    folder = tmp_path / "mine"
    write_jsonl(folder / "test.jsonl", review_rows(6))
    (folder / "mine.yaml").write_text(
        "task: mine\ndataset_path: json\ndataset_kwargs: {data_files: {test: "
        + str(folder / "test.jsonl")
        + "}}\n"
        "test_split: test\noutput_type: multiple_choice\ndoc_to_text: '{{text}} It was'\ndoc_to_target: label\n"
        "doc_to_choice: [bad, good]\nmetric_list: [{metric: acc}]\n",
        encoding="utf-8",
    )
    given = arguments("ft-causal", model_folder, folder, tmp_path / "out")
    given[given.index("demo_sentiment")] = "demo_sentiment,mine"
    given[given.index("--metadata") : given.index("--metadata") + 2] = []
    code, out, err = ft(*given, "--limit", "3", "--include_path", str(folder))
    assert code == 0, err
    assert "|mine " in out
    assert "|demo_sentiment|" in out


@pytest.mark.slow  # processes that import everything
def test_the_models_are_listed_in_a_process_of_its_own():
    """Registration without any of this process's imports: what a user's first call does."""
    code = "from ft_harness.evaluation.backends import register_models; register_models(); register_models()\n"
    code += "from lm_eval.api.registry import get_model; print(get_model('ft-causal').__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["CausalLM"]
