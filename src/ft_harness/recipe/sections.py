"""The recipe as a whole, its sections for model and task, and its fingerprint."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from ft_harness.data import DataOptions
from ft_harness.recipe.adapter_section import AdapterSection
from ft_harness.recipe.controls_section import ControlsSection
from ft_harness.recipe.eval_section import EvalSection
from ft_harness.recipe.section import Section
from ft_harness.recipe.sweep_section import SweepSection
from ft_harness.recipe.train_section import TrainSection
from ft_harness.records import SEQ_CLS
from ft_harness.storage import canonical_json, sha256_text

FINGERPRINT_VERSION = "recipe-6"


class ModelSection(Section):
    """The recipe's section for the base model."""

    pretrained: str = Field(default="bundled", description="hub id, folder, or 'bundled'")
    revision: str | None = Field(default=None, description="hub branch, tag or commit")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="'auto': as the checkpoint's config says"
    )
    max_length: int | None = Field(
        default=None, ge=8, description="context in tokens; null: the model's own"
    )
    quantization: Literal["nf4", "int8"] | None = Field(
        default=None, description="4-bit or 8-bit weights through bitsandbytes; null: as stored"
    )


class TaskSection(Section):
    """The recipe's section for the lm-eval task that is trained on and scored."""

    name: str = Field(
        description="a task of `ft-harness tasks list`, or any lm-eval YAML task with a training "
        "split"
    )
    include_path: str | None = Field(default=None, description="another folder with task YAMLs")
    apply_chat_template: bool = Field(
        default=False, description="render prompts with the tokenizer's chat template"
    )
    system_instruction: str | None = Field(
        default=None, min_length=1, description="the chat's system message"
    )
    fewshot_as_multiturn: bool = Field(
        default=True, description="under a chat template, few-shot examples are turns of their own"
    )
    text_fields: Annotated[tuple[str, ...], Field(min_length=1, max_length=2)] | None = Field(
        default=None,
        description="doc fields that a head reads as text, or text and pair; null: the rendered "
        "prompt",
    )

    @field_validator("system_instruction")
    @classmethod
    def _check_instruction(cls, value: str | None, info: ValidationInfo) -> str | None:
        """With plain prompts lm-eval would join it to the question."""
        if value is not None and not info.data.get("apply_chat_template"):
            raise ValueError(
                "task.apply_chat_template: true as well; plain prompts have the YAML's description"
            )
        return value

    @field_validator("text_fields")
    @classmethod
    def _check_text_fields(
        cls, value: tuple[str, ...] | None, info: ValidationInfo
    ) -> tuple[str, ...] | None:
        if value is not None and (
            len(set(value)) < len(value) or info.data.get("apply_chat_template")
        ):
            raise ValueError(
                "different fields, and no task.apply_chat_template, which renders a prompt"
            )
        return value


