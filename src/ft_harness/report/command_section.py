"""The report's section on commands: lines that reproduce the report in a new folder with the same
data."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from pydantic import ValidationError

from ft_harness.comparison.aggregator import Comparison, Study
from ft_harness.recipe import Recipe, write_overrides, write_recipe
from ft_harness.records import Record
from ft_harness.report.document import Block, Paragraph, Verbatim

_MOST_SET = 8  # fields that a command replaces; a recipe that differs in more is written out
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")  # of one folder
_SCORING = ("model", "task", "data", "eval", "controls")
_LONGEST = 30_000  # characters, so that no command that a person gave is cut
# as lm-eval says it
_QUANTISED = {"4bit": "load_in_4bit=True", "8bit": "load_in_8bit=True", "gptq": "gptqmodel=True"}
_SAID = "Run in a new folder{data}, these lines make this report again; what is finished is reused:"
_DATA = ", with the data where the recipes name it"
_AGAIN = "With their output in place, this makes the report again:"
_UNSAFE = re.compile(r"[\"<>:/|\\?*\[\]]+")  # what lm-eval replaces in a folder's name
_ELSEWHERE = (
    "What it compares was scored by other programs, or with recipes that are not recorded. As far "
    "as the files tell, these lines score it again:"
)


def command_section(study: Study) -> list[Block]:
    """The section on commands: recipes and commands of a whole study; then commands for what has no
    known recipe."""
    script = _Script()
    kind = [*study.command.split(), "", ""][1]
    if study.sweep is not None:
        script.add_recipe(study.name, _parse(study.sweep.written))
    elif kind == "run":
        for run in study.adapters:
            script.add_recipe(run.card.name, _parse(run.written))
    elif kind != "demo":
        for run in study.adapters:
            script.train(run.card.name, _parse(run.written))
        for recipe, subject, folder in _list_scored(study):
            script.ask(recipe, subject, folder)
        script.score()
        script.lines += _rescore(study)
    has_recipes = bool(script.lines)
    script.lines.append(study.command)
    elsewhere = [] if study.sweep or kind in ("run", "demo") else _list_elsewhere(study)
    again = Verbatim("\n".join(script.lines), _LONGEST)
    if not elsewhere:
        return [Paragraph(_SAID.format(data=_DATA if has_recipes else "")), again]
    others: list[Block] = [Paragraph(_ELSEWHERE), Verbatim("\n".join(elsewhere), _LONGEST)]
    # Adapters are trained before they are scored; without recipes nothing comes before.
    if has_recipes:
        return [Paragraph(_SAID.format(data=_DATA)), again, *others]
    return [*others, Paragraph(_AGAIN), again]


class _Script:
    """Lines of a shell: each recipe is written once, and others are reached from it by `--set`."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._files: dict[str, Recipe] = {}  # folder -> the recipe in it
        # what was scored alike: a recipe without training -> (it, subject, adapter folders)
        self._asked: dict[str, tuple[Recipe, str, list[str]]] = {}

    def add_recipe(self, name: str, recipe: Recipe | None, folder: str = "adapters") -> str | None:
        """Write a recipe into a folder of its own; the folder, None: no recipe is known."""
        if recipe is None or not _NAME.fullmatch(name):
            return None
        path = f"{folder}/{name}"
        if path not in self._files:
            text = write_recipe(recipe.written())
            # No line of the recipe may end the text that the shell reads.
            end = "END"
            while end in text.splitlines():
                end += "_"
            self.lines += [f"mkdir -p {path}", f"cat > {path}/recipe.yaml <<'{end}'"]
            self.lines += [*text.splitlines(), end]
            self._files[path] = recipe
        return path

    def train(self, name: str, recipe: Recipe | None) -> None:
        """Make an adapter."""
        if recipe is None or not _NAME.fullmatch(name):
            return
        found = [(path, write_overrides(old, recipe)) for path, old in self._files.items()]
        near = _nearest(found)
        if near is None:
            words = [str(self.add_recipe(name, recipe))]
        else:
            words = [near[0], "--name", name, *near[1]]
            # The command leaves a copy of the recipe there, from which later ones may start.
            self._files.setdefault(f"adapters/{name}", recipe)
        self.lines.append(shlex.join(["ft-harness", "train", *words]))

    def ask(self, recipe: Recipe, subject: str, folder: str | None) -> None:
        """Have a subject scored, with all others of the same recipe."""
        content = {key: value for key, value in recipe.written().items() if key in _SCORING}
        key = json.dumps(content, sort_keys=True)
        _, _, folders = self._asked.setdefault(key, (recipe, subject, []))
        if folder is not None and folder not in folders:
            folders.append(folder)

    def score(self) -> None:
        """Score what was asked for."""
        for recipe, subject, folders in self._asked.values():
            near = _nearest(
                [(path, _write_scoring(old, recipe)) for path, old in self._files.items()]
            )
            if near is None:
                name = subject if _NAME.fullmatch(subject) else "other"
                near = str(self.add_recipe(name, recipe, "recipes")), []
            adapters = [word for folder in folders for word in ("--adapter", folder)]
            words = ["ft-harness", "eval", near[0], *adapters, *near[1]]
            self.lines.append(shlex.join(words))


def _parse(written: Mapping[str, Any] | None) -> Recipe | None:
    """None: not known, or of another release."""
    try:
        return None if written is None else Recipe.model_validate(written)
    except ValidationError:
        return None


def _nearest(found: Sequence[tuple[str, list[str] | None]]) -> tuple[str, list[str]] | None:
    """(folder, options) of the recipe from which the fewest fields must be replaced; None: too
    many, of each."""
    known = [(path, settings) for path, settings in found if settings is not None]
    path, settings = min(known, key=lambda each: len(each[1]), default=("", None))
    if settings is None or len(settings) > _MOST_SET:
        return None
    return path, [word for setting in settings for word in ("--set", setting)]


