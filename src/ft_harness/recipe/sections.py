"""The typed, strict, frozen sections of a recipe, and its fingerprint."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from ft_harness.data import DataOptions
from ft_harness.files import SPLITS, Split
from ft_harness.storage import canonical_json, sha256_text

FINGERPRINT_VERSION = "recipe-2"
_ROWS = re.compile(r"(?:first|last):([1-9]\d{0,5})")
Scheduler = Literal[
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt",
    "cosine_with_min_lr", "cosine_warmup_with_min_lr", "warmup_stable_decay",
]  # fmt: skip


class Section(BaseModel):
    """A part of the recipe: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_truth_for_number(cls, value: Any, info: ValidationInfo) -> Any:
        """pydantic would read `true` as 1."""
        annotation = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and annotation is not bool and bool not in get_args(annotation):
            raise ValueError("Input should not be true or false")
        return value


class ModelSection(Section):
    """The base model."""

    pretrained: str = Field(default="bundled", description="hub id, folder, or 'bundled'")
    revision: str | None = Field(default=None, description="hub branch, tag or commit")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="'auto': as the checkpoint's config says"
    )
    max_length: int | None = Field(default=None, ge=8, description="context in tokens; null: the model's own")
    quantization: Literal["nf4", "int8"] | None = Field(
        default=None, description="4-bit or 8-bit weights through bitsandbytes; null: as stored"
    )