class Recipe(Section):
    """Everything that defines one experiment: all sections."""

    model: ModelSection = Field(default_factory=ModelSection)
    task: TaskSection
    data: DataOptions = Field(default_factory=DataOptions)
    adapter: AdapterSection = Field(default_factory=AdapterSection, validate_default=True)
    train: TrainSection = Field(default_factory=TrainSection)
    eval: EvalSection = Field(default_factory=EvalSection)
    controls: ControlsSection = Field(default_factory=ControlsSection)
    sweep: SweepSection | None = Field(
        default=None, description="what varies; null: this is one run"
    )

    @field_validator("adapter", mode="before")
    @classmethod
    def _read_none(cls, value: Any, info: ValidationInfo) -> Any:
        """`adapter: none` trains all weights: with a head where one reads the task's text
        fields."""
        if value != "none":
            return value
        task = info.data.get("task")
        return {
            "peft_type": None,
            "task_type": SEQ_CLS if task and task.text_fields else "CAUSAL_LM",
        }

    @field_validator("adapter")
    @classmethod
    def _check_adapter(cls, value: AdapterSection, info: ValidationInfo) -> AdapterSection:
        """A causal model reads the rendered prompt; weights of few bits can't be trained
        themselves."""
        task, model = info.data.get("task"), info.data.get("model")
        if task and task.text_fields and not value.has_head:
            raise ValueError(f"task_type: {SEQ_CLS} where task.text_fields is set")
        if value.all_weights and model and model.quantization:
            raise ValueError(
                "peft_type: LORA where model.quantization is set: weights of 4 or 8 bits can't be "
                "trained"
            )
        return value

    @field_validator("train")
    @classmethod
    def _check_loss(cls, value: TrainSection, info: ValidationInfo) -> TrainSection:
        """A head's targets are labels."""
        adapter = info.data.get("adapter")
        if adapter and adapter.has_head and value.loss_on != "answer":
            raise ValueError(
                f"loss_on: answer where adapter.task_type is {SEQ_CLS}: a head learns labels"
            )
        if adapter and adapter.has_head and value.objective != "answer":
            raise ValueError(
                f"objective: answer where adapter.task_type is {SEQ_CLS}: a head learns labels"
            )
        return value

    @field_validator("eval")
    @classmethod
    def _check_eval(cls, value: EvalSection, info: ValidationInfo) -> EvalSection:
        """Few-shot examples are part of a rendered prompt; only an adapter can be merged."""
        task = info.data.get("task")
        if task and task.text_fields and value.num_fewshot not in (0, (0,)):
            raise ValueError("num_fewshot: 0 where task.text_fields is set")
        adapter = info.data.get("adapter")
        if adapter and adapter.all_weights and value.merge:
            raise ValueError(
                "merge: false where all weights are trained: there is no adapter to merge"
            )
        if value.server and adapter and (adapter.has_head or adapter.all_weights):
            raise ValueError(
                "server: null where a head or all weights are trained: servers load LoRA alone"
            )
        if value.server and adapter and (unserved := adapter.beyond_lora()):
            raise ValueError(f"server: null where adapter.{unserved} is set: servers leave it out")
        return value

    @field_validator("controls")
    @classmethod
    def _check_controls(cls, value: ControlsSection, info: ValidationInfo) -> ControlsSection:
        """A control task differs from the trained one, and a head knows only its own labels."""
        task, adapter = info.data.get("task"), info.data.get("adapter")
        if value.tasks and adapter and adapter.has_head:
            raise ValueError(
                f"tasks: [] where adapter.task_type is {SEQ_CLS}: a head knows its own labels alone"
            )
        if task and task.name in value.tasks:
            raise ValueError(f"other tasks than {task.name}, which is trained on")
        return value

    def resolved(self) -> dict[str, Any]:
        """The recipe of one run as JSON values with every default filled in."""
        return self.model_dump(mode="json", exclude={"sweep"})

    def written(self) -> dict[str, Any]:
        """The fields that were written down, as JSON values: a field left out stays left out, so
        that the task's own value holds. A section that is null is one left out."""
        found = self.model_dump(mode="json", exclude_unset=True)
        return {name: section for name, section in found.items() if section is not None}

    def scoring_sections(self) -> dict[str, Any]:
        """The written fields that determine how a model is scored."""
        return {name: section for name, section in self.written().items() if name != "train"}

    def task_metadata(self) -> dict[str, Any]:
        """The recipe's data section as lm-eval metadata: `data.X` is `data_X`."""
        written = self.data.model_dump(mode="json", exclude_unset=True, exclude_none=True)
        return {f"data_{name}": value for name, value in written.items()}

    def adapter_sections(self) -> dict[str, Any]:
        """What determines the adapter, with defaults filled in: neither how it is scored nor how
        its training is divided."""
        scoring = ("eval", "controls")
        sections = {name: each for name, each in self.resolved().items() if name not in scoring}
        return sections | {"train": self.train.identity()}

    def fingerprint(self) -> str:
        """Hash of what the adapter is made of."""
        return sha256_text(f"{FINGERPRINT_VERSION}:{canonical_json(self.adapter_sections())}")
