"""transformers' private parts that are replaced, as they were when they were read."""

from __future__ import annotations

import inspect
from pathlib import Path

import transformers
from transformers import dynamic_module_utils
from transformers.generation import utils as generation_utils
from transformers.utils import chat_template_utils

from ft_harness.models import transformers_private
from ft_harness.models.templates import LimitedEnvironment


def test_code_of_models_is_imported_in_one_place():
    assert dynamic_module_utils.get_class_in_module is transformers_private.refuse_remote_code
    assert generation_utils.get_class_in_module is transformers_private.refuse_remote_code
    source = inspect.getsource(dynamic_module_utils)
    assert source.count(".exec_module(") == 1
    assert "return get_class_in_module(" in source


def test_chat_templates_are_compiled_in_one_environment():
    assert chat_template_utils.ImmutableSandboxedEnvironment is LimitedEnvironment
    source = inspect.getsource(chat_template_utils)
    assert source.count("ImmutableSandboxedEnvironment(") == 1
    assert "jinja_env.from_string(" in source


def test_that_function_is_used_by_name_where_it_is_known():
    """A module that imports it by name would keep transformers' own."""
    folder = Path(transformers.__file__).parent
    named = {
        str(path.relative_to(folder))
        for path in folder.rglob("*.py")
        if "get_class_in_module" in path.read_text(encoding="utf-8")
    }
    assert named == {"dynamic_module_utils.py", "generation/utils.py"}
