"""Hand-made studies for the tests of figures and reports: typed, small, with numbers that are easy
to find again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ft_harness.comparison.aggregator import AdapterRun, Comparison, Row, Study
from ft_harness.comparison.cases import (
    Case,
    CaseSummary,
    Choice,
    ConfusionPair,
    NearestExample,
    Slice,
    Transition,
)
from ft_harness.comparison.repeats import Repeats
from ft_harness.data.data_report import DataReport, Lengths, LostRows, SplitData
from ft_harness.data.duplicates import SplitOverlap
from ft_harness.records import (
    AdapterInfo,
    BackEndInfo,
    Card,
    Cost,
    HistoryEntry,
    LiveProof,
    ModelInfo,
    Record,
    Score,
    Settings,
    TrainingCost,
)
from ft_harness.report import (
    Explorer,
    Outlier,
    Outliers,
    build_document,
    find_verdicts,
    html_page,
    markdown_page,
)

MODEL = ModelInfo(
    pretrained="bundled", identity="sha256:11aa", dtype="float32", parameters=3_000_000
)
PROVENANCE: dict[str, Any] = {
    "packages": {"python": "3.11.9", "torch": "2.10.0"},
    "hardware": "one CPU, 2 cores",
}
Values = tuple[float | None, float | None]  # base, tuned


def make_score(metric: str, value: float | None) -> Score:
    low, high = (None, None) if value is None else (max(0.0, value - 0.05), min(1.0, value + 0.04))
    return Score(
        metric=metric,
        value=value,
        low=low,
        high=high,
        n=300,
        n_invalid=0,
        n_truncated=0,
        higher_is_better=True,
        signature=f"metric:{metric}|shots:0",
    )


def make_record(
    task: str, split: str, adapter: str | None, scores: dict[str, float | None]
) -> Record:
    """A record of the base (no adapter) or of an adapter."""
    proof = LiveProof(prompts=8, max_logit_change=1.25, changed_prompts=8)
    return Record.model_validate(
        {
            "eval_id": f"{task}-{split}-0a1b2c",
            "status": "complete",
            "subject": adapter or "base--bundled",
            "model": MODEL,
            "adapter": adapter
            and AdapterInfo(
                name=adapter,
                path="adapters/x",
                identity="sha256:22bb",
                trainable_parameters=90_000,
                live_proof=proof,
            ),
            "settings": make_settings(task, split),
            "scores": [make_score(metric, value) for metric, value in scores.items()],
            "cost": Cost(
                seconds=12.5, tokens=4000, peak_rss_bytes=700 * 2**20, peak_gpu_bytes=None
            ),
            "provenance": PROVENANCE,
        }
    )


def make_settings(task: str, split: str) -> Settings:
    return Settings.model_validate(
        {
            "task": task,
            "task_version": "1.0",
            "task_hash": "33cc",
            "data_hash": "44dd",
            "split": split,
            "num_fewshot": 0,
            "limit": None,
            "sample_seed": None,
            "chat_template_hash": None,
            "generation_kwargs": {},
            "max_length": 512,
            "batch_size": 16,
            "seed": 1234,
            "back_end": "hf, softmax float32",
            "device": "cpu",
        }
    )


def make_row(task: str, split: str, metric: str, values: Values, **changes: Any) -> Row:
    base, tuned = values
    delta = None if base is None or tuned is None else tuned - base
    fields: dict[str, Any] = {
        "task": task,
        "split": split,
        "metric": metric,
        "base_subject": "base--bundled",
        "tuned_subject": "snli_lora",
        "base_settings": {"num_fewshot": 0},
        "tuned_settings": {"num_fewshot": 0},
        "base": base,
        "tuned": tuned,
        "delta": delta,
        "low": None if delta is None else delta - 0.0613,
        "high": None if delta is None else delta + 0.0587,
        "p": None if delta is None else 0.0213,
        "p_adjusted": None,
        "primary": False,
        "n": 300,
        "verdict": None if delta is None else "no evidence",
        "family": "trained task" if changes.get("primary") else None,
    }
    return Row.model_validate(fields | changes)


def make_majority_row(task: str, split: str) -> Row:
    majority = {
        "base_subject": "majority class",
        "base_settings": {},
        "tuned_subject": None,
        "tuned_settings": None,
    }
    return make_row(task, split, "acc", (0.3367, None), **majority)


def make_cases() -> CaseSummary:
    case = Case(
        item_key="9f3e#0",
        prompt="Premise: A man is asleep.\nHypothesis: A man sleeps.\nAnswer:",
        gold="entailment",
        base_answer="neutral",
        tuned_answer="entailment",
    )
    broken = case.model_copy(
        update={"item_key": "77ab#0", "base_answer": "entailment", "tuned_answer": None}
    )
    return CaseSummary(
        counts={"still right": 100, "corrected": 119, "broken": 17, "not corrected": 64},
        cases={"still right": [], "corrected": [case], "broken": [broken], "not corrected": []},
        reason=None,
    )


CLASSIFICATION: dict[str, Values] = {
    "acc": (0.3912, 0.7312),
    "f1_macro": (0.2801, 0.7254),
    "precision_entailment": (0.4021, 0.7602),
    "recall_entailment": (0.9115, 0.7903),
    "f1_entailment": (0.5581, 0.7749),
    "precision_neutral": (None, 0.6834),
    "recall_neutral": (0.0, 0.6611),
    "f1_neutral": (0.0, 0.6721),
}
GENERATION: dict[str, Values] = {"exact_match": (0.1034, 0.3141), "token_f1": (0.2142, 0.4432)}


def make_comparison(
    task: str, split: str, values: dict[str, Values], rows: list[Row], adapter: str = "snli_lora"
) -> Comparison:
    return Comparison(
        base=make_record(task, split, None, {metric: pair[0] for metric, pair in values.items()}),
        tuned=make_record(
            task, split, adapter, {metric: pair[1] for metric, pair in values.items()}
        ),
        rows=rows,
        detectable=0.08,
        finding=f"Something changed on {task} ({split}, 300 items).",
        cases=make_cases(),
    )


def make_snli(split: str) -> Comparison:
    decided = {"primary": True, "p": 0.0000012, "p_adjusted": 0.0000024, "verdict": "improved"}
    rows = [
        make_row("snli_custom", split, metric, values) for metric, values in CLASSIFICATION.items()
    ]
    primary = make_row(
        "snli_custom", split, "acc", CLASSIFICATION["acc"], **(decided if split == "test" else {})
    )
    rows = [make_majority_row("snli_custom", split), primary, *rows[1:]]
    return make_comparison("snli_custom", split, CLASSIFICATION, rows)


def make_squad() -> Comparison:
    first, second = GENERATION.items()
    subject = {"tuned_subject": "squad_lora"}
    rows = [
        make_row(
            "squad_custom",
            "test",
            *first,
            primary=True,
            p_adjusted=0.0426,
            verdict="improved",
            **subject,
        ),
        make_row("squad_custom", "test", *second, **subject),
    ]
    return make_comparison("squad_custom", "test", GENERATION, rows, adapter="squad_lora")


def make_adapter(name: str, task: str) -> AdapterRun:
    history = [
        HistoryEntry(
            step=step,
            epoch=step / 40,
            loss=1.2 / (1 + step / 30) + 0.15,
            learning_rate=2e-4,
            grad_norm=1.0,
        )
        for step in range(1, 121)
    ]
    epochs = [
        HistoryEntry(step=40 * epoch, epoch=epoch, eval_loss=1.0 / epoch + 0.1)
        for epoch in (1, 2, 3)
    ]
    cost = TrainingCost(
        seconds=754.2,
        tokens=410_000,
        tokens_per_second=543.6,
        peak_rss_bytes=1300 * 2**20,
        peak_gpu_bytes=None,
        adapter_bytes=380_000,
        hardware="one CPU, 2 cores",
    )
    card = Card(
        name=name,
        recipe={
            "model": {"pretrained": "bundled"},
            "task": {"name": task},
            "train": {"seed": 42, "max_steps": None},
        },
        fingerprint="55ee",
        model=MODEL,
        task_hash="33cc",
        data_hash="44dd",
        chat_template_hash=None,
        trainable_parameters=90_000,
        examples=1200,
        truncated_examples=3,
        trained_tokens=2400,
        steps=120,
        final_loss=0.3871,
        cost=cost,
        provenance=PROVENANCE,
        files={"adapter_model.safetensors": "66ff"},
    )
    return AdapterRun(card=card, history=history + epochs)


def make_split_data(split: str, n: int) -> SplitData:
    lengths = Lengths(
        shortest=12, p5=20, median=61, p95=170, longest=212, edges=[12 + 20 * step for step in range(11)],
        counts=[6, 0, 3, 1, 0, 0, 0, 0, 0, 12],
    )  # fmt: skip
    return SplitData.model_validate(
        {
            "split": split, "n": n, "data_hash": "44dd", "labels": {"yes": n - 100, "no": 100}, "n_repeated": 0,
            "majority_share": (n - 100) / n, "random_share": 0.5, "lengths": lengths,
        }
    )  # fmt: skip


def make_data(task: str, where: str = "train.csv") -> DataReport:
    """The data of a task whose test split overlaps with train in 10 of 300 docs, and whose
    validation split doesn't."""
    counts = {"validation": (0, 0, 0), "test": (7, 6, 3)}
    overlaps = [
        SplitOverlap(
            split=split,
            against="train",
            n=300,
            n_exact=exact,
            n_same_answer=same,
            n_near=near,
            items=[],
        )
        for split, (exact, same, near) in counts.items()
    ]
    splits = [
        make_split_data("train", 1200),
        make_split_data("validation", 300),
        make_split_data("test", 300),
    ]
    return DataReport(
        task=task,
        splits=splits,
        overlaps=overlaps,
        lost=[LostRows(where=where, rows=1300, dropped=99, bad=1)],
    )