def _write_scoring(old: Recipe, new: Recipe) -> list[str] | None:
    """The `--set` values with which one recipe scores like another; None: `--set` can't express
    them."""
    if old.adapter.has_head != new.adapter.has_head:
        return None
    of_training = {key: value for key, value in old.written().items() if key not in _SCORING}
    wanted = {key: value for key, value in new.written().items() if key in _SCORING}
    recipe = _parse(of_training | wanted)
    return None if recipe is None else write_overrides(old, recipe)


def _list_scored(study: Study) -> Iterator[tuple[Recipe, str, str | None]]:
    """(recipe, subject, adapter folder) of each evaluation whose recipe is known."""
    names = {run.card.name for run in study.adapters if run.written is not None}
    for record in _records(study):
        recipe = _parse(record.recipe)
        if recipe is None or (record.adapter is None and _is_covered(study, record)):
            continue
        adapter = record.adapter
        folder = None if adapter is None else adapter.path
        yield (
            recipe,
            record.subject,
            f"adapters/{record.subject}" if record.subject in names else folder,
        )
    for each in study.untuned:
        for written in each.recipes:
            recipe = _parse(written)
            if recipe is not None:
                yield recipe, each.subject, None


def _records(study: Study) -> list[Record]:
    return [record for each in study.comparisons for record in (each.tuned, each.base)]


def _is_covered(study: Study, base: Record) -> bool:
    """Whether the base is scored together with an adapter that is compared with it."""
    return any(
        each.tuned.adapter is not None and each.tuned.recipe is not None
        for each in study.comparisons
        if each.base is base
    )


def _rescore(study: Study) -> list[str]:
    """What was scored again from saved responses, one line per task."""
    found: dict[str, dict[str, None]] = {}
    for record in _records(study):
        if record.rescored_from:
            folder = f"results/{record.subject}/{record.rescored_from}"
            found.setdefault(record.settings.task, {})[folder] = None
    return [
        shlex.join(["ft-harness", "rescore", *folders, "--task", task])
        for task, folders in found.items()
    ]


def _list_elsewhere(study: Study) -> list[str]:
    """The commands for evaluations without a known recipe: `ft-harness eval` if the adapter's
    folder has one, else lm-eval's own arguments; each line once."""
    lines: list[str] = []
    for comparison in study.comparisons:
        record, adapter = comparison.tuned, comparison.tuned.adapter
        if _parse(record.recipe) is not None:
            continue
        if adapter is not None and any(run.card.name == adapter.name for run in study.adapters):
            lines.append(_eval_command(study, comparison, adapter.path))
        else:
            lines += [_lm_eval_command(comparison.base), _lm_eval_command(record)]
    return list(dict.fromkeys(lines))


def _eval_command(study: Study, comparison: Comparison, folder: str) -> str:
    record, settings = comparison.tuned, comparison.tuned.settings
    changed: dict[str, Any] = {
        "eval.splits": [settings.split],
        "eval.num_fewshot": settings.num_fewshot,
    }
    if comparison.role == "control task":
        tasks = dict.fromkeys(
            each.tuned.settings.task
            for each in study.comparisons
            if each.role == "control task" and each.tuned.subject == record.subject
        )
        changed = {"controls.tasks": [*tasks], "controls.limit": settings.limit}
        changed["controls.num_fewshot"] = settings.num_fewshot
    elif settings.split != "train":
        changed["eval.limit"] = settings.limit
    elif settings.limit is not None:  # without one the recipe's own was not reached
        changed["eval.train_limit"] = settings.limit
    sets = [
        part for key, value in changed.items() for part in ("--set", f"{key}={json.dumps(value)}")
    ]
    return shlex.join(["ft-harness", "eval", folder, "--adapter", folder, *sets])


def _lm_eval_command(record: Record) -> str:
    """lm-eval's own arguments for one side, as far as its record knows them."""
    model, settings = record.model, record.settings
    known = {"pretrained": model.pretrained, "revision": model.revision, "dtype": model.dtype}
    known["peft"] = record.adapter.path if record.adapter else None
    given = [f"{key}={value}" for key, value in known.items() if value not in (None, "unknown")]
    given += [_QUANTISED.get(part, part) for part in (model.quantization or "").split(", ") if part]
    arguments = ["--model", settings.back_end.partition(",")[0], "--model_args", ",".join(given)]
    arguments += ["--tasks", settings.task, "--num_fewshot", str(settings.num_fewshot)]
    options = {
        "--seed": settings.seed,
        "--limit": settings.limit,
        "--gen_kwargs": json.dumps(settings.generation_kwargs)
        if settings.generation_kwargs
        else None,
        "--system_instruction": settings.system_instruction,
    }
    arguments += [
        part for key, value in options.items() if value is not None for part in (key, str(value))
    ]
    arguments += ["--apply_chat_template"] if settings.chat_template_hash else []
    if record.foreign is not None:
        arguments += ["--log_samples", "--output_path", _output_path(record)]
    return shlex.join(["ft-harness", "lm-eval", "run", *arguments])


def _output_path(record: Record) -> str:
    """The folder that lm-eval was given, so that the report finds its files where they were."""
    folder = PurePath(record.foreign.file if record.foreign else "").parent
    names = [record.model.pretrained, record.adapter.path if record.adapter else ""]
    # lm-eval makes a folder in it, named after the model or the adapter.
    own = {_UNSAFE.sub("__", name) for name in names}
    return (folder.parent if folder.name in own else folder).as_posix()
