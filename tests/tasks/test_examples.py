"""One prompt, two uses: training rows have the very token boundaries that lm-eval scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from ft_harness.errors import InputError
from ft_harness.models import encoding
from ft_harness.models.encoding import Encoder
from ft_harness.models.lm_eval_private.tasks import compiled_templates
from ft_harness.pipeline.shown_tasks import mark_trained
from ft_harness.tasks import examples
from ft_harness.tasks.examples import (
    Example,
    build_examples,
    cut_notice,
    describe_examples,
    prompt_of,
    trains_eos,
)
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.listing import task_files
from ft_harness.tasks.loading import load_tasks, task_training_problems
from tests.builders.tiny import build_tokenizer, write_jsonl

SHIPPED = sorted(task_files())
# scored only: a running text has no answer to train, controls are never trained on
SCORED_ONLY = {"text_ppl_custom", "control_grammar", "control_text", "control_words"}
FIELDS = {
    "sst2": {"sentence": "a warm , funny film", "label": "positive"},
    "snli": {"premise": "A dog runs.", "hypothesis": "An animal moves.", "label": "entailment"},
    "demo_sentiment": {"text": "It was not bad at all.", "label": "positive"},
    "demo_nli": {"premise": "A dog runs.", "hypothesis": "A cat sleeps.", "label": "contradiction"},
    "demo_qa": {"passage": "Ann has a red hat.", "question": "Who has a hat?", "answer": "Ann"},
    "demo_zh": {"instruction": "大的反义词", "output": "小"},
    "imdb": {"text": "A slow film.<br /><br />I liked it!", "label": "positive"},
    "squad": {
        "id": "a1", "title": "Ann", "context": "Ann has a red hat.", "question": "Who has a hat?", "answers": ["Ann"],
    },
    "instruction": {"instruction": "Name a colour.", "answer": "Red.\n\nOr blue."},
    "zh_classical": {"instruction": "译为现代文：学而时习之", "answer": "学了又时常温习"},
    "text_ppl": {"text": "A dog runs."},
    "demo_preference": {"prompt": "Say hello.", "chosen": "Hello, Ann.", "rejected": "No, thanks."},
    "preference": {"prompt": "Say hello.", "chosen": "Hello, Ann.", "rejected": "No, thanks."},
}  # fmt: skip


def shipped_task(name: str, folder: Path):
    row = next(fields for prefix, fields in FIELDS.items() if name.startswith(prefix))
    for split in ("train", "validation", "test"):
        write_jsonl(folder / f"{split}.jsonl", [row])
    return load_tasks(find_task(name, metadata={"data_source": str(folder)}), ["train"])["train"]


def scored_by_lm_eval(task, doc, tokenizer) -> list[tuple[list[int], list[int]]]:
    """(context ids, continuation ids) that lm-eval's own model class hands to the network for one
    doc."""
    from lm_eval.models.huggingface import HFLM

    class Recorder(HFLM):
        def __init__(self) -> None:  # no weights: only what tokenisation needs
            self.tokenizer, self.add_bos_token, self.backend = tokenizer, None, "causal"
            self.custom_prefix_token_id = self.enable_thinking = None

        def _loglikelihood_tokens(self, requests, **_):
            return [(context, continuation) for _, context, continuation in requests]

    prompt = task.fewshot_context(doc, 0)
    requests = task.construct_requests(doc, prompt, metadata=(task.config.task, 0, 1))
    return Recorder().loglikelihood(
        requests if isinstance(requests, list) else [requests], disable_tqdm=True
    )


def test_every_shipped_task_is_covered():
    assert len(SHIPPED) >= 8


@pytest.mark.parametrize("name", [name for name in SHIPPED if name not in SCORED_ONLY])
def test_boundaries_are_those_of_scoring(name: str, tokenizer, tmp_path: Path):
    task = shipped_task(name, tmp_path)
    doc = task.eval_docs[0]
    eos = trains_eos(task, None)
    (example,) = build_examples(task, [doc], tokenizer, 512, eos=eos)
    if task.OUTPUT_TYPE in ("multiple_choice", "loglikelihood"):
        gold = task.doc_to_target(doc) if task.OUTPUT_TYPE == "multiple_choice" else 0
        expected = scored_by_lm_eval(task, doc, tokenizer)[gold]
        assert (example.context_ids, example.answer_ids) == expected
        assert not eos
    else:
        prompt, target = task.fewshot_context(doc, 0), task.doc_to_target(doc)
        whole = tokenizer(prompt + task.config.target_delimiter + target)["input_ids"]
        assert example.context_ids == tokenizer(prompt)["input_ids"]
        assert example.context_ids + example.answer_ids == [*whole, tokenizer.eos_token_id]
    assert example.context_ids.count(1) == tokenizer("x")["input_ids"].count(
        1
    )  # BOS once, or never


def test_running_text_is_not_trained_on(tmp_path: Path):
    (problem,) = task_training_problems(shipped_task("text_ppl_custom", tmp_path))
    assert "loglikelihood_rolling" in problem.what


def test_a_batch_is_encoded_as_lm_eval_encodes_each_row(
    tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    texts = [
        "warm",
        "<s> a row that starts with BOS",
        "冷 🙂",
        "a</s>b",
        "  blanks  ",
        "x" * 90,
        "warm",
        "WARM",
        "é",
    ]
    rows = [{"text": text, "label": index % 2} for index, text in enumerate(texts)]
    for split in ("train", "validation", "test"):
        write_jsonl(tmp_path / f"{split}.jsonl", rows)
    task = load_tasks(
        find_task("demo_sentiment", metadata={"data_source": str(tmp_path)}), ["train"]
    )["train"]
    monkeypatch.setattr(examples, "_BATCH", 4)
    built = build_examples(task, task.eval_docs, tokenizer, 512, eos=False)
    expected = [
        scored_by_lm_eval(task, doc, tokenizer)[task.doc_to_target(doc)] for doc in task.eval_docs
    ]
    assert [(example.context_ids, example.answer_ids) for example in built] == expected


def test_equal_rows_are_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    task, tokenizer, encoded = shipped_task("demo_qa", tmp_path), build_tokenizer("bpe_bos"), []
    whole_batch = encoding.BatchTokenizer.encode_batch

    def count(self, strings, **options):
        encoded.extend(strings)
        whole_batch(self, strings, **options)

    monkeypatch.setattr(examples, "_BATCH", 2)  # within a batch, and in later ones
    monkeypatch.setattr(encoding.BatchTokenizer, "encode_batch", count)
    monkeypatch.setattr(
        encoding.BatchTokenizer, "encode", lambda self, string, **_: self._encoded[string, None]
    )
    built = build_examples(task, list(task.eval_docs) * 5, tokenizer, 512, eos=True)
    assert len(built) == 5
    assert len(encoded) == 2  # one prompt, and one prompt with its answer


def test_templates_are_compiled_once_and_lm_eval_is_left_as_it_was():
    from lm_eval import utils

    before = utils.env.from_string
    with compiled_templates():
        assert utils.env.from_string("{{a}} b") is utils.env.from_string("{{a}} b")
        assert utils.apply_template("{{a}} b", {"a": 1}) == "1 b"
    assert utils.env.from_string == before
    assert utils.env.from_string("{{a}} b") is not utils.env.from_string("{{a}} b")


def test_bos_twice_is_refused(tmp_path: Path):
    task, tokenizer = user_task(tmp_path, "<s><s>{{q}}"), build_tokenizer("bpe_bos")
    with pytest.raises(InputError, match="two BOS") as caught:
        build_examples(task, task.eval_docs, tokenizer, 64, eos=True)
    assert caught.value.exit_code == 3


def test_bos_of_the_prompt_itself_stands_once(tmp_path: Path):
    task, tokenizer = user_task(tmp_path, "<s>{{q}}"), build_tokenizer("bpe_bos")
    example = build_examples(task, task.eval_docs, tokenizer, 64, eos=True)[0]
    assert example.context_ids == [1, *tokenizer.encode("two", add_special_tokens=False)]


def test_an_answer_with_eos_of_its_own_is_refused(tmp_path: Path):
    task, tokenizer = user_task(tmp_path, "{{q}}"), build_tokenizer("bpe_bos")
    with pytest.raises(InputError, match="'</s>' before its end"):
        build_examples(task, [{"q": "two", "a": "three</s>"}], tokenizer, 64, eos=True)


def test_a_row_without_trained_tokens_is_refused(tmp_path: Path):
    task, tokenizer = user_task(tmp_path, "{{q}}"), build_tokenizer("bpe_bos")
    with pytest.raises(InputError, match="no tokens"):
        build_examples(task, [{"q": "two", "a": ""}], tokenizer, 64, eos=True)


def test_eos_needs_a_tokenizer_that_has_it(tmp_path: Path):
    task, tokenizer = user_task(tmp_path, "{{q}}"), build_tokenizer("bpe_bos")
    tokenizer.eos_token = None
    with pytest.raises(InputError, match="the tokenizer has none"):
        build_examples(task, task.eval_docs, tokenizer, 64, eos=True)


def test_the_report_counts_lengths_trained_tokens_and_cuts():
    # The model reads prompt + answer - 1: 2 + 2 - 1 = 3, 3 + 2 - 1 = 4 and 9 + 2 - 1 = 10 tokens; 2
    # * 3 are trained.
    rows = [Example([1] * size, [5, 2], truncated=size == 9) for size in (2, 9, 3)]
    assert describe_examples(rows, eos=True) == (
        "3 training rows of 3 / 4 / 10 tokens (min / median / max), 6 trained tokens, EOS trained in each, "
        "1 prompts cut (33.3%)"
    )
    notice = cut_notice(rows)
    assert notice is not None
    assert notice.what == "1 of 3 training prompts are cut (33.3%)"
    assert cut_notice(rows + rows[:1] * 30) is None
    assert describe_examples(rows * 1 + rows[:1] * 30, eos=False).endswith(
        "EOS not trained, 1 prompts cut (3.0%)"
    )
    with pytest.raises(InputError, match="empty"):
        describe_examples([], eos=True)


def test_exactly_the_answer_carries_loss():
    example = Example(context_ids=[1, 7, 8], answer_ids=[9, 2], truncated=False)
    assert example.input_ids == [1, 7, 8, 9]
    assert example.labels == [-100, -100, 9, 2]


def test_eos_is_trained_once_for_generated_answers_even_if_it_pads(tmp_path: Path):
    tokenizer = build_tokenizer("bpe_plain")
    tokenizer.pad_token = tokenizer.eos_token
    task = shipped_task("demo_qa", tmp_path)
    (example,) = build_examples(task, task.eval_docs, tokenizer, 512, eos=True)
    assert example.labels.count(tokenizer.eos_token_id) == 1
    assert example.labels[-1] == tokenizer.eos_token_id


def test_truncation_cuts_the_prompt_from_the_left_never_the_answer(tmp_path: Path):
    tokenizer = build_tokenizer("bpe_bos")
    task = shipped_task("demo_qa", tmp_path)
    (whole,) = build_examples(task, task.eval_docs, tokenizer, 512, eos=True)
    (cut,) = build_examples(task, task.eval_docs, tokenizer, 8, eos=True)
    assert cut.truncated
    assert not whole.truncated
    assert cut.answer_ids == whole.answer_ids
    assert len(cut.input_ids) == 8  # lm-eval lets the model read exactly max_length tokens
    assert cut.context_ids == whole.context_ids[-len(cut.context_ids) :]


def test_an_answer_longer_than_the_context_is_refused(tmp_path: Path):
    task = shipped_task("demo_qa", tmp_path)
    with pytest.raises(InputError, match="the context 1"):
        build_examples(task, task.eval_docs, build_tokenizer("bpe_bos"), 1, eos=True)


def test_the_row_of_a_too_long_answer_is_named(tmp_path: Path):
    """Eight words, each a token. Rows are counted from 0, and equal ones each for itself."""
    task = user_task(tmp_path, "{{q}}")
    docs = [
        {"q": "the", "a": "a"},
        {"q": "the", "a": "a"},
        {"q": "the", "a": "the film was good and the cast was"},
    ]
    with pytest.raises(
        InputError, match=r"user@train: row 2: an answer has 8 tokens, the context 5"
    ):
        build_examples(task, docs, build_tokenizer("bpe_bos"), 5, eos=False)


def user_task(folder: Path, text: str):
    """A generated task whose prompt template is given."""
    write_jsonl(folder / "data" / "train.jsonl", [{"q": "two", "a": "three"}] * 30)
    (folder / "user.yaml").write_text(
        "task: user\ncustom_dataset: !function ft_harness.data.load_splits\n"
        f"dataset_kwargs: {{data: {{source: {folder / 'data'}}}}}\n"
        "training_split: train\ntest_split: test\noutput_type: generate_until\n"
        f'doc_to_text: "{text}"\ndoc_to_target: a\ntarget_delimiter: ""\n'
        "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]\n",
        encoding="utf-8",
    )
    return load_tasks(find_task("user", include_path=str(folder)), ["train"])["train"]


def test_prompts_that_end_in_white_space_are_refused(tmp_path: Path):
    task = user_task(tmp_path, "{{q}} ")
    with pytest.raises(InputError, match="white space"):
        build_examples(task, task.eval_docs, build_tokenizer("bpe_bos"), 64, eos=True)


def test_boundaries_at_which_tokens_merge_are_refused(tmp_path: Path):
    # "wa" + "rm" without a blank: the tokenizer has a token for "warm" across the boundary.
    tokenizer = build_tokenizer("bpe_plain")
    assert len(tokenizer.tokenize(" warm")) == 1
    task = user_task(tmp_path, "the cast was wa")
    docs = [{"q": "", "a": "rm"}]
    with pytest.raises(InputError, match="merge"):
        build_examples(task, docs, tokenizer, 64, eos=True)


def test_an_empty_context_is_bos_as_lm_eval_has_it():
    encoder = Encoder(build_tokenizer("bpe_bos"))
    assert encoder.prefix_token_id == 1
    assert (
        Encoder(build_tokenizer("bpe_plain")).tok_encode("the")
        == build_tokenizer("bpe_plain")("the")["input_ids"]
    )


def test_marked_text_shows_prompt_and_trained_tokens(tmp_path: Path):
    tokenizer = build_tokenizer("bpe_plain")
    task = shipped_task("sst2_custom", tmp_path)
    (example,) = build_examples(task, task.eval_docs, tokenizer, 512, eos=False)
    assert mark_trained(example, tokenizer) == f"{prompt_of(task, task.eval_docs[0])}[ good]"
