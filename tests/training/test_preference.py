"""Learning from pairs: the loss against numbers by hand and a loop by hand, its reference, and what
goes on from a checkpoint."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from ft_harness.errors import InputError
from ft_harness.evaluation.backends.causal import make_causal_lm
from ft_harness.evaluation.backends.planning import Query
from ft_harness.models.adapters import attached, read_history
from ft_harness.models.base_model import BaseModel, load_base_model
from ft_harness.recipe import PreferenceSection, Recipe
from ft_harness.tasks.examples import Example
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks
from ft_harness.tasks.pair_examples import PairExample, build_pairs
from ft_harness.training import (
    TrainingPlan,
    TrainingSet,
    likelihoods,
    pair_likelihoods,
    train,
)
from ft_harness.training.adapter_model import adapter_model
from ft_harness.training.batches import steps_of_epoch
from ft_harness.training.guards import rows_of
from ft_harness.training.likelihoods import TokenLikelihoods, is_plain
from ft_harness.training.objectives import PreferenceLoss, make_objective, make_pair_collate
from ft_harness.training.pair_likelihoods import PairLikelihoods, join
from ft_harness.training.reference import REFERENCE_FILE
from tests.builders.interruptions import kill_at_step
from tests.builders.tiny import save_backbone
from tests.builders.weights import draw_weights

RATE = 0.05


@pytest.fixture(scope="module")
def base(model_folder: Path) -> BaseModel:
    return load_base_model(make_recipe(model_folder).model)


def make_recipe(folder: Path, preference: dict | None = None, **settings) -> Recipe:
    plain = {"learning_rate": RATE, "optim": "sgd", "lr_scheduler_type": "constant"}
    plain |= {"warmup_steps": 0, "seed": 5, "num_train_epochs": 2, "max_grad_norm": 1e9}
    return Recipe.model_validate(
        {
            "model": {"pretrained": str(folder)},
            "task": {"name": "demo_preference"},
            "adapter": {"r": 4, "lora_alpha": 8, "lora_dropout": 0.0},
            "train": {
                **plain,
                "objective": "preference",
                "preference": preference or {},
                "per_device_train_batch_size": 8,
                **settings,
            },
        }
    )


def make_pairs(count: int) -> list[PairExample]:
    """Prompts of 4 to 13 tokens, chosen answers of 1 to 3 and rejected ones of 1 to 4."""
    draw = torch.Generator().manual_seed(1)

    def ids(length: int) -> list[int]:
        return torch.randint(4, 300, (length,), generator=draw).tolist()

    pairs = []
    for row in range(count):
        prompt = ids(4 + 7 * row % 10)
        answers = ids(1 + row % 3), ids(1 + row % 4)
        pairs.append(PairExample(*(Example(prompt, each, truncated=False) for each in answers)))
    return pairs


# --- the loss -------------------------------------------------------------------------------------


def sums_of(preference: dict, found: list[list[float]], reference: list[list[float]], lengths):
    """What the loss makes of pairs whose answers have these log-likelihoods."""
    width = max(max(pair) for pair in lengths)
    labels = torch.full((len(found), 2, width), -100)
    values = torch.zeros(len(found), 2, width)
    for row, pair in enumerate(lengths):
        for side, length in enumerate(pair):
            labels[row, side, :length] = 1
            values[row, side, 0] = found[row][side]
    loss = PreferenceLoss(
        PreferenceSection(**preference), lambda model, inputs, labels: values.sum(-1)
    )
    inputs = {"input_ids": labels, "reference": torch.tensor(reference)}
    return loss(None, inputs, labels).tolist(), loss.counts({"labels": labels})


# ratios 1 and -1: a gap of 2; then 0.5 and 1.5: a gap of -1
FOUND, REFERENCE, LENGTHS = (
    [[-4.0, -6.0], [-2.5, -1.5]],
    [[-5.0, -5.0], [-3.0, -3.0]],
    [(2, 4), (1, 3)],
)
SIGMOID = [
    math.log1p(math.exp(-0.5 * gap)) for gap in (2.0, -1.0)
]  # -log sigmoid(beta gap), beta 0.5


def test_the_loss_by_hand():
    found, count = sums_of({"beta": 0.5}, FOUND, REFERENCE, LENGTHS)
    assert count == [2]
    # the loss; one of two rewards rises; margins 0.5 x 2 - 0.5 x 1
    assert found == pytest.approx([sum(SIGMOID), 1.0, 0.5])


def test_ipo_and_sigmoid_norm_by_hand():
    """Per token: 1/2 + 1/4 = 0.75 and 0.5/1 - 1.5/3 = 0; IPO's target is 1 / (2 x 0.5) = 1."""
    (loss, *_), _ = sums_of({"loss": "ipo", "beta": 0.5}, FOUND, REFERENCE, LENGTHS)
    assert loss == pytest.approx(0.25**2 + 1)
    (loss, *_), _ = sums_of({"loss": "sigmoid_norm", "beta": 0.5}, FOUND, REFERENCE, LENGTHS)
    assert loss == pytest.approx(math.log1p(math.exp(-0.375)) + math.log(2))