class TaskSection(Section):
    """The lm-eval task that is trained on and scored."""

    name: str = Field(description="a task of `ft-harness tasks list`, or any lm-eval YAML task with a training split")
    include_path: str | None = Field(default=None, description="a further folder with task YAMLs")
    apply_chat_template: bool = Field(default=False, description="prompts through the tokenizer's chat template")
    system_instruction: str | None = Field(default=None, min_length=1, description="the chat's system message")
    fewshot_as_multiturn: bool = Field(
        default=True, description="under a chat template, few-shot examples are turns of their own"
    )
    text_fields: Annotated[tuple[str, ...], Field(min_length=1, max_length=2)] | None = Field(
        default=None, description="doc fields that a head reads as text, or text and pair; null: the rendered prompt"
    )

    @field_validator("system_instruction")
    @classmethod
    def _check_instruction(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Under plain prompts lm-eval would glue it to the question."""
        if value is not None and not info.data.get("apply_chat_template"):
            raise ValueError("task.apply_chat_template: true beside it; plain prompts have the YAML's description")
        return value

    @field_validator("text_fields")
    @classmethod
    def _check_text_fields(cls, value: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        if value is not None and (len(set(value)) < len(value) or info.data.get("apply_chat_template")):
            raise ValueError("different fields, and no task.apply_chat_template, which renders a prompt")
        return value


class AdapterSection(Section):
    """PEFT's LoraConfig, by its own field names."""

    task_type: Literal["CAUSAL_LM", "SEQ_CLS"] = Field(
        default="CAUSAL_LM", description="SEQ_CLS: a classification head, for multiple_choice tasks"
    )
    r: int = Field(default=16, ge=1, le=1024)
    lora_alpha: int = Field(default=32, ge=1)
    lora_dropout: float = Field(default=0.05, ge=0, lt=1)
    target_modules: str | list[str] = "all-linear"
    use_rslora: bool = False


class TrainSection(Section):
    """transformers' TrainingArguments, by their own field names."""

    learning_rate: float = Field(default=1e-3, gt=0)
    num_train_epochs: float = Field(default=2, gt=0)
    max_steps: int | None = Field(default=None, ge=1, description="stops here whatever the epochs")
    per_device_train_batch_size: int = Field(default=16, ge=1)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    lr_scheduler_type: Scheduler = "linear"
    warmup_steps: float = Field(default=0.05, ge=0, description="steps, or below 1 a share of all steps")
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    loss_on_eos: bool | None = Field(default=None, description="null: for generated answers only")
    seed: int = Field(default=0, ge=0, lt=2**32)

    def planned_steps(self, rows: int) -> int:
        """Optimizer steps of a training on this many rows; the last step of an epoch may be a partial one."""
        batches = math.ceil(rows / self.per_device_train_batch_size)
        steps = math.ceil(self.num_train_epochs * math.ceil(batches / self.gradient_accumulation_steps))
        return self.max_steps or steps


_Shots = Annotated[int, Field(ge=0)]


class EvalSection(Section):
    """How base and adapter are scored."""

    splits: tuple[Split, ...] = Field(default=SPLITS, min_length=1)
    num_fewshot: _Shots | Annotated[tuple[Annotated[_Shots, Field(strict=True)], ...], Field(min_length=1)] = Field(
        default=0, description="few-shot examples; a list: each number is scored"
    )
    fewshot_ids: str | tuple[Annotated[int, Field(ge=0, strict=True)], ...] | None = Field(
        default=None, description="fixed rows of the train split: first:5, last:3, or indices; null: a seeded sample"
    )
    generation_kwargs: dict[str, Any] | Annotated[tuple[dict[str, Any], ...], Field(min_length=1)] = Field(
        default_factory=dict, description="decoding, laid over the task's own; a list: each is scored"
    )
    train_limit: int = Field(
        default=1000, ge=1, description="the train split is scored on a seeded sample of this size"
    )
    merge: bool = Field(default=False, description="score adapters merged into the base's weights")
    limit: int | None = Field(default=None, ge=1, description="docs of each split, a seeded sample; null: all")
    batch_size: int = Field(default=32, ge=1)
    seed: int = Field(default=1234, ge=0, lt=2**32)

    @model_validator(mode="before")
    @classmethod
    def _count_fixed_rows(cls, content: Any) -> Any:
        """Fixed rows say how many they are."""
        if isinstance(content, dict) and content.get("fewshot_ids") and "num_fewshot" not in content:
            return {**content, "num_fewshot": _count_rows(content["fewshot_ids"])}
        return content

    @field_validator("fewshot_ids")
    @classmethod
    def _check_fixed_rows(cls, value: str | tuple[int, ...] | None, info: ValidationInfo) -> Any:
        count = _count_rows(value) if value is not None else None
        if count == 0 or (not isinstance(value, str | None) and len(set(value)) < len(value)):
            raise ValueError("first:N, last:N or a list of different row indices")
        asked = info.data.get("num_fewshot", count)
        if count is not None and asked != count and not (isinstance(asked, tuple) and set(asked) == {0, count}):
            raise ValueError(f"as many rows as num_fewshot says ({asked}), or no num_fewshot")
        return value

    @field_validator("num_fewshot", "generation_kwargs")
    @classmethod
    def _check_lists(cls, value: Any) -> Any:
        if isinstance(value, tuple) and any(value.count(each) > 1 for each in value):
            raise ValueError("each value of the list once")
        return value

    @property
    def shots(self) -> int:
        """Few-shot examples of one protocol."""
        assert isinstance(self.num_fewshot, int), "one of protocols() is meant"
        return self.num_fewshot

    @property
    def decoding(self) -> dict[str, Any]:
        """Generation arguments of one protocol."""
        assert isinstance(self.generation_kwargs, dict), "one of protocols() is meant"
        return self.generation_kwargs

    def protocols(self) -> list[EvalSection]:
        """Every number of shots with every decoding, one section each, in the order they were written."""
        shots = self.num_fewshot if isinstance(self.num_fewshot, tuple) else (self.num_fewshot,)
        decodings = self.generation_kwargs if isinstance(self.generation_kwargs, tuple) else (self.generation_kwargs,)
        return [
            self.model_copy(
                update={
                    "num_fewshot": count,
                    "generation_kwargs": decoding,
                    "fewshot_ids": self.fewshot_ids if count else None,
                }
            )
            for count in shots
            for decoding in decodings
        ]

    def fewshot_rows(self, total: int) -> list[int] | None:
        """Indices of the fixed few-shot rows in a train split of `total` rows, which may lack them; None: a sample."""
        if not isinstance(self.fewshot_ids, str):
            return list(self.fewshot_ids) if self.fewshot_ids else None
        start = 0 if self.fewshot_ids.startswith("first") else total - self.shots
        return list(range(start, start + self.shots))


def _count_rows(ids: Any) -> int:
    """How many rows `eval.fewshot_ids` names; 0 where it is malformed."""
    if isinstance(ids, str):
        match = _ROWS.fullmatch(ids)
        return int(match[1]) if match else 0
    return len(ids) if isinstance(ids, list | tuple) else 0


class Recipe(Section):
    """Everything that one experiment is."""

    model: ModelSection = Field(default_factory=ModelSection)
    task: TaskSection
    data: DataOptions = Field(default_factory=DataOptions)
    adapter: AdapterSection = Field(default_factory=AdapterSection, validate_default=True)
    train: TrainSection = Field(default_factory=TrainSection)
    eval: EvalSection = Field(default_factory=EvalSection)

    @field_validator("adapter")
    @classmethod
    def _check_head(cls, value: AdapterSection, info: ValidationInfo) -> AdapterSection:
        """A causal model reads the rendered prompt."""
        task = info.data.get("task")
        if task and task.text_fields and value.task_type != "SEQ_CLS":
            raise ValueError("task_type: SEQ_CLS where task.text_fields is set")
        return value

    @field_validator("eval")
    @classmethod
    def _check_shots(cls, value: EvalSection, info: ValidationInfo) -> EvalSection:
        """Few-shot examples are part of a rendered prompt."""
        task = info.data.get("task")
        if task and task.text_fields and value.num_fewshot not in (0, (0,)):
            raise ValueError("num_fewshot: 0 where task.text_fields is set")
        return value

    def resolved(self) -> dict[str, Any]:
        """The recipe as JSON values with every default filled in."""
        return self.model_dump(mode="json")

    def task_metadata(self) -> dict[str, Any]:
        """The recipe's data section as lm-eval metadata: `data.X` is `data_X`."""
        written = self.data.model_dump(mode="json", exclude_unset=True, exclude_none=True)
        return {f"data_{name}": value for name, value in written.items()}

    def adapter_sections(self) -> dict[str, Any]:
        """What the adapter is made of, defaults filled in; how it is scored afterwards does not belong to it."""
        return {name: section for name, section in self.resolved().items() if name != "eval"}

    def fingerprint(self) -> str:
        """Hash of what the adapter is made of."""
        return sha256_text(f"{FINGERPRINT_VERSION}:{canonical_json(self.adapter_sections())}")