def make_study() -> Study:
    """Two tasks: one classification on all splits, one generation on test; an adapter each."""
    return Study(
        name="Two small tasks",
        comparisons=[make_snli("test"), make_snli("validation"), make_snli("train"), make_squad()],
        adapters=[
            make_adapter("snli_lora", "snli_custom"),
            make_adapter("squad_lora", "squad_custom"),
        ],
        notes=["4 of 300 prompts of squad_custom (test) were truncated."],
        command="ft-harness report results/snli_lora results/squad_lora --name two-small-tasks",
    )


def render_markdown(study: Study, figures: Mapping[str, str]) -> str:
    """What a report's Markdown file holds."""
    return markdown_page(build_document(study), figures)


def render_html(
    study: Study, figures: Mapping[str, bytes], explorer: Explorer | None = None
) -> str:
    """What a report's page holds."""
    return html_page(build_document(study), figures, explorer, find_verdicts(study))


def render_whole(
    study: Study, figures: Mapping[str, str], outliers: tuple[Outliers, ...] = ()
) -> str:
    """All that the page holds as Markdown, of which a report's own prints a part."""
    document = build_document(study, outliers=outliers)
    return markdown_page(replace(document, paper=document.blocks), figures)


# --- hostile text
# --------------------------------------------------------------------------------------------------

