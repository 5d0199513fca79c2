"""The points of a sweep in one process: the sweep as it is read there, what points share (the
loaded base, tokenised rows), and how one of them is run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ft_harness import storage
from ft_harness.comparison.amounts import size
from ft_harness.data.files import Split
from ft_harness.errors import (
    FtHarnessError,
    InputError,
    ProblemsError,
    ResourceError,
    raise_problems,
)
from ft_harness.models.adapters import CARD_FILE, AdapterFolder, read_card
from ft_harness.models.base_model import BaseModel
from ft_harness.models.heads import plan_head
from ft_harness.models.memory import free_memory_bytes
from ft_harness.paths import adapters_dir
from ft_harness.pipeline.experiment import Experiment, Say
from ft_harness.pipeline.preflight import Checked
from ft_harness.pipeline.reading import Reading
from ft_harness.pipeline.runs import load_base
from ft_harness.pipeline.serving import serve
from ft_harness.pipeline.stages import (
    Stage,
    check_experiment,
    score_adapter,
    score_base,
    train_stage,
)
from ft_harness.recipe import Recipe, keep_recipe, recipe_file
from ft_harness.records import Evaluation
from ft_harness.storage import canonical_json
from ft_harness.sweep import Grid, Point, Request, read_grid
from ft_harness.sweep.outcomes import Outcome
from ft_harness.training import (
    Forecast,
    TrainingPlan,
    TrainingSet,
    check_unfinished,
    count_base,
    empty_base,
    finished_card,
    make_forecast,
)

_MARK = 8  # characters of a fingerprint in a folder's name


@dataclass(frozen=True)
class Sweep:
    """A sweep in the process that runs its points: its grid and where it works.

    Attributes:
        request: what the grid was made of.
        out: the working folder with `adapters/` and `results/`.
        command: the command as it was given, which continues it.
    """

    grid: Grid
    request: Request
    out: Path
    command: str
    trust_task_code: bool = False

    @property
    def source(self) -> Path:
        """The recipe's file."""
        return recipe_file(self.request.path)

    @property
    def trains(self) -> bool:
        return self.grid.section.trains

    def written(self) -> dict[str, Any]:
        """The recipe's fields, with what the command line varied."""
        section = self.grid.section.model_dump(mode="json", exclude_unset=True)
        return self.grid.recipe.written() | {"sweep": section}

    def repeating_command(self) -> str:
        """What runs that recipe again, from a working folder that holds it."""
        trust = ["--trust-task-code"] if self.trust_task_code else []
        return shlex.join(["ft-harness", "sweep", f"adapters/{self.grid.name}", *trust])


def read_sweep(request: Request, out: Path, command: str, trust_task_code: bool = False) -> Sweep:
    """Read the sweep that a request asks for, with the folder that it works in, to run its points.

    Raises:
        ConfigError: as `read_grid` says.
    """
    return Sweep(read_grid(request), request, out, command, trust_task_code)


def experiment_of(sweep: Sweep, point: Point, recipe: Recipe) -> Experiment:
    """The experiment of a point, with its recipe as it is to be run now."""
    return Experiment(
        point.adapter, recipe, sweep.source, sweep.out, sweep.command, sweep.trust_task_code
    )


