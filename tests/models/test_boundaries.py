"""Where a prompt ends and an answer begins, and which tokens start and end texts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from lm_eval.api.instance import Instance
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ft_harness.errors import InputError
from ft_harness.evaluation.backends import make_lm
from ft_harness.models.adapters import attached
from ft_harness.models.base_model import load_base_model
from ft_harness.models.encoding import Encoder, appended_tokens, refuse_equal, split_pair
from ft_harness.recipe import ModelSection
from tests.builders.tiny import write_jsonl
from tests.models.test_adapter_checks import make_adapter

PAIR = ("the film was", " good")


@pytest.fixture
def model(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def load(folder: Path):
    return load_base_model(ModelSection(pretrained=str(folder)))


def request(kind: str, arguments: tuple) -> Instance:
    return Instance(kind, {}, arguments, 0)


def append_end(folder: Path) -> None:
    """As some tokenizers for embeddings and translation do."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    post = content["post_processor"]
    post["single"].append({"SpecialToken": {"id": "</s>", "type_id": 0}})
    post["special_tokens"]["</s>"] = {"id": "</s>", "ids": [2], "tokens": ["</s>"]}
    path.write_text(json.dumps(content))


# --- tokens that the tokenizer appends


def test_an_appended_end_token_is_named_where_a_query_is_made(model: Path):
    append_end(model)
    lm = make_lm(load(model), 1)
    with pytest.raises(InputError, match="appends </s>"):
        lm.loglikelihood([request("loglikelihood", PAIR)])
    with pytest.raises(InputError, match="appends </s>"):
        lm.generate_until([request("generate_until", ("the film", {"max_gen_toks": 2}))])
    encoder = Encoder(lm.tokenizer)
    with pytest.raises(InputError, match="appends </s>"):
        encoder.encode_scored([request("loglikelihood", PAIR)])
    with pytest.raises(InputError, match="appends </s>"):
        encoder.encode_generated(*PAIR)


def test_usual_tokenizers_append_nothing(tokenizer):
    assert appended_tokens(tokenizer) == []


# --- boundaries at which tokens merge


def test_merging_tokens_are_refused_where_a_query_is_made(model: Path):
    lm = make_lm(load(model), 1)
    # "warm" is one token of this vocabulary, "wa" + "rm" are others
    with pytest.raises(InputError, match=r"merge at 'the cast was wa' \+ 'rm'"):
        lm.loglikelihood([request("loglikelihood", ("the cast was wa", "rm"))])


@pytest.mark.parametrize("pair", [PAIR, ("a prompt ", "answer"), ("Review: x\n", "good")])
def test_pairs_are_split_as_lm_eval_splits_them(tokenizer, pair: tuple[str, str]):
    encoder = Encoder(tokenizer)
    assert split_pair(encoder.tok_encode, *pair) == encoder._encode_pair(*pair)


# --- an adapter's own end tokens


