"""A few prompts of a task of pairs, answered by the model itself: log-likelihoods of given answers
don't show what it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance

from ft_harness import processes
from ft_harness.data.answer_pairs import CHOSEN, REJECTED
from ft_harness.errors import ResourceError
from ft_harness.evaluation.backends import make_lm
from ft_harness.evaluation.jobs import Job, ModelState
from ft_harness.models.lm_eval_private.tasks import compiled_templates
from ft_harness.records.generations import GENERATIONS_FILE, Generation, Generations
from ft_harness.storage import sha256_text, write_text

_PROMPTS, _LOOKED_AT = 4, 100  # docs among which so many different prompts are looked for
_MOST_TOKENS = 64


def keep_generations(state: ModelState, job: Job, folder: Path) -> None:
    """Write what the model answers to the first prompts of a test split of pairs, once, next to
    their record; nothing for other tasks, and where several processes share the docs.

    What memory is not enough for is left out: no score rests on it.
    """
    docs = [job.task.eval_docs[number] for number in job.doc_ids[:_LOOKED_AT]]
    if job.settings.split != "test" or processes.count() > 1 or state.base.head is not None:
        return
    # Kept once: a finished evaluation that is asked for again loads no model for it.
    if not {CHOSEN, REJECTED} <= docs[0].keys() or (folder / GENERATIONS_FILE).exists():
        return
    with compiled_templates():
        prompts = list(dict.fromkeys(job.form.render(job.task, doc) for doc in docs))[:_PROMPTS]
    # Half of the context stays for the prompt.
    most = min(_MOST_TOKENS, state.base.max_length // 2)
    arguments = {"until": [], "max_gen_toks": most, "do_sample": False}
    requests = [
        Instance("generate_until", {}, (prompt, dict(arguments)), number)
        for number, prompt in enumerate(prompts)
    ]
    lm = make_lm(state.base, job.settings.batch_size or 1, job.settings.seed or 0)
    try:
        texts: list[Any] = lm.generate_until(requests, disable_tqdm=True)
    except ResourceError:
        return
    items = {
        sha256_text(prompt)[:16]: Generation(
            prompt=prompt, text=str(text).strip(), finished=not text.truncated
        )
        for prompt, text in zip(prompts, texts, strict=True)
    }
    found = Generations(max_gen_toks=most, items=items)
    write_text(folder / GENERATIONS_FILE, found.model_dump_json(indent=2) + "\n")
