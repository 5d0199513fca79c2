"""transformers' private parts that are replaced, as they were when they were read."""

from __future__ import annotations

import inspect

from transformers import dynamic_module_utils
from transformers.utils import chat_template_utils

from ft_harness.models import transformers_private
from ft_harness.models.templates import LimitedEnvironment


def test_code_of_models_is_imported_in_one_place():
    assert dynamic_module_utils.get_class_in_module is transformers_private.refuse_remote_code
    source = inspect.getsource(dynamic_module_utils)
    assert source.count(".exec_module(") == 1
    assert "return get_class_in_module(" in source


def test_chat_templates_are_compiled_in_one_environment():
    assert chat_template_utils.ImmutableSandboxedEnvironment is LimitedEnvironment
    source = inspect.getsource(chat_template_utils)
    assert source.count("ImmutableSandboxedEnvironment(") == 1
    assert "jinja_env.from_string(" in source