def next_token(base, prompt: str) -> int:
    ids = base.tokenizer(prompt, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        return int(base.model(input_ids=ids).logits[0, -1].argmax())


def test_an_adapters_own_end_token_ends_its_answers(model: Path, tmp_path: Path):
    base = load(model)
    made = make_adapter(model, tmp_path / "a")
    arguments = ("the film was", {"max_gen_toks": 6, "do_sample": False, "until": []})
    with attached(made, base, ["the film"]) as (tuned, info):
        assert info.ends == []
        plain = str(make_lm(tuned, 1).generate_until([request("generate_until", arguments)])[0])
        second = base.tokenizer.encode("the film was")
        with torch.inference_mode():
            written = tuned.model.generate(
                input_ids=torch.tensor([second]),
                max_new_tokens=6,
                do_sample=False,
                eos_token_id=None,
            )[0, len(second) :].tolist()
    end = written[2]  # the third token that it writes, of which the first two are others
    assert end not in written[:2]
    settings = json.loads((model / "tokenizer_config.json").read_text())
    settings["eos_token"] = base.tokenizer.convert_ids_to_tokens(end)
    (made / "tokenizer_config.json").write_text(json.dumps(settings))
    shutil.copy(model / "tokenizer.json", made)
    with attached(made, base, ["the film"]) as (tuned, info):
        assert info.ends == [end]
        answer = make_lm(tuned, 1).generate_until([request("generate_until", arguments)])[0]
    assert str(answer) == base.tokenizer.decode(written[:2]) != plain
    assert not answer.truncated


def test_an_adapters_generation_settings_may_name_end_tokens(model: Path, tmp_path: Path):
    base, made = load(model), make_adapter(model, tmp_path / "a")
    (made / "generation_config.json").write_text('{"eos_token_id": [2, 7]}')
    with attached(made, base, ["the film"]) as (_, info):
        assert info.ends == [7]


def test_an_adapter_whose_tokenizer_starts_texts_otherwise_is_refused(model: Path, tmp_path: Path):
    base, made = load(model), make_adapter(model, tmp_path / "a")
    settings = json.loads((model / "tokenizer_config.json").read_text()) | {"bos_token": "<pad>"}
    (made / "tokenizer_config.json").write_text(json.dumps(settings))
    shutil.copy(model / "tokenizer.json", made)
    with pytest.raises(InputError, match="bos_token"), attached(made, base, ["the film"]):
        pass


# --- tokenizers that lack special tokens


def without(folder: Path, *names: str) -> Path:
    path = folder / "tokenizer_config.json"
    content = json.loads(path.read_text())
    for name in names:
        content.pop(name)
    path.write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    "names",
    [
        ("bos_token", "eos_token"),
        ("pad_token", "eos_token"),
        ("bos_token", "eos_token", "pad_token"),
    ],
)
def test_scores_do_not_depend_on_tokens_that_are_not_used(
    model_folder: Path, model: Path, names: tuple[str, ...]
):
    """Padding is never seen: two prompts of different lengths, in one batch and alone."""
    whole, bare = load(model_folder), load(without(model, *names))
    pairs = [PAIR, ("the cast was cold and the film", " bad"), ("a", " b")]
    requests = [request("loglikelihood", pair) for pair in pairs]
    expected = [score for score, _ in make_lm(whole, 1).loglikelihood(requests)]
    found = [score for score, _ in make_lm(bare, 8).loglikelihood(requests)]
    assert found == pytest.approx(expected, abs=1e-5)
    prompts = [request("generate_until", (text, {"max_gen_toks": 4})) for text, _ in pairs]
    ours = list(map(str, make_lm(bare, 8).generate_until(prompts)))
    alone = [str(make_lm(bare, 1).generate_until([prompt])[0]) for prompt in prompts]
    assert ours == alone


def test_a_text_that_nothing_comes_before_needs_bos_or_eos(model: Path):
    lm = make_lm(load(without(model, "bos_token", "eos_token")), 1)
    with pytest.raises(InputError, match="neither BOS nor EOS"):
        lm.loglikelihood_rolling([request("loglikelihood_rolling", ("the film",))])
    with pytest.raises(InputError, match="neither BOS nor EOS"):
        lm.loglikelihood([request("loglikelihood", ("", "the film"))])


@pytest.mark.slow  # several whole checks
def test_check_says_so_of_controls_of_running_text_too(model: Path, ft):
    without(model, "bos_token", "eos_token")
    assert ft("init", "x", "--task", "demo_sentiment")[0] == 0  # with control_text
    code, _, err = ft("check", "adapters/x", "--set", f"model.pretrained={model}")
    assert (code, "neither BOS nor EOS" in err) == (3, True)
    alone = ("--set", "controls.tasks=[]")
    assert ft("check", "adapters/x", "--set", f"model.pretrained={model}", *alone)[0] == 0


# --- answers that the tokenizer does not tell apart


def know_few_words(folder: Path) -> None:
    """A tokenizer of words, which reads any other as <unk>."""
    words = ["<pad>", "<s>", "</s>", "<unk>", "the", "film", "was", "good", "bad"]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    named = {f"{word.strip('</>')}_token": word for word in ("<pad>", "<unk>")}
    PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", model_max_length=128, **named
    ).save_pretrained(folder)


def test_answers_with_the_same_tokens_are_refused_where_a_query_is_made(model: Path):
    know_few_words(model)
    lm = make_lm(load(model), 1)
    words = [" \u65e5\u672c", " \u4e2d\u56fd"]  # Japan, China
    ids = [lm.tok_encode(word, add_special_tokens=False) for word in words]
    assert ids[0] == ids[1]
    with pytest.raises(InputError, match="have the same tokens"):
        lm.loglikelihood([request("loglikelihood", ("the film was", word)) for word in words])
    assert lm.loglikelihood([request("loglikelihood", PAIR), request("loglikelihood", PAIR)])