@dataclass
class PointRunner:
    """One process that runs points; a base is loaded, and data read and tokenised, once for those
    that have the same.

    Attributes:
        splits: the splits to score points on; None: those of their recipes.
        checked: what preflight left behind, by point.
        folders: adapter's name -> its folder, of those that are finished.
        is_alone: it checks the free memory itself; else whoever sent the points has done that.
    """

    sweep: Sweep
    say: Say
    splits: tuple[Split, ...] | None = None
    is_alone: bool = True
    reading: Reading = field(default_factory=Reading)
    loaded: dict[str, BaseModel] = field(default_factory=dict)
    checked: dict[str, Checked] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    _model: str = ""
    _said: set[str] = field(default_factory=set)

    def score_on(self, splits: tuple[Split, ...] | None) -> None:
        """Score points on these splits from now on."""
        if splits != self.splits:
            self.splits = splits
            self.checked.clear()

    def check(self, points: Sequence[Point]) -> None:
        """Preflight of every point, before any of them runs.

        Raises:
            FtHarnessError: the fault, or a `ProblemsError` with all of them, each once.
        """
        found: dict[str, list[tuple[str, FtHarnessError]]] = {}
        for point in points:
            start = point.recipe if point.follows else self._scored(point)
            try:
                self.checked[point.name] = self._check(experiment_of(self.sweep, point, start))
            except FtHarnessError as error:
                for each in error.problems if isinstance(error, ProblemsError) else [error]:
                    found.setdefault(each.what, []).append((point.name, each))
        raise_problems([_name_points(each, len(points)) for each in found.values()])

    def run(self, point: Point, *, base_only: bool = False) -> Outcome:
        """Train and score one point, or its base alone, or find it done.

        Raises:
            FtHarnessError: memory is not enough, the numbers aren't finite, or the stretch before
                is not there.
        """
        try:
            stage = self.stage(point)
            if base_only or not self.sweep.trains:
                return _outcome(point, score_base(serve(stage, self._tell), self._tell), None)
            return self._train(point, stage)
        except Exception:
            self.loaded.clear()  # it may hold what the failed point left on the model
            raise_problems(storage.problems(self.sweep.out))  # a full disk is no point's fault
            raise

    def _train(self, point: Point, stage: Stage) -> Outcome:
        # Points that differ only in how they are scored share the adapter of the first of them.
        made_by = point.made_by.model_copy(update={"train": stage.experiment.recipe.train})
        making = replace(stage, experiment=experiment_of(self.sweep, point, made_by))
        plan = plan_once(making, self.reading)
        making = replace(making, experiment=self._settle(making.experiment, plan))
        forecast: Forecast | None = None
        if finished_card(plan, making.experiment.folder) is None:
            forecast = make_forecast(plan)
            self._check_room(forecast)
        scoring = serve(stage, self._tell)
        evaluations = score_base(scoring, self._tell)
        train_stage(making, plan, self._tell, forecast)
        folder = self.folders[point.adapter] = making.experiment.folder
        evaluations += score_adapter(scoring, AdapterFolder(folder), self._tell)
        return _outcome(point, evaluations, folder)

    def stage(self, point: Point) -> Stage:
        """The point with its base; another base takes the place of the one that is loaded.

        Raises:
            InputError: the stretch before failed.
            ResourceError: there is no room for the base.
        """
        recipe = self._scored(point)
        experiment = experiment_of(self.sweep, point, recipe)
        is_checked = point.follows is None and point.name in self.checked
        checked = self.checked[point.name] if is_checked else self._check(experiment)
        model = recipe.model.model_dump_json()
        if model != self._model:
            self.loaded.clear()
            self._model = ""  # until it is known that there is room for it
            _check_base(recipe, checked)
            self._model = model
        return Stage(experiment, checked, load_base(self.loaded, experiment, checked))

    def _scored(self, point: Point) -> Recipe:
        """The recipe with the splits that are scored now, and the folder that it goes on from."""
        recipe, changed = point.recipe, dict[str, Any]()
        if self.splits is not None:
            changed["eval"] = recipe.eval.model_copy(update={"splits": self.splits})
        if point.follows is not None:
            if point.follows not in self.folders:
                raise InputError(
                    f"the stretch before, {point.follows}, failed",
                    "the adapter that this one continues",
                    "see why that one failed",
                )
            parent = str(self.folders[point.follows])
            changed["train"] = recipe.train.model_copy(update={"continue_from": parent})
        return recipe.model_copy(update=changed)

    def _check(self, experiment: Experiment) -> Checked:
        return check_experiment(experiment, trains=self.sweep.trains, reading=self.reading)

    def _check_room(self, forecast: Forecast) -> None:
        """A machine that runs out of memory ends the process, and with it all other points; a GPU
        that does raises an error of this point alone.

        Raises:
            ResourceError: the forecast is that it doesn't fit.
        """
        memory = forecast.memory
        if self.is_alone and forecast.device == "cpu" and memory is not None and not memory.fits:
            raise ResourceError(
                describe_lack(memory.total, memory.room),
                "a point that fits",
                "see --dry-run, or train it alone with ft-harness train",
            )

    def _settle(self, experiment: Experiment, plan: TrainingPlan) -> Experiment:
        """The experiment in the folder that holds its adapter, whatever that is called; else in its
        own, or next to it where that is another recipe's."""
        home = adapters_dir(self.sweep.out)
        others = sorted(path.parent for path in home.glob(f"*/{CARD_FILE}"))
        for folder in (experiment.folder, *others):
            with suppress(InputError):  # a damaged card of another adapter
                card = read_card(folder)
                if card is not None and card.fingerprint == plan.fingerprint:
                    return replace(experiment, name=folder.name)
        beside = f"{experiment.name[: 79 - _MARK]}-{plan.fingerprint[:_MARK]}"
        for name in (experiment.name, beside):
            settled = replace(experiment, name=name)
            try:
                if read_card(settled.folder) is None:
                    keep_recipe(settled.source, settled.recipe, settled.folder)
                    check_unfinished(plan, settled.folder)
                    return settled
            except InputError:
                continue
        raise InputError(
            f"{experiment.folder}: holds another recipe, and so does the folder next to it",
            "a folder for this point",
            "use --name NEW",
        )

    def _tell(self, line: str) -> None:
        """Say each line once: a base that many points share is scored once."""
        if line not in self._said:
            self._said.add(line)
            self.say(line)