def test_label_smoothing_by_hand():
    """(1 - e) (-log sigmoid(beta gap)) - e (-log sigmoid(-beta gap)), over 1 - 2 e."""
    flipped = [math.log1p(math.exp(0.5 * gap)) for gap in (2.0, -1.0)]
    expected = sum((0.9 * a - 0.1 * b) / 0.8 for a, b in zip(SIGMOID, flipped, strict=True))
    (loss, *_), _ = sums_of({"beta": 0.5, "label_smoothing": 0.1}, FOUND, REFERENCE, LENGTHS)
    assert loss == pytest.approx(expected)


def test_the_chosen_answers_own_loss_is_per_token():
    """4 and 2.5 nats over 2 + 1 tokens."""
    found, count = sums_of({"beta": 0.5, "sft_weight": 0.2}, FOUND, REFERENCE, LENGTHS)
    assert count == [2, 3]
    assert found[:2] == pytest.approx([sum(SIGMOID), 0.2 * 6.5])


def test_the_example_of_the_docs():
    """One pair by hand in docs/preference.md."""
    page = (Path(__file__).parents[2] / "docs" / "preference.md").read_text(encoding="utf-8")
    pair = [[-11.0, -12.5]], [[-12.0, -10.0]], [(6, 5)]
    for preference, said in (
        ({}, "= 0.5334"),
        ({"label_smoothing": 0.1}, "= 0.4896"),
        ({"loss": "ipo"}, "= 18.78"),
        ({"loss": "sigmoid_norm"}, "= 0.6604"),
    ):
        (loss, right, margin), _ = sums_of(preference, *pair)
        assert loss == pytest.approx(float(said[2:]), rel=2e-4)
        assert (right, margin) == pytest.approx((1, 0.35))
        assert said in page
    (_, own, *_), _ = sums_of({"sft_weight": 0.3}, *pair)
    assert own / 6 == pytest.approx(0.55)


def test_a_tie_is_half_and_no_pair_is_nothing():
    found, _ = sums_of({}, [[-5.0, -7.0]], [[-4.0, -6.0]], [(1, 1)])
    assert found == pytest.approx([math.log(2), 0.5, 0.0])
    objective_batch = make_pair_collate(0)([])
    assert objective_batch["input_ids"].shape == (1, 2, 1)
    loss = PreferenceLoss(PreferenceSection(sft_weight=1), lambda *_: torch.zeros(1, 2))
    assert loss.counts(objective_batch) == [0, 0]
    labels = objective_batch.pop("labels")
    assert loss(None, objective_batch, labels).tolist() == [0, 0, 0, 0]


# --- a step ---------------------------------------------------------------------------------------


def likelihood(model, example: Example) -> torch.Tensor:
    """log p of an answer, token by token, alone in its batch."""
    ids = torch.tensor([example.context_ids + example.answer_ids])
    logits = model(input_ids=ids).logits[0].log_softmax(-1)
    first = len(example.context_ids)
    return sum(logits[at - 1, ids[0, at]] for at in range(first, ids.shape[1]))


