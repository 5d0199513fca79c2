"""What lm-eval's results file says about a run: model, adapter and settings, and what it leaves
out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Literal

from ft_harness.records.lm_eval.files import Run
from ft_harness.records.schema import AdapterInfo, ForeignOutput, ModelInfo, Settings
from ft_harness.storage import canonical_json, sha256_text

UNKNOWN = "unknown"
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_COMPARED_ELSEWHERE = ("metadata", "num_fewshot", "generation_kwargs", "task_alias", "tag")
_GENERAL_NAMES = re.compile(
    r"checkpoint-\d+|adapter|adapter_model|final|lora|model|output|last|best"
)
_ALWAYS_UNKNOWN = ("weights",)
_WITHOUT_RESULTS = (
    *(
        "weights",
        "model",
        "dtype",
        "quantization",
        "task_version",
        "task_hash",
        "split",
        "num_fewshot",
        "limit",
    ),
    *(
        "chat_template_hash",
        "system_instruction",
        "max_length",
        "batch_size",
        "seed",
        "back_end",
        "device",
    ),
)
_PROVENANCE = (
    "lm_eval_version",
    "transformers_version",
    "git_hash",
    "date",
    "total_evaluation_time_seconds",
)


@dataclass(frozen=True)
class TaskRun:
    """One task of a run of lm-eval, as far as its results file says.

    Attributes:
        place: what a newer run must share to take this one's place.
        stated: "metric,filter" -> value.
        effective: how many docs were scored; None: not said.
        output_type: lm-eval's; None: not said.
        gold_field: what `doc_to_target` names, if it may be a doc field; None: not said.
        primary_metric: that the task's metadata declares.
    """

    place: tuple[Any, ...]
    subject: str
    model: ModelInfo
    adapter: AdapterInfo | None
    settings: Settings
    foreign: ForeignOutput
    stated: Mapping[str, Any]
    effective: int | None
    output_type: str | None
    gold_field: str | None
    primary_metric: str | None
    higher_is_better: Mapping[str, bool]
    provenance: dict[str, Any]

    def values(self, name: str) -> dict[str, float]:
        """The results of each metric under one filter, as far as they are numbers."""
        found: dict[str, float] = {}
        for key, value in self.stated.items():
            metric, _, by = str(key).partition(",")
            if (
                by in ("", name)
                and isinstance(value, int | float)
                and not isinstance(value, bool)
                and value == value
            ):
                found[metric] = float(value)
        return found

    def signature(self, name: str | None) -> str:
        """What made the scores, but for the metric's name."""
        settings = self.settings
        parts = {
            "task": f"{settings.task} v{settings.task_version} ({settings.task_hash})",
            "shots": settings.num_fewshot,
            "filter": name or "none",
            "back-end": settings.back_end,
            "dtype": self.model.dtype,
            "max_length": settings.max_length,
            "lm-eval": self.foreign.program.rpartition(" ")[2],
        }
        return "|".join(f"{key}:{value}" for key, value in parts.items())


def describe_run(run: Run, task: str, content: Mapping[str, Any]) -> TaskRun:
    """Read from lm-eval's results file what it says of one task of a run.

    Args:
        content: of the results file; empty without one.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is not as lm-eval writes it.
    """
    config, task_config = _object(content, "config"), _object(_object(content, "configs"), task)
    arguments = _model_arguments(config.get("model_args"))
    version = content.get("lm_eval_version")
    unknown = list(_ALWAYS_UNKNOWN if content else _WITHOUT_RESULTS)
    model, adapter = _model(config, arguments, unknown), _adapter(arguments)
    settings = _settings(content, task, task_config, arguments, unknown)
    effective = _object(_object(content, "n-samples"), task).get("effective")
    subject = adapter.name if adapter else f"base--{_last_part(model.pretrained)}"
    stated = {
        key: value
        for key, value in _object(_object(content, "results"), task).items()
        if "_stderr" not in key
    }
    protocol = (settings.split, settings.num_fewshot, settings.limit, settings.chat_template_hash)
    kwargs = canonical_json(settings.generation_kwargs)
    whose = subject, adapter and adapter.path, model.pretrained
    return TaskRun(
        place=(run.folder, *whose, model.dtype, model.quantization, task, *protocol, kwargs),
        subject=subject,
        model=model,
        adapter=adapter,
        settings=settings,
        foreign=ForeignOutput(
            program=f"lm-eval {version}"
            if isinstance(version, str)
            else f"lm-eval, version {UNKNOWN}",
            file="",
            unknown=list(dict.fromkeys(unknown)),
            unchecked=[],
        ),
        stated=stated,
        effective=effective if isinstance(effective, int) else None,
        output_type=task_config.get("output_type"),
        gold_field=_text(task_config.get("doc_to_target")),
        primary_metric=_text(_object(task_config, "metadata").get("primary_metric")),
        higher_is_better={
            name: value
            for name, value in (_object(_object(content, "higher_is_better"), task)).items()
            if isinstance(value, bool)
        },
        provenance={key: content[key] for key in _PROVENANCE if content.get(key) is not None},
    )


