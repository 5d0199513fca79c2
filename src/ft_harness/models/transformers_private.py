"""transformers' private parts, each with its reason; `tests/models/test_transformers_private.py`
fails when a new transformers changes one of them."""

from __future__ import annotations

from typing import Any

from transformers import dynamic_module_utils
from transformers.utils import chat_template_utils

from ft_harness.errors import PolicyError
from ft_harness.models.templates import LimitedEnvironment


def refuse_remote_code(class_name: str, module_path: Any, **_: Any) -> type:
    """In place of a private function of transformers, which imports the code of a model's folder or
    repository: refuse it.

    `trust_remote_code=False` keeps our own calls from it; lm-eval's long-context tasks say True.

    Raises:
        PolicyError: always.
    """
    raise PolicyError(
        f"{module_path}: code of a model would run ({class_name})",
        "a model whose classes are part of transformers; no flag allows its own code",
        "use another model, or lm_eval itself at your own risk",
    )


dynamic_module_utils.get_class_in_module = refuse_remote_code
# A chat template is a stranger's too: rendered with the limits of a task's.
chat_template_utils.ImmutableSandboxedEnvironment = LimitedEnvironment