def learn_by_hand(recipe: Recipe, base: BaseModel, pairs: list[PairExample]) -> dict:
    """Plain gradient descent on the definition of DPO, the reference taken from the same model
    before the first step."""
    lengths, settings = [len(pair.input_ids) for pair in pairs], recipe.train.preference
    with adapter_model(recipe, base) as model:
        trained = {name: each for name, each in model.named_parameters() if each.requires_grad}
        with torch.no_grad():
            before = [
                [float(likelihood(model, each)) for each in (pair.chosen, pair.rejected)]
                for pair in pairs
            ]
        for epoch in range(2):
            for step in steps_of_epoch(lengths, 8, recipe.train.seed, epoch):
                losses, own, tokens = [], [], 0
                for row in step:
                    chosen, rejected = (
                        likelihood(model, each) for each in (pairs[row].chosen, pairs[row].rejected)
                    )
                    gap = chosen - before[row][0] - rejected + before[row][1]
                    losses.append(torch.log1p(torch.exp(-settings.beta * gap)))
                    own.append(-chosen)
                    tokens += len(pairs[row].chosen.answer_ids)
                loss = sum(losses) / len(losses) + settings.sft_weight * sum(own) / tokens
                gradients = torch.autograd.grad(loss, list(trained.values()))
                with torch.no_grad():
                    for weight, gradient in zip(trained.values(), gradients, strict=True):
                        weight -= RATE * gradient
        return {
            name.replace(".default", ""): each.detach().clone() for name, each in trained.items()
        }


@pytest.mark.slow  # a training for each cut
@pytest.mark.parametrize("sft_weight", [0.0, 0.3])
def test_a_step_learns_what_the_definition_says_however_it_is_cut(
    base: BaseModel, tmp_path: Path, sft_weight: float
):
    """21 pairs are steps of 8, 8 and 5, computed 8, 4, 2 or 1 at once."""
    pairs, folder = make_pairs(21), Path(base.info.pretrained)
    preference = {"beta": 0.5, "sft_weight": sft_weight}
    expected = learn_by_hand(make_recipe(folder, preference), base, pairs)
    for batch, accumulation in ((8, 1), (4, 2), (1, 8)):
        cut = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
        recipe, out = make_recipe(folder, preference, **cut), tmp_path / f"{batch}"
        card = train(TrainingPlan(recipe, base, TrainingSet(pairs, pairs[:5], "task")), out)
        assert card.steps == 6
        found = load_file(out / "adapter_model.safetensors")
        moved = max(float(found[name].abs().max()) for name in found if "lora_B" in name)
        assert moved > 1e-3
        assert max(float((found[name] - expected[name]).abs().max()) for name in found) < 1e-6


def test_the_first_loss_is_that_of_a_model_that_prefers_nothing(base: BaseModel, tmp_path: Path):
    """log 2 at a gap of 0: the reference is the model itself; rewards are in the history."""
    pairs = make_pairs(16)
    recipe = make_recipe(Path(base.info.pretrained), learning_rate=1.0)
    train(TrainingPlan(recipe, base, TrainingSet(pairs, pairs[:6], "task")), tmp_path / "a")
    history = read_history(tmp_path / "a")
    assert history[0].loss == pytest.approx(math.log(2), abs=1e-6)
    scored = [entry for entry in history if entry.eval_loss is not None]
    assert [sorted(entry.scores) for entry in scored] == [
        ["implicit_reward_acc", "reward_margin"]
    ] * 2
    assert 0.5 < scored[-1].scores["implicit_reward_acc"] <= 1
    assert scored[-1].scores["reward_margin"] > 0
    assert scored[-1].eval_loss < math.log(2)


def test_a_continued_adapter_is_its_own_reference(base: BaseModel, tmp_path: Path):
    pairs, folder = make_pairs(16), Path(base.info.pretrained)
    data = TrainingSet(pairs, [], "task")
    train(TrainingPlan(make_recipe(folder, learning_rate=1.0), base, data), tmp_path / "a")
    again = make_recipe(folder, continue_from=str(tmp_path / "a"))
    train(TrainingPlan(again, base, data), tmp_path / "b")
    assert read_history(tmp_path / "b")[0].loss == pytest.approx(math.log(2), abs=1e-6)


