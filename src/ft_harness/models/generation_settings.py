"""What a model's own settings say of generation."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, GenerationConfig

from ft_harness.errors import InputError, first_line
from ft_harness.paths import model_folder
from ft_harness.recipe import ModelSection


def generation_settings(model: Any) -> dict[str, Any]:
    """A model's own settings of generation where they differ from transformers' defaults:
    penalties, sampling, end tokens."""
    settings: dict[str, Any] = model.generation_config.to_diff_dict()
    settings.pop("transformers_version", None)
    return {
        name: value.to_dict() if hasattr(value, "to_dict") else value
        for name, value in settings.items()
    }


def load_generation_config(section: ModelSection) -> GenerationConfig:
    """The settings that transformers generates with.

    Raises:
        InputError: it refuses them.
    """
    folder, options = model_folder(section.pretrained), {"revision": section.revision or "main"}
    try:
        return GenerationConfig.from_pretrained(folder, **options)
    except (
        OSError
    ):  # no generation_config.json: transformers makes one of the model's configuration
        return GenerationConfig.from_model_config(AutoConfig.from_pretrained(folder, **options))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{section.pretrained}: transformers refuses its generation_config.json "
            f"({first_line(error)})",
            "settings of greedy, beam or sampled answers",
            "change generation_config.json",
        ) from error