PAYLOADS = [
    "<script>alert(1)</script>",
    "</td></table></pre></code><b>out</b>",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "<!-- unfinished",
    "<https://evil.example>",
    "[x](javascript:alert(1))",
    "![x](http://evil.example/x.png)",
    "[x]: https://evil.example 'y'\n\n[x]",
    "```\n<b>out</b>\n`````\n<b>out</b>",
    "~~~\n</code></pre><b>out</b>",
    "`<i>x</i>`{=html} `y`{onclick=alert(1)} `",
    "a | b \\| c || d \\",
    "# head\n\n## head\n---\n===",
    "{{7*7}} ${7*7} $\\href{javascript:alert(1)}{x}$",
    "@user, someone@evil.example, #123, GH-1",
    "see https://evil.example or WWW.evil.example",
    "&lt;script&gt; &#60;script&#62; &commat;user",
    "\u202egnp.exe\u200b\ufeff\u2028line",
    "a\x00b\x1b]0;title\x07\r\x9b31m\x7f",
    "*a* **b** _c_ ~~d~~ ^e^ ~f~ [^1]",
    "::: warning\n::: {onclick=x}",
    "x" * 1_000_000,
]
PLAIN = "plain"
MARKED = "window.hacked = true"  # what every payload of ours would set
ATTACKS = [
    f"<script>{MARKED}</script>",
    f"</script><script>{MARKED}</script>",
    f"<img src=x onerror='{MARKED}'>",
    f"<svg onload='{MARKED}'><a href='javascript:{MARKED}'>x</a></svg>",
    '"><iframe srcdoc="<script>parent.hacked = true</script>">',
    f"<!--<script>{MARKED}//",
    "<link rel=stylesheet href=https://example.invalid/x.css><img src=https://example.invalid/x.png>",
    "{{ 7*7 }} ${alert(1)} \u2028\u2029 <b>&amp;",
    "<base href=https://example.invalid/><form action=https://example.invalid/><button>x</button></form>",
]