def test_the_card_has_what_a_server_can_be_checked_by(base: BaseModel, tmp_path: Path):
    """The chosen answers' log-likelihoods by the base and with the adapter, as they are scored."""
    pairs, folder = make_pairs(16), tmp_path / "a"
    recipe = make_recipe(Path(base.info.pretrained), learning_rate=1.0)
    card = train(TrainingPlan(recipe, base, TrainingSet(pairs, [], "task")), folder)
    known = card.known_answers
    chosen = [pair.chosen for pair in pairs[:8]]
    assert [(each.stem, each.answer) for each in known] == [
        (each.context_ids, each.answer_ids) for each in chosen
    ]
    queries = [Query(tuple(each.context_ids), tuple(each.answer_ids)) for each in chosen]
    expected = [make_causal_lm(base).scorer.score(queries)]
    with attached(folder, base, ["the film"]) as (tuned, _):
        expected.append(make_causal_lm(tuned).scorer.score(queries))
    for found, right in zip(
        ([each.base for each in known], [each.tuned for each in known]), expected, strict=True
    ):
        assert [value for value, _ in found] == pytest.approx([v for v, _ in right], abs=1e-4)
        assert [greedy for _, greedy in found] == [greedy for _, greedy in right]
    assert max(abs(each.base[0] - each.tuned[0]) for each in known) > 1e-3


def test_memory_that_runs_out_cuts_pairs_from_each_other_and_no_pair(
    base: BaseModel, tmp_path, monkeypatch
):
    pairs, folder = make_pairs(21), Path(base.info.pretrained)
    plan = TrainingPlan(make_recipe(folder), base, TrainingSet(pairs, [], "task"))
    train(plan, tmp_path / "whole")
    original = PreferenceLoss.__call__

    def little_room(self, model, inputs, labels):
        if len(labels) > 3:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return original(self, model, inputs, labels)

    monkeypatch.setattr(PreferenceLoss, "__call__", little_room)
    card = train(plan, tmp_path / "cut")
    assert [change.after for change in card.cost.micro_batch_changes] == [4, 2]
    whole, cut = (
        load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "cut")
    )
    assert max(float((whole[name] - cut[name]).abs().max()) for name in whole) < 1e-6


def test_a_fault_names_the_rows_of_its_pairs():
    pairs = make_pairs(6)
    batch = make_pair_collate(0)([pairs[4], pairs[1]])
    assert rows_of([batch], pairs) == [1, 4]


# --- likelihoods ----------------------------------------------------------------------------------


