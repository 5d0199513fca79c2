"""How lm-eval renders a task's prompts, plain or through a chat template: training and scoring
alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lm_eval.api.task import ConfigurableTask
from lm_eval.api.utils import ends_with_whitespace

from ft_harness.errors import FtHarnessError, InputError, first_line


@dataclass(frozen=True, eq=False)
class PromptForm:
    """How lm-eval is asked to render prompts, in its own names; `PLAIN` is plain text.

    Attributes:
        chat_template: messages -> text, as lm-eval's `hf` model has it; None: plain text.
        chat_template_hash: of the template's text.
        closing_ids: the tokens that end an answer of a chat model; None: EOS.
        notes: what a user should know about this template.
    """

    chat_template: Callable[..., str] | None = None
    chat_template_hash: str | None = None
    system_instruction: str | None = None
    fewshot_as_multiturn: bool = False
    closing_ids: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def apply_chat_template(self) -> bool:
        return self.chat_template is not None

    def render(self, task: ConfigurableTask, doc: Mapping[str, Any], num_fewshot: int = 0) -> str:
        """The prompt of a doc, as lm-eval builds it; few-shot examples are drawn by the task's
        sampler.

        Raises:
            InputError: the chat template refuses the messages.
        """
        try:
            prompt: str = task.fewshot_context(
                doc,
                num_fewshot,
                system_instruction=self.system_instruction,
                apply_chat_template=self.apply_chat_template,
                fewshot_as_multiturn=self.fewshot_as_multiturn,
                chat_template=self.chat_template,
                gen_prefix=task.doc_to_prefix(doc),
            )
        except FtHarnessError:
            raise
        except Exception as error:  # whatever an expression of the template raises
            if self.apply_chat_template:
                raise refused_chat(task.config.task, error) from error
            raise
        return prompt

    def delimiter(self, task: ConfigurableTask) -> str:
        """The text between prompt and answer: under a chat template nothing, unless a
        `gen_prefix` starts the answer (lm-eval's rule in `construct_requests`)."""
        prefix, usual = task.config.gen_prefix, str(task.config.target_delimiter)
        if not self.apply_chat_template:
            return usual
        return usual if prefix and not ends_with_whitespace(prefix) else ""


PLAIN = PromptForm()


def refused_chat(what: str, error: Exception) -> InputError:
    """The fault of a chat template that can't render a task's prompts as messages."""
    return InputError(
        f"{what}: the chat template refuses the messages ({first_line(error)})",
        "a template for system, user and assistant messages",
        "use another base model, or leave task.apply_chat_template out",
    )