def make_hostile_case(payload: str) -> CaseSummary:
    """A case of each kind and a slice, with the payload in every text."""
    case = Case(
        item_key=payload,
        prompt=payload,
        gold=payload,
        base_answer=payload,
        tuned_answer=payload,
        choices=[Choice(name=payload, base=-1.0, tuned=None)],
        texts={payload: payload},
        tags=[payload],
        nearest=NearestExample(text=payload, answer=payload, similarity=0.5),
        why=payload,
    )
    found = Slice(
        kind=payload, value=payload, n=30, base=0.3, tuned=0.6, delta=0.3, low=0.1, high=0.5, p=0.001, p_adjusted=0.01,
        verdict="gained", counts={"corrected": 10, "broken": 1},
    )  # fmt: skip
    counts: dict[Transition, int] = {
        "still right": 0,
        "corrected": 1,
        "broken": 1,
        "not corrected": 1,
    }
    return CaseSummary(
        counts=counts,
        cases={name: [case] for name in counts},
        reason=None,
        metric="acc",
        by_gold={payload: counts},
        text_fields=[payload],
        slices=[found],
        definitions={payload: payload},
    )


def make_hostile_record(record: Record, payload: str) -> Record:
    """The record with the payload in every text from outside."""
    scores = [score.model_copy(update={"signature": payload}) for score in record.scores]
    model = record.model.model_copy(
        update={
            "pretrained": payload,
            "identity": payload,
            "revision": payload,
            "quantization": payload,
        }
    )
    assert record.adapter
    adapter = record.adapter.model_copy(update={"path": payload, "unchecked": [payload]})
    settings = record.settings.model_copy(
        update={
            "generation_kwargs": {payload: payload},
            "text_fields": [payload],
            "back_end": payload,
        }
    )
    back_end = BackEndInfo(
        name=payload, budget_bytes=1, fallback=payload, computed=1, reused=1, failed=1, halvings=1
    )
    changed = {
        "scores": scores,
        "model": model,
        "adapter": adapter,
        "settings": settings,
        "back_end": back_end,
    }
    return record.model_copy(update=changed | {"provenance": {payload: {payload: payload}}})


def make_hostile(payload: str) -> tuple[Study, dict[str, str]]:
    """A study with the payload in every text from outside, and its figures."""
    per_label = {f"{kind}_{payload}": (0.1, 0.2) for kind in ("precision", "recall", "f1")}
    values: dict[str, Values] = {"acc": (0.3, 0.4), f"f1_other {payload}": (0.1, 0.2), **per_label}
    methods = {"interval_method": payload, "p_method": payload}
    rows = [
        make_row(payload, "test", metric, pair, primary=metric == "acc", **methods)
        for metric, pair in values.items()
    ]
    comparison = make_comparison(payload, "test", values, rows, adapter=payload)
    confusion = ConfusionPair(labels=[payload], base=[[1, 2]], tuned=[[3, 0]])
    tuned = make_hostile_record(comparison.tuned, payload)
    changed = {
        "finding": payload,
        "cases": make_hostile_case(payload),
        "tuned": tuned,
        "confusion": confusion,
    }
    comparison = comparison.model_copy(update=changed)
    undecided = comparison.model_copy(
        update={"cases": CaseSummary(counts=None, cases=None, reason=payload)}
    )
    run = make_adapter(payload, payload)
    cost = run.card.cost.model_copy(update={"hardware": payload})
    recipe = {payload: {payload: [payload]}, "task": {"name": payload}}
    card = run.card.model_copy(update={"cost": cost, "recipe": recipe})
    study = Study(
        name=payload,
        comparisons=[comparison, undecided],
        adapters=[run.model_copy(update={"card": card, "data": make_data(payload, where=payload)})],
        notes=[payload],
        command=payload,
        repeats=[make_repeats(payload)],
    )
    return study, {
        "before_after": f"{payload}.png"[-200:],
        f"curves:{payload}": f"{payload}.png"[-200:],
    }


