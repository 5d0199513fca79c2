"""The types of an adapter's card and of its history's lines."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from ft_harness.records.schema import SCHEMA_VERSION, SEQ_CLS, Frozen, ModelInfo


class EpochSummary(Frozen):
    """In the card: one epoch of a training; the last may be partial."""

    epoch: float = Field(description="epochs that were done at its end")
    loss: float = Field(description="mean training loss of its steps")
    eval_loss: float | None = Field(
        default=None, description="of its last evaluation; null: none was made"
    )
    scores: dict[str, float | None] | None = Field(
        default=None, description="of its last evaluation; null: none"
    )


class Ancestor(Frozen):
    """In the card: an adapter that this one was continued from."""

    name: str
    identity: str = Field(description="hash of its weights and what decides how they act")
    fingerprint: str | None = Field(
        description="of everything that made it; null here and below: made elsewhere"
    )
    epochs: float | None
    steps: int | None
    best_step: int | None = Field(
        default=None, description="step of the weights, where the best were kept"
    )


class SettingChange(Frozen):
    """In the card: a setting of execution that changed on the way; the steps are those of the whole
    recipe all the same."""

    step: int = Field(description="the first one with the new value")
    setting: str
    before: Any
    after: Any


class TrainingCost(Frozen):
    """In the card: what the training cost."""

    seconds: float = Field(
        description="of all stretches of a training that was continued, evaluations included"
    )
    evaluation_seconds: float | None = Field(
        default=None,
        description="of these, on validation and on the reference of pairs; null: not known",
    )
    tokens: int = Field(
        description="tokens of prompt and answer seen, padding not counted; by all processes"
    )
    tokens_per_second: float
    matmul_share: float | None = Field(
        default=None,
        description="useful operations per second / those of a matrix product; null: not measured",
    )
    processes: int = Field(default=1, description="that shared the training, in its last stretch")
    resumed_from_step: int | None = Field(
        default=None, description="the last stretch began after this step"
    )
    peak_rss_bytes: int = Field(
        description="of the process that took most, in the last stretch; off Linux since its start"
    )
    peak_gpu_bytes: int | None = Field(description="likewise, in training alone; null: no GPU")
    reserved_gpu_bytes: int | None = Field(
        default=None, description="peak kept by PyTorch; null: no GPU, or not known"
    )
    adapter_bytes: int
    hardware: str
    precision: str | None = Field(
        default=None, description="number formats of the base and of what was trained"
    )
    micro_batch_changes: list[SettingChange] = Field(
        default=[], description="rows computed at once, where memory ran out"
    )
    resumed_with: list[SettingChange] = Field(
        default=[], description="settings of execution that a resumed run changed"
    )
    epochs: list[EpochSummary] = Field(default=[], description="loss and scores by epoch")


class Probe(Frozen):
    """In the card: ten steps on the same eight rows before training, undone afterwards."""

    first: float | None = Field(
        description="loss per target before, without dropout; null here and below: not finite"
    )
    last: float | None
    verdict: Literal["falls", "stays", "rises", "no gradient", "near zero"]


class KnownAnswer(Frozen):
    """In the card: what base and adapter give for a real answer, so that a server can be checked
    without the weights."""

    stem: list[int] = Field(description="tokens of the prompt")
    answer: list[int] = Field(description="tokens of the answer")
    base: tuple[float, bool] = Field(
        description="log-likelihood in nats, and whether greedy decoding gives it"
    )
    tuned: tuple[float, bool]


class Card(Frozen):
    """The type of `adapters/<name>/card.json`: what an adapter is made of."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    recipe: dict[str, dict[str, Any]] = Field(description="the recipe with every default filled in")
    fingerprint: str = Field(description="hash of everything that makes the adapter")
    training_version: int = Field(default=1, description="of the training's own code")
    model: ModelInfo
    task_hash: str = Field(description="hash of the task's definition without its metrics")
    data_hash: str
    validation_hash: str | None = Field(
        default=None, description="null: validation decided nothing of the adapter"
    )
    chat_template_hash: str | None = Field(
        description="hash of the template's text; null: plain prompts"
    )
    system_instruction: str | None = Field(default=None, description="the chat's system message")
    trainable_parameters: int
    examples: int
    truncated_examples: int = Field(description="examples whose prompt was cut from the left")
    trained_tokens: int = Field(description="tokens that carry loss, once over the examples")
    steps: int
    final_loss: float = Field(description="mean training loss of the last tenth of the steps")
    best_step: int | None = Field(
        default=None,
        description="step of the evaluation whose weights these are; null: the last step's",
    )
    best_value: float | None = Field(
        default=None, description="its train.metric_for_best_model on validation"
    )
    lineage: list[Ancestor] = Field(
        default=[], description="adapters that this one continues, oldest first"
    )
    probe: Probe | None = Field(
        default=None, description="null: the training was too short for one"
    )
    known_answers: list[KnownAnswer] = Field(
        default=[],
        description="of the training's first rows; empty: no server loads it, or not known",
    )
    cost: TrainingCost
    provenance: dict[str, Any]
    files: dict[str, str] = Field(description="file name -> sha256, of what the adapter is")
    histories: dict[str, str] = Field(
        default={}, description="the same of history.jsonl and lineage.jsonl; empty: not known"
    )

    @property
    def has_head(self) -> bool:
        """Whether a classification head was trained."""
        return bool(self.recipe.get("adapter", {}).get("task_type") == SEQ_CLS)

    @property
    def is_whole(self) -> bool:
        """Whether all weights of the model were trained, and there is no adapter."""
        return self.recipe.get("adapter", {}).get("peft_type", "LORA") is None

    @property
    def target(self) -> str:
        """What carries loss."""
        return "label" if self.has_head else "trained token"

    @property
    def loss_unit(self) -> str:
        """What the losses are per, with their unit."""
        pairs = self.recipe.get("train", {}).get("objective") == "preference"
        return "per pair" if pairs else f"nats per {self.target}"


class HistoryEntry(Frozen):
    """The type of one line of `adapters/<name>/history.jsonl`."""

    step: int
    epoch: float
    loss: float | None = Field(
        default=None, description="mean training loss per trained token since the last entry"
    )
    learning_rate: float | None = None
    grad_norm: float | None = None
    eval_loss: float | None = Field(
        default=None, description="loss per trained token on the validation split"
    )
    scores: dict[str, float | None] | None = Field(
        default=None,
        description="the task's metrics on train.eval_scores validation docs; null: not scored",
    )


class LineageEntry(HistoryEntry):
    """The type of one line of `adapters/<name>/lineage.jsonl`: the history of an adapter that this
    one goes on from."""

    stretch: int = Field(description="which one of the card's lineage")
