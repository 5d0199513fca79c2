"""The types of a record and its samples; and how subjects and items are named in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from ft_harness.storage import redact, sha256_text

SCHEMA_VERSION: Literal[1] = 1
RECORD_FILE = "record.json"
SAMPLES_FILE = "samples.jsonl.gz"
REPORT_FILES = "files.json"  # in a report's folder: names of what the report wrote
SEQ_CLS: Final = "SEQ_CLS"  # the task type of an adapter that trains a classification head
_ITEMS = json.JSONEncoder(sort_keys=True, ensure_ascii=False, default=str)  # one for all items
SCORES_FILE = "scores.parquet"  # the same outcomes in columns, without texts of docs and prompts


class Frozen(BaseModel):
    """A typed part of a record: unknown keys are refused, values never change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=()
    )


class Numerous(Frozen):
    """A typed part of a record that occurs a hundred thousand times in a big study: remembering
    which fields were given, which nobody asks for, would take a third of the memory."""

    def model_post_init(self, context: Any) -> None:
        self.model_fields_set.clear()


class ModelInfo(Frozen):
    """In a record: the base model that was scored."""

    pretrained: str = Field(description="hub id, folder or 'bundled', as given")
    revision: str | None = None
    identity: str = Field(description="hash of configuration and weights, or the hub commit")
    dtype: str
    quantization: str | None = Field(
        default=None, description="bits and compute dtype; null: not quantised"
    )
    parameters: int | None = Field(
        description="logical parameters of the base model; null: not known"
    )
    head: str | None = Field(
        default=None,
        description="hash of the freshly drawn classification head; null: none was drawn",
    )


class LiveProof(Frozen):
    """In a record: evidence that the adapter changes the base model's output on real prompts of the
    task."""

    prompts: int
    max_logit_change: float | None = Field(
        description="largest absolute difference of a next-token logit; null: a server states none"
    )
    changed_prompts: int = Field(
        description="prompts whose logits changed at all; on a server, whose answers did"
    )


class AdapterInfo(Frozen):
    """In a record: the adapter that was scored."""

    name: str
    path: str
    identity: str = Field(description="sha256 over the adapter's weight and configuration files")
    trainable_parameters: int | None = Field(description="null: not known")
    live_proof: LiveProof | None = Field(
        description="null: scored by another program, nothing was proven"
    )
    ends: list[int] = Field(
        default_factory=list,
        description="tokens that end an answer too: the end tokens of the adapter's own tokenizer",
    )
    merge_drift: float | None = Field(
        default=None,
        description="largest change of a logit by merging alone; null: scored unmerged",
    )
    unchecked: list[str] = Field(
        default_factory=list,
        description="what could not be checked, one sentence each; one about the base begins with "
        "'the base'",
    )

    @property
    def doubt_of_base(self) -> str | None:
        """Why it is not known whether it was trained on this base; None: it was."""
        doubts = (what.partition(": ") for what in self.unchecked)
        return next((why for what, _, why in doubts if what.startswith("the base")), None)


class Settings(Frozen):
    """In a record: everything that determines a score besides model and adapter. Scores are
    comparable only if these are equal."""

    task: str
    task_version: str
    task_hash: str = Field(
        description="hash of the task's definition: prompts, answers, stop rule, metrics"
    )
    request_hash: str | None = Field(
        default=None,
        description="hash of what makes the task's requests: no metrics; null: not known",
    )
    data_hash: str = Field(description="hash of the docs that were scored, in order")
    split: Literal["train", "validation", "test"]
    num_fewshot: int
    fewshot_ids: list[int] | None = Field(
        default=None,
        description="fixed few-shot rows of the train split, in order; null: sampled per item",
    )
    fewshot_hash: str | None = Field(
        default=None,
        description="hash of the rows that few-shot examples are taken from; null: zero-shot",
    )
    fewshot_as_multiturn: bool | None = Field(
        default=None, description="null: zero-shot or no chat template"
    )
    limit: int | None
    sample_seed: int | None = Field(
        description="seed of the sample of the split; null if the whole split was scored"
    )
    chat_template_hash: str | None = Field(
        description="hash of the template's text; null: plain prompts"
    )
    system_instruction: str | None = Field(default=None, description="the chat's system message")
    text_fields: list[str] | None = Field(
        default=None,
        description="doc fields that a classification head reads; null: the rendered prompt",
    )
    cluster: str | None = Field(
        default=None,
        description="doc field whose equal values make a cluster; null: each item alone",
    )
    generation_kwargs: dict[str, Any]
    generation_hash: str | None = Field(
        default=None,
        description="hash of the model's own generation settings; null: nothing is generated",
    )
    max_length: int | None = Field(
        description="of prompt and answer in tokens; null here and below: not known"
    )
    batch_size: int | None
    seed: int | None
    back_end: str = Field(description="lm-eval model that scored, and its softmax dtype")
    device: str


class Score(Numerous):
    """In a record: one metric on one split."""

    metric: str
    value: float | None = Field(description="null: undefined")
    low: float | None = Field(description="lower end of the 95 % interval")
    high: float | None
    n: int
    n_invalid: int = Field(description="docs whose answer could not be read or scored")
    n_truncated: int = Field(
        description="docs whose prompt was cut from the left to fit the context"
    )
    higher_is_better: bool
    signature: str = Field(description="human-readable line of what made the score")
    is_stated: bool = Field(
        default=False,
        description="another program's number as it stated it: the samples hold nothing to make it",
    )