def _object(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = parent.get(name)
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _model_arguments(given: Any) -> dict[str, str]:
    """`--model_args` as they were given, from either of the forms in which lm-eval keeps them."""
    if isinstance(given, Mapping):
        return {str(key): str(value) for key, value in given.items()}
    parts = str(given or "").split(",")
    return {
        key.strip(): value.strip()
        for key, _, value in (part.partition("=") for part in parts)
        if key.strip()
    }


def _parts(path: str) -> list[str]:
    return [part for part in PureWindowsPath(PurePosixPath(path)).parts if part.strip("/\\")]


def _last_part(path: str) -> str:
    """The last part of a path or hub id, with the one before it where it would say nothing."""
    parts = _parts(path)
    general = len(parts) > 1 and _GENERAL_NAMES.fullmatch(parts[-1])
    return _join(parts[-2:] if general else parts[-1:] or [path or UNKNOWN])


def _join(parts: Sequence[str]) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in "--".join(parts))[-80:]


def names_apart(paths: Sequence[str]) -> dict[str, str]:
    """Names of models that lm-eval's results files know by path: as many of its last parts as it
    takes to distinguish them."""
    depth = 2
    while len({tuple(_parts(path)[-depth:]) for path in paths}) < len(paths) and depth < max(
        map(len, paths)
    ):
        depth += 1
    return {path: _join(_parts(path)[-depth:]) for path in paths}


def _model(
    config: Mapping[str, Any], arguments: Mapping[str, str], unknown: list[str]
) -> ModelInfo:
    """The base model; local weights have no identity but their path, those of the hub their
    commit."""
    pretrained = next(
        (arguments[key] for key in ("pretrained", "model", "path") if key in arguments), UNKNOWN
    )
    commit = config.get("model_sha") or None
    revision = arguments.get("revision")
    dtype = str(config.get("model_dtype") or arguments.get("dtype") or UNKNOWN).removeprefix(
        "torch."
    )
    if dtype in (UNKNOWN, "auto"):
        unknown.append("dtype")
    # A commit names weights; a path may hold others tomorrow.
    if commit:
        unknown.remove("weights")
    parameters = config.get("model_num_parameters")
    return ModelInfo(
        pretrained=pretrained,
        revision=revision,
        identity=str(commit or (f"{pretrained}@{revision}" if revision else pretrained)),
        dtype=dtype,
        quantization=_quantization(arguments),
        parameters=parameters if isinstance(parameters, int) and parameters > 0 else None,
    )


def _quantization(arguments: Mapping[str, str]) -> str | None:
    bits = {"load_in_4bit": "4bit", "load_in_8bit": "8bit", "autogptq": "gptq", "gptqmodel": "gptq"}
    found = [
        name
        for key, name in bits.items()
        if arguments.get(key, "False") not in ("False", "None", "0", "")
    ]
    found += [arguments["quantization"]] if arguments.get("quantization", "None") != "None" else []
    kinds = [f"{key}={arguments[key]}" for key in sorted(arguments) if key.startswith("bnb_")]
    return ", ".join([*found, *kinds]) or None