def test_answers_are_compared_within_a_prompt():
    refuse_equal([("a", "x"), ("b", "y"), None, ("b", "y")], [[1], [1], [1], [1]])
    with pytest.raises(InputError, match="'x' and 'y' have the same tokens"):
        refuse_equal([("a", "x"), ("a", "z"), ("a", "y")], [[1], [2], [1]])


def test_check_names_label_words_and_answers_that_the_tokenizer_lacks(
    model: Path, ft, tmp_path: Path
):
    know_few_words(model)
    rows = [{"q": f"q {i}", "l": ["\u597d", "\u574f"][i % 2]} for i in range(40)]
    write_jsonl(tmp_path / "d.jsonl", rows)
    assert ft("init-task", "d.jsonl", "--text", "q", "--label", "l")[0] == 0
    task = ("--task", "d_custom", "--include-path", "task_yamls/d_custom")
    assert ft("init", "x", *task)[0] == 0
    code, _, err = ft("check", "adapters/x", "--set", f"model.pretrained={model}")
    assert code == 3
    assert "have the same tokens" in err
    assert ft("init-task", "d.jsonl", "--text", "q", "--answer", "l", "--name", "f")[0] == 0
    assert ft("init", "y", "--task", "f", "--include-path", "task_yamls/f")[0] == 0
    short = ("--set", "eval.generation_kwargs={max_gen_toks: 8}")
    _, out, err = ft("check", "adapters/y", "--set", f"model.pretrained={model}", *short)
    assert "32 of 32 training answers hold what the tokenizer reads as <unk>" in out + err


def add_token(folder: Path) -> None:
    """A token <extra>, of which the model has never heard."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    extra = {"id": 5000, "content": "<extra>", "special": True}
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    content["added_tokens"].append(extra | plain)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("kind", ["answer", "label", "head"])
def test_such_a_token_in_the_data_is_named_by_every_command(
    kind: str, model: Path, ft, tmp_path: Path
):
    add_token(model)
    rows = [{"q": f"q {i} <extra>", "l": ["good", "bad"][i % 2]} for i in range(40)]
    write_jsonl(tmp_path / "d.jsonl", rows)
    column = "--answer" if kind == "answer" else "--label"
    assert ft("init-task", "d.jsonl", "--text", "q", column, "l")[0] == 0
    task = ("--task", "d_custom", "--include-path", "task_yamls/d_custom")
    assert ft("init", "x", *task)[0] == 0
    settings = ["--set", f"model.pretrained={model}", "--set", "controls.tasks=[]"]
    settings += ["--set", "adapter.task_type=SEQ_CLS"] if kind == "head" else []
    settings += ["--set", "eval.generation_kwargs={max_gen_toks: 8}"] if kind == "answer" else []
    for command in ("check", "train", "eval"):
        code, _, err = ft(command, "adapters/x", *settings)
        assert (code, command) == (3, command), err
        assert "has the token '<extra>', number 320" in err


def test_a_token_without_a_row_in_the_embedding_is_named_where_it_is_used(model: Path):
    add_token(model)
    lm = make_lm(load(model), 1)
    assert lm.loglikelihood([request("loglikelihood", PAIR)])
    with pytest.raises(InputError, match="has the token '<extra>', number 320"):
        lm.loglikelihood([request("loglikelihood", ("the <extra> film was", " good"))])
    with pytest.raises(InputError, match="has the token '<extra>', number 320"):
        lm.generate_until([request("generate_until", ("the <extra> film", {"max_gen_toks": 2}))])


@pytest.mark.parametrize(
    "settings",
    [{"penalty_alpha": 0.6, "top_k": 4}, {"stop_strings": ["a"]}],
)
def test_settings_that_transformers_does_not_generate_with_are_refused(model: Path, settings: dict):
    (model / "generation_config.json").write_text(json.dumps(settings))
    lm = make_lm(load(model), 1)
    with pytest.raises(InputError, match="can't generate with these settings"):
        lm.generate_until([request("generate_until", ("the film", {"max_gen_toks": 2}))])


def test_a_watermark_is_a_setting_like_others(model: Path):
    settings = {"watermarking_config": {"bias": 2.5}}
    (model / "generation_config.json").write_text(json.dumps(settings))
    lm = make_lm(load(model), 1)
    assert lm.generate_until([request("generate_until", ("the film", {"max_gen_toks": 2}))])