def _name_points(found: Sequence[tuple[str, FtHarnessError]], total: int) -> FtHarnessError:
    """The fault with the points that have it, unless all of them do."""
    first, error = found[0]
    if len(found) == total:
        return error
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return type(error)(f"{first}{more}: {error.what}", error.expected, error.action)


def plan_once(stage: Stage, reading: Reading) -> TrainingPlan:
    """The training of a sweep's point; points with equal data tokenise it once."""
    recipe, checked = stage.experiment.recipe, stage.checked
    train = recipe.train
    if train.steered or train.continue_from:
        return stage.training_plan()
    makes = [train.objective, train.loss_on, train.loss_on_eos, stage.base.max_length]
    head = stage.base.head and stage.base.head.plan
    kind = ("rows", canonical_json([recipe.model.model_dump(), makes]), str(head))
    data: TrainingSet = reading.once(kind, checked.tasks, lambda: stage.training_plan().data)
    return TrainingPlan(recipe, stage.base, data)


def _check_base(recipe: Recipe, checked: Checked) -> None:
    """As `_check_room`, before the base is loaded.

    Raises:
        ResourceError: its weights don't fit.
    """
    base = empty_base(recipe.model, plan_head(recipe, checked.tasks.values()))
    need, room = count_base(base), free_memory_bytes("cpu")
    if base.device == "cpu" and need > room:
        raise ResourceError(
            describe_lack(need, room), "a base that fits", "use a smaller one, or quantise it"
        )


def describe_lack(need: int, room: int) -> str:
    """Why a point of a sweep was not tried, by bytes of memory."""
    there = f"only {size(room)} is available"
    return f"not tried: peak memory of about {size(need)} is forecast, but {there}"


def _outcome(point: Point, evaluations: Sequence[Evaluation], adapter: Path | None) -> Outcome:
    return Outcome(
        point=point.name,
        adapter=str(adapter) if adapter else None,
        evaluations=[str(each.folder) for each in evaluations],
    )