def _adapter(arguments: Mapping[str, str]) -> AdapterInfo | None:
    path = next(
        (arguments[key] for key in ("peft", "delta", "lora_local_path") if key in arguments), None
    )
    if path is None or path in ("None", ""):
        return None
    return AdapterInfo(
        name=_last_part(path),
        path=path,
        identity=f"named {path}",
        trainable_parameters=None,
        live_proof=None,
        unchecked=[
            "the base: the files of lm-eval do not record which base the adapter was trained on",
            "its weights, and whether they change what it says",
        ],
    )


def _settings(
    content: Mapping[str, Any],
    task: str,
    config: Mapping[str, Any],
    arguments: Mapping[str, str],
    unknown: list[str],
) -> Settings:
    run = _object(content, "config")
    generated = config.get("output_type") == "generate_until"
    version, shots = _object(content, "versions").get(task), _object(content, "n-shot").get(task)
    seed, template, length = (
        run.get("fewshot_seed"),
        content.get("chat_template"),
        content.get("max_length"),
    )
    batch = run.get("batch_size")
    cluster = _object(config, "metadata").get("cluster")
    missing = {
        "task_version": version,
        "num_fewshot": shots if isinstance(shots, int) else None,
        "task_hash": config or None,
        "max_length": length,
        "seed": seed,
        "back_end": run.get("model"),
    }
    unknown += [name for name, value in missing.items() if value is None]
    turns = content.get("fewshot_as_multiturn")
    return Settings(
        task=task,
        task_version=str(version) if version is not None else UNKNOWN,
        task_hash=_task_hash(config) if config else UNKNOWN,
        data_hash=UNKNOWN,
        split=_split(config, unknown),
        num_fewshot=shots if isinstance(shots, int) else 0,
        fewshot_as_multiturn=turns if isinstance(turns, bool) and shots and template else None,
        limit=_limit(run.get("limit"), _object(_object(content, "n-samples"), task)),
        sample_seed=None,
        chat_template_hash=_template_hash(template, content.get("chat_template_sha")),
        system_instruction=content.get("system_instruction") or None,
        cluster=cluster if isinstance(cluster, str) else None,
        generation_kwargs=dict(_object(config, "generation_kwargs")) | _decoding(run)
        if generated
        else {},
        max_length=length if isinstance(length, int) else None,
        batch_size=int(str(batch)) if str(batch).isdecimal() else None,
        seed=seed if isinstance(seed, int) else None,
        back_end=_back_end(run, arguments),
        device=str(run.get("device") or UNKNOWN),
    )


def _template_hash(template: Any, named: Any) -> str | None:
    """Of the template's text, or as the results name it where they leave the text out."""
    if isinstance(template, str) and template:
        return sha256_text(template)[:16]
    return named[:16] if isinstance(named, str) and template is None else None


def _decoding(run: Mapping[str, Any]) -> dict[str, Any]:
    """What `--gen_kwargs` put in the place of the task's own."""
    given = run.get("gen_kwargs")
    return dict(given) if isinstance(given, Mapping) else dict(_model_arguments(given))


def _limit(limit: Any, counted: Mapping[str, Any]) -> int | None:
    """Docs at most; a share of them is what it came to."""
    if not isinstance(limit, int | float) or isinstance(limit, bool):
        return None
    effective = counted.get("effective")
    return int(limit) if limit >= 1 or not isinstance(effective, int) else effective


def _split(config: Mapping[str, Any], unknown: list[str]) -> Literal["train", "validation", "test"]:
    """Which part of the data lm-eval scores: test where the task has one, else validation; what
    our own files in its layout say comes first."""
    for split in ("train", "validation", "test"):
        if _object(config, "metadata").get("split") == split:
            return split
    if config.get("test_split") or not config.get("validation_split"):
        if not config.get("test_split"):
            unknown.append("split")
        return "test"
    return "validation"


def _back_end(run: Mapping[str, Any], arguments: Mapping[str, str]) -> str:
    softmax = arguments.get("softmax_dtype")
    return f"{run.get('model') or UNKNOWN}{f', softmax {softmax}' if softmax else ''}"


def _task_hash(config: Mapping[str, Any]) -> str:
    """Of the task's definition as the results hold it; what is compared by itself and addresses in
    memory left out."""
    kept = {
        key: _ADDRESS.sub("", str(value))
        for key, value in config.items()
        if key not in _COMPARED_ELSEWHERE
    }
    return f"lm-eval {sha256_text(canonical_json(kept))[:16]}"