class Cost(Frozen):
    """In a record: what the evaluation cost."""

    seconds: float
    tokens: int = Field(description="prompt and answer tokens that were scored or generated")
    peak_rss_bytes: int
    peak_gpu_bytes: int | None


class BackEndInfo(Frozen):
    """In a record: how the back-end answered; counts are of requests; a doc may have several."""

    name: str
    budget_bytes: int | None = Field(
        description="memory that a batch could take next to the weights; null: not planned"
    )
    fallback: str | None = Field(
        description="why it went the plain way; null: it did not, or nothing was computed"
    )
    processes: int = Field(default=1, description="that shared the docs")
    computed: int = Field(description="requests computed by the model")
    reused: int = Field(
        description="requests answered from the response store; cost.tokens counts theirs too"
    )
    failed: int = Field(description="requests that memory was not enough for, alone in a batch")
    halvings: int = Field(
        description="how often a batch ran out of memory and the budget of its length was halved"
    )


class Agreement(Frozen):
    """In a record: how far servers agreed with the weights, asked for the log-likelihoods of real
    answers one by one, then many at once and in another order."""

    engine: str = Field(description="program and version, as the servers state them")
    model: str = Field(description="name that the servers know it by")
    servers: int
    probes: int = Field(description="answers that were compared, on each server")
    source: Literal["weights", "card"] = Field(
        description="what they were compared with: the weights on this machine under ft-causal, or "
        "what the adapter's card says they gave"
    )
    nats: float = Field(description="largest difference of a log-likelihood")
    flips: int = Field(description="answers that are the likeliest for one and not the other")
    tolerance: float = Field(description="nats, beyond which nothing would have been scored")
    change: float | None = Field(
        default=None,
        description="largest change of a log-likelihood by the adapter, on the server; null: the "
        "base alone",
    )


class ForeignOutput(Frozen):
    """In a record: where another program's evaluation comes from, and what that program did not
    write down."""

    program: str = Field(
        description="name and version: what it does not say may differ between two versions"
    )
    file: str
    filter: str | None = Field(
        default=None, description="what lm-eval did to the responses; null: nothing"
    )
    unknown: list[str] = Field(
        description="fields of settings and model that are not known; their values mean nothing"
    )
    unchecked: list[str] = Field(
        description="what our own evaluations check and this one does not, one sentence each"
    )
    several_right: int = Field(
        default=0, description="items with more than one right choice: no majority class then"
    )


class Record(Frozen):
    """`record.json`: one evaluation."""

    schema_version: Literal[1] = SCHEMA_VERSION
    eval_id: str
    status: Literal["complete", "partial", "failed"]
    subject: str = Field(description="an adapter's name, or base--<model>")
    model: ModelInfo
    adapter: AdapterInfo | None
    settings: Settings
    scores: list[Score]
    cost: Cost | None = Field(description="null: scored by another program")
    back_end: BackEndInfo | None = Field(
        default=None, description="null: written before this was kept"
    )
    agreement: Agreement | None = Field(
        default=None, description="of the servers that computed it; null: this machine did"
    )
    rescored_from: str | None = Field(
        default=None, description="evaluation whose responses were scored again"
    )
    provenance: dict[str, Any]
    foreign: ForeignOutput | None = Field(default=None, description="null: made by ft-harness")
    primary_metric: str | None = Field(
        default=None, description="that the recipe or the task declares; null: none is declared"
    )
    recipe: dict[str, Any] | None = Field(
        default=None, description="what the recipe said, training left out; null: not known"
    )
    is_control: bool = Field(
        default=False, description="of an adapter: the recipe lists the task under controls"
    )
    files: dict[str, str] = Field(
        default={}, description="sha256 of the files next to the record; empty: not known"
    )


class Sample(Frozen):
    """A sample: the outcome for one doc, one line of `samples.jsonl.gz`."""

    item_key: str = Field(
        description="doc hash + occurrence number: the same item in every evaluation"
    )
    doc_id: int
    doc: dict[str, Any]
    prompt: str
    prompt_hash: str
    target: str = Field(description="the right answer; of several the first")
    target_hash: str
    responses: list[Any] = Field(
        description="[log-likelihood, is_greedy] per choice, or the generated text"
    )
    prediction: str | None
    invalid: bool
    truncated: bool
    scores: dict[str, list[float] | float | None] = Field(
        description="all null where failed is not null"
    )
    targets: list[str] | None = Field(
        default=None, description="all right answers, where an item may have several"
    )
    choices: list[str] | None = Field(
        default=None,
        description="what it chose from, as it was scored, in the order of the responses; null: "
        "no choice, or not kept",
    )
    tokens: list[int] | None = Field(
        default=None, description="tokens that were scored, for each response; null: not counted"
    )
    unfinished: list[bool] | None = Field(
        default=None,
        description="for each generated text, whether the token limit ended it; null: not known",
    )
    failed: str | None = Field(
        default=None, description="why there is no response or no score; null: there is"
    )


def item_hash(doc: Mapping[str, Any]) -> str:
    """The key of an item in samples: hash of a doc's content, the same in every evaluation,
    whatever its position."""
    return sha256_text(_ITEMS.encode(doc))[:16]


def describe_record(record: Record) -> str:
    """What a record is called: where its evaluation lies below the results folder."""
    return f"{record.subject}/{record.eval_id}"


def base_subject(pretrained: str) -> str:
    """The subject of a base model in its records: a name that is one folder."""
    plain = "".join(
        c if c.isalnum() or c in "._-" else "-" for c in redact(Path(pretrained).name or pretrained)
    )
    return f"base--{plain[:80]}"