def make_repeats(name: str) -> Repeats:
    """Three seeds; their standard deviation is 0.02."""
    return Repeats(
        task=name, split="test", metric="acc", subjects=[name] * 3, seeds=[0, 1, 2], deltas=[0.30, 0.32, 0.34],
        mean=0.32, low=0.25, high=0.39, seed_deviation=0.02, test_error=0.03, units=300,
    )  # fmt: skip


def make_outliers(study: Study, text: str) -> list[Outliers]:
    """One item of the first comparison."""
    item = Outlier(item_key=text, text=text, units=7, base=4.25, tuned=3.5)
    record = study.comparisons[0].tuned
    return [
        Outliers(
            tuned=record,
            metric="token_ppl",
            items=[item],
            share=0.125,
            base_without=9.5,
            tuned_without=7.25,
        )
    ]


# --- studies that ask for more columns
# -----------------------------------------------------------------------------


def make_wide_study() -> Study:
    """Thirty comparisons: two tasks, five adapters, each with 0, 1 and 3 shots, on 400 items."""
    comparisons: list[Comparison] = []
    verdicts = ("improved", "no evidence", "worse")
    for task in ("sentiment_custom", "topic_custom"):
        for number, (name, shots) in enumerate(
            (f"adapter-{letter}", shots) for letter in "abcde" for shots in (0, 1, 3)
        ):
            delta = (0.2, 0.01, -0.1)[number % 3]
            row = make_row(
                task,
                "test",
                "acc",
                (0.5, 0.5 + delta),
                primary=True,
                tuned_subject=name,
                verdict=verdicts[number % 3],
                p=(0.0004, 0.41, 0.002)[number % 3],
                n=400,
            )
            found = make_comparison(task, "test", {"acc": (0.5, 0.5 + delta)}, [row], adapter=name)
            settings = found.tuned.settings.model_copy(update={"num_fewshot": shots})
            changed: dict[str, Any] = {"settings": settings, "eval_id": f"{task}-{name}-{shots}"}
            changes: dict[str, Any] = {"tuned": found.tuned.model_copy(update=changed)}
            changes["base"] = found.base.model_copy(
                update={"settings": settings, "eval_id": f"{task}-base-{shots}"}
            )
            if number == 2:
                changes["cautions"] = ["Recall fell: 'neutral' from 80.0 % to 12.0 %."]
            comparisons.append(found.model_copy(update=changes))
    return Study(
        name="Thirty", comparisons=comparisons, adapters=[], notes=[], command="ft-harness report x"
    )


def make_varied_study() -> Study:
    """One task on test: two adapters of 100 and 400 examples and other seeds, each with 0 and 3
    shots; and the first on a task that it was not trained on."""
    scored = {("small", 0): 0.5, ("small", 3): 0.55, ("large", 0): 0.7, ("large", 3): 0.65}
    comparisons: list[Comparison] = []
    for (name, shots), tuned in scored.items():
        row = make_row(
            "snli_custom",
            "test",
            "acc",
            (0.4, tuned),
            primary=True,
            tuned_subject=name,
            p_adjusted=0.04,
        )
        found = make_comparison("snli_custom", "test", {"acc": (0.4, tuned)}, [row], adapter=name)
        settings = found.tuned.settings.model_copy(update={"num_fewshot": shots})
        record = found.tuned.model_copy(update={"settings": settings, "eval_id": f"{name}-{shots}"})
        comparisons.append(found.model_copy(update={"tuned": record}))
    control = {"family": "control task", "tuned_subject": "small", "verdict": "worse"}
    row = make_row("other", "test", "acc", (0.6, 0.45), **control)
    found = make_comparison("other", "test", {"acc": (0.6, 0.45)}, [row], adapter="small")
    comparisons.append(found.model_copy(update={"role": "control task"}))
    runs = [make_adapter("small", "snli_custom"), make_adapter("large", "snli_custom")]
    sizes = {"small": (100, 7, 60.0), "large": (400, 8, 240.0)}
    adapters = []
    for run in runs:
        examples, seed, seconds = sizes[run.card.name]
        cost = run.card.cost.model_copy(update={"seconds": seconds})
        recipe = run.card.recipe | {"train": {"seed": seed}}
        card = run.card.model_copy(update={"examples": examples, "cost": cost, "recipe": recipe})
        adapters.append(run.model_copy(update={"card": card}))
    return Study(
        name="Varied",
        comparisons=comparisons,
        adapters=adapters,
        notes=[],
        command="ft-harness report x",
    )
