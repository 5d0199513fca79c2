"""The recipe's adapter section: PEFT's LoraConfig, or no adapter at all."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from ft_harness.recipe.section import Section
from ft_harness.records import SEQ_CLS

_Rank = Annotated[int, Field(ge=1, le=1024)]
_Index = Annotated[int, Field(ge=0)]
_AllWeights = ("peft_type", "task_type")  # the fields that apply when all weights are trained


class AdapterSection(Section):
    """PEFT's LoraConfig, by its own field names; with `peft_type: null` all weights of the model
    are trained."""

    refused: ClassVar[dict[str, str]] = {
        "alora_invocation_tokens": "it takes effect only after a phrase that some prompts lack, so "
        "that scores would mix both",
        "arrow_config": "it chooses between adapters that are trained already",
        "auto_mapping": "PEFT writes it, for classes outside transformers",
        "base_model_name_or_path": "PEFT writes it; the recipe names the base in model.pretrained",
        "corda_config": "its initialisation needs a pass over data, and changes the base's weights",
        "eva_config": "its initialisation needs a pass over data",
        "inference_mode": "an adapter is trained here",
        "kasa_config": "it cuts the base's weights, so that base and adapter can't be scored from "
        "one load",
        "layer_replication": "it turns the base into another model, which has no score of its own",
        "loftq_config": "it quantises the base itself and changes its weights; use "
        "model.quantization",
        "lora_ga_config": "its initialisation needs gradients over data, and changes the base's "
        "weights",
        "megatron_config": "it needs Megatron's own layers",
        "megatron_core": "it needs Megatron's own layers",
        "monteclora_config": "its sampling needs an additional term in the loss",
        "peft_version": "PEFT writes it",
        "qalora_group_size": "QA-LoRA is for GPTQ bases, which are not loaded here",
        "revision": "the recipe names the base's revision in model.revision",
        "runtime_config": "PEFT doesn't save it, so that the adapter folder would not say what "
        "made it",
        "use_bdlora": "its blocks serve inference over several GPUs, which is not done here",
        "use_qalora": "QA-LoRA is for GPTQ bases, which are not loaded here",
        "velora_config": "its backward pass is an approximation that no check here covers",
    }

    peft_type: Literal["LORA"] | None = Field(
        default="LORA", description="null: no adapter, all weights are trained"
    )
    task_type: Literal["CAUSAL_LM", "SEQ_CLS"] = Field(
        default="CAUSAL_LM",
        description=f"{SEQ_CLS}: a classification head, for multiple_choice tasks",
    )
    r: _Rank = Field(default=16, description="rank of the update")
    lora_alpha: int = Field(default=32, ge=1, description="the update is scaled by lora_alpha / r")
    lora_dropout: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="share of the adapter's inputs that is dropped in training",
    )
    target_modules: str | list[str] = Field(
        default="all-linear",
        description="modules that get an adapter: all-linear, names, or a pattern",
    )
    exclude_modules: str | list[str] | None = Field(
        default=None, description="modules that get no adapter: names, or a pattern"
    )
    modules_to_save: list[str] | None = Field(
        default=None, description="modules trained in full, in addition to a head's own"
    )
    bias: Literal["none", "all", "lora_only"] = Field(
        default="none", description="biases that are trained too"
    )
    use_rslora: bool = Field(default=False, description="scale by lora_alpha / sqrt(r)")
    use_dora: bool = Field(
        default=False, description="DoRA: magnitude and direction are trained separately"
    )
    lora_bias: bool = Field(default=False, description="a bias for each B")
    init_lora_weights: bool | Literal["gaussian", "orthogonal", "mica"] = Field(
        default=True, description="how A and B are initialised; true: B is 0"
    )
    layers_to_transform: list[_Index] | _Index | None = Field(
        default=None, description="indices of the layers that get an adapter; null: all"
    )
    layers_pattern: str | list[str] | None = Field(
        default=None, description="name of the list of layers, for layers_to_transform"
    )
    rank_pattern: dict[str, _Rank] = Field(default_factory=dict, description="module names -> r")
    alpha_pattern: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict, description="module names -> lora_alpha"
    )
    target_parameters: list[str] | None = Field(
        default=None, description="parameters that get their own adapter, such as experts' weights"
    )
    trainable_token_indices: list[_Index] | dict[str, list[_Index]] | None = Field(
        default=None, description="tokens whose embeddings are trained too"
    )
    fan_in_fan_out: bool = Field(
        default=False, description="weights are stored as (in, out), as GPT-2's are"
    )
    ensure_weight_tying: bool = Field(
        default=False, description="tied embeddings stay tied even if one of them is trained"
    )

    @field_validator("*")
    @classmethod
    def _check_all_weights(cls, value: Any, info: ValidationInfo) -> Any:
        """A field of LoRA means nothing where all weights are trained."""
        name = str(info.field_name)
        default = cls.model_fields[name].get_default(call_default_factory=True)
        if (
            name not in _AllWeights
            and info.data.get("peft_type", "LORA") is None
            and value != default
        ):
            raise ValueError("no field of LoRA where peft_type is null: all weights are trained")
        return value

    @property
    def has_head(self) -> bool:
        """Whether a classification head is trained."""
        return self.task_type == SEQ_CLS

    @property
    def all_weights(self) -> bool:
        """Whether all weights of the model are trained, and there is no adapter."""
        return self.peft_type is None

    def beyond_lora(self) -> str | None:
        """The first field with which the adapter is more than a LoRA of linear layers; None: it is
        no more."""
        fields = ("modules_to_save", "use_dora", "lora_bias", "trainable_token_indices")
        biases = ["bias"] if self.bias != "none" else []
        return next((name for name in (*biases, *fields) if getattr(self, name)), None)