def slopes(model, likelihoods, batch: dict, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Log p of each token, and the gradients of a weighted sum of them."""
    found = likelihoods(model, batch, labels)
    weights = torch.linspace(-1, 1, found.numel()).view_as(found)
    trained = [each for each in model.parameters() if each.requires_grad]
    return found.detach(), *torch.autograd.grad((weights * found).sum(), trained)


@pytest.mark.parametrize("size", [1 << 26, 4 * 320 * 3])  # bytes: all targets at once, or 3
def test_a_head_in_chunks_gives_the_same(base: BaseModel, monkeypatch, size: int):
    monkeypatch.setattr(likelihoods, "_CHUNK_BYTES", size)
    batch = make_pair_collate(0)(make_pairs(7))
    del batch["reference"]
    flat = {name: values.flatten(0, 1) for name, values in batch.items()}
    labels = flat.pop("labels")
    with adapter_model(make_recipe(Path(base.info.pretrained)), base) as model:
        draw_weights(model)
        chunked, whole = TokenLikelihoods(base.model), TokenLikelihoods(base.model)
        whole._in_chunks = False
        found, expected = (slopes(model, each, flat, labels) for each in (chunked, whole))
    assert chunked._in_chunks
    assert (labels != -100).sum() > 20
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-6, rtol=1e-5)


def test_a_model_that_changes_its_logits_is_seen(tmp_path: Path):
    """Gemma 2 bends its logits by a tangent after the head."""
    folder = save_backbone(tmp_path / "gemma2", "gemma2", max_position_embeddings=64)
    base = load_base_model(make_recipe(folder).model)
    base.model.config.final_logit_softcapping = 0.5
    rows = torch.tensor([[5, 6, 7, 8]])
    labels = torch.tensor([[-100, -100, 8, 9]])
    measure = TokenLikelihoods(base.model)
    found = measure(base.model, {"input_ids": rows}, labels)
    assert measure._in_chunks is False
    exact = base.model(rows).logits.float().log_softmax(-1)
    assert found[0, 2:].tolist() == pytest.approx(exact[0, [2, 3], [8, 9]].tolist())
    assert isinstance(base.model.get_output_embeddings(), torch.nn.Linear)


def test_a_head_that_is_trained_keeps_its_gradient(base: BaseModel):
    head = torch.nn.Linear(4, 8)
    assert not is_plain(head)
    assert is_plain(head.requires_grad_(False))
    assert not is_plain(None)


def test_pairs_as_single_rows_by_hand():
    """A prompt of 2 tokens with answers of 2 and 3, and one of 1 with answers of 1 and 1."""
    pairs = [
        PairExample(Example([5, 6], [7, 8], False), Example([5, 6], [9, 10, 11], False)),
        PairExample(Example([12], [13], False), Example([12], [14], False)),
    ]
    batch = make_pair_collate(0)(pairs)
    rows = join(batch["input_ids"], batch["attention_mask"], batch["labels"])
    assert rows.ids[0].tolist() == [5, 6, 7, 9, 10]  # no answer's last token is read
    assert rows.depths[0].tolist() == [0, 1, 2, 2, 3]
    assert rows.sees[0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 0, 1, 0],  # the rejected answer doesn't see the chosen one
        [1, 1, 0, 1, 1],
    ]
    assert rows.kept.int().tolist() == [[0, 1, 1, 1, 1], [1, 0, 0, 0, 0]]
    trained = batch["labels"] != -100
    # 7 and 9 behind 6, 8 behind 7, 10 behind 9, 11 behind 10; then 13 and 14 behind 12
    assert batch["labels"][trained].tolist() == [7, 8, 9, 10, 11, 13, 14]
    assert rows.places[trained].tolist() == [0, 1, 0, 2, 3, 4, 4]


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2", "gemma"])
def test_a_prompt_computed_once_gives_the_same(tmp_path: Path, kind: str):
    folder = save_backbone(tmp_path / kind, kind)
    base = load_base_model(make_recipe(folder).model)
    batch = make_pair_collate(0)(make_pairs(7))
    del batch["reference"]
    labels = batch.pop("labels")
    with adapter_model(make_recipe(folder), base) as model:
        draw_weights(model)
        shared, apart = PairLikelihoods(base.model), PairLikelihoods(base.model)
        apart._shares = False
        found, expected = (slopes(model, each, batch, labels) for each in (shared, apart))
    assert shared._shares
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=2e-5, rtol=1e-4)


def test_a_sliding_window_gives_each_answer_a_row(tmp_path: Path):
    base = load_base_model(make_recipe(save_backbone(tmp_path / "gemma2", "gemma2")).model)
    measure = PairLikelihoods(base.model)
    assert measure._shares is False
    batch = make_pair_collate(0)(make_pairs(2))
    labels = batch.pop("labels")
    del batch["reference"]
    assert measure(base.model, batch, labels).shape == (2, 2)


def test_a_model_that_goes_its_own_way_is_seen(base: BaseModel, monkeypatch):
    """A mask that is not followed: both answers would see each other."""
    measure = PairLikelihoods(base.model)
    whole = pair_likelihoods.join

    def blind(*given):
        rows = whole(*given)
        return rows._replace(sees=torch.ones_like(rows.sees).tril())

    monkeypatch.setattr(pair_likelihoods, "join", blind)
    for pairs, expected in ((make_pairs(4)[3:], None), (make_pairs(7), False)):
        batch = make_pair_collate(0)(pairs)  # a chosen answer of one token can't tell
        labels = batch.pop("labels")
        del batch["reference"]
        measure(base.model, batch, labels)
        assert measure._shares is expected


# --- checkpoints ----------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"optim": "adamw_torch", "learning_rate": 1e-3}])
def test_a_killed_training_ends_as_one_that_was_not(base, tmp_path: Path, monkeypatch, settings):
    pairs, folder = make_pairs(21), Path(base.info.pretrained)
    recipe = make_recipe(folder, save_steps=2, **settings)
    recipe = recipe.model_copy(
        update={"adapter": recipe.adapter.model_copy(update={"lora_dropout": 0.2})}
    )
    plan = TrainingPlan(recipe, base, TrainingSet(pairs, pairs[:5], "task"))
    train(plan, tmp_path / "whole")
    with monkeypatch.context() as patched:
        kill_at_step(5, patched)
        with pytest.raises(KeyboardInterrupt):
            train(plan, tmp_path / "killed")
    checkpoint = tmp_path / "killed" / "checkpoints" / "checkpoint-4"
    assert load_file(checkpoint / REFERENCE_FILE)["examples"].shape == (21, 2)
    train(plan, tmp_path / "killed")
    whole, killed = (
        load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "killed")
    )
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    losses = [
        [entry.loss for entry in read_history(tmp_path / name)] for name in ("whole", "killed")
    ]
    assert losses[0] == losses[1]


def test_a_reference_that_was_touched_is_no_checkpoint(base, tmp_path: Path, monkeypatch):
    pairs, folder = make_pairs(21), Path(base.info.pretrained)
    plan = TrainingPlan(make_recipe(folder, save_steps=2), base, TrainingSet(pairs, [], "task"))
    with monkeypatch.context() as patched:
        kill_at_step(3, patched)
        with pytest.raises(KeyboardInterrupt):
            train(plan, tmp_path / "a")
    path = tmp_path / "a" / "checkpoints" / "checkpoint-2" / REFERENCE_FILE
    values = load_file(path)
    save_file({name: value + 1 for name, value in values.items()}, path)
    with pytest.raises(InputError, match=f"{REFERENCE_FILE} is damaged"):
        train(plan, tmp_path / "a")


# --- rows -----------------------------------------------------------------------------------------


def test_a_prompt_is_cut_alike_for_both_answers(base: BaseModel):
    """Answers of about 3 and 12 tokens to one prompt; lm-eval's rule alone would cut only one."""
    task = load_tasks(find_task("demo_preference"), ["test"])["test"]
    doc = dict(task.eval_docs[0])
    doc |= {"chosen": "At the zoo.", "rejected": "I do not know where that could be at all, sorry."}
    (whole,) = build_pairs(task, [doc], base.tokenizer, 10_000, eos=False)
    assert not whole.truncated
    short, long = len(whole.chosen.answer_ids), len(whole.rejected.answer_ids)
    prompt = whole.chosen.context_ids
    (pair,) = build_pairs(task, [doc], base.tokenizer, len(prompt) + short, eos=False)
    kept = prompt[-(len(prompt) + short + 1 - long) :]
    assert pair.chosen.context_ids == pair.rejected.context_ids == kept
    assert pair.truncated
    assert (len(pair.chosen.answer_ids), len(pair.rejected.answer_ids)) == (short, long)


def test_three_choices_are_no_pair(base: BaseModel):
    task = load_tasks(find_task("demo_nli"), ["test"])["test"]
    with pytest.raises(InputError, match="a row has 3 choices"):
        build_pairs(task, [task.eval_docs[0]], base.tokenizer, 128, eos=False)


def test_pairs_without_a_reference_have_no_loss():
    (pair,) = make_pairs(1)
    batch = make_pair_collate(0)([pair])
    assert batch["reference"].isnan().all()
    known = make_pair_collate(0)([replace(pair, reference=(-1.0, -2.0))])
    assert known["reference"].tolist() == [[-1.0, -2.0]]


def test_both_answers_are_counted_as_read(base: BaseModel):
    pairs = make_pairs(3)
    objective = make_objective(
        SimpleNamespace(model=base.model, tokenizer=base.tokenizer, head=None), PreferenceSection()
    )
    batch = objective.collate(pairs)
    assert int(batch["attention_mask"].sum()) == sum(len(pair.input_ids) for pair in pairs)
    assert objective.scores == ("implicit_reward_acc", "reward_margin")
