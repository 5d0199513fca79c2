"""What each point of a sweep will need and take; what several of them share is forecast once."""

from __future__ import annotations

from pathlib import Path

from ft_harness.evaluation import Job, time_docs
from ft_harness.models.base_model import BaseModel, load_base_model
from ft_harness.models.heads import plan_head
from ft_harness.paths import model_folder
from ft_harness.pipeline.point_runner import Sweep, experiment_of, plan_once
from ft_harness.pipeline.preflight import Checked
from ft_harness.pipeline.reading import Reading
from ft_harness.pipeline.stages import Stage
from ft_harness.storage import canonical_json
from ft_harness.sweep import SEEDS, Point
from ft_harness.training import Forecast, empty_base, make_forecast, time_steps


class Foresight:
    """Forecasts of a sweep's points that were checked.

    Args:
        gpu: points are to run on a GPU that needn't be here.
        room: bytes that it has; None: what is free here.
    """

    def __init__(self, sweep: Sweep, reading: Reading, *, gpu: bool, room: int | None) -> None:
        self.sweep, self.reading, self.gpu, self.room = sweep, reading, gpu, room
        self._bases: dict[str, BaseModel] = {}  # the last one, without weights
        self._loaded: dict[str, BaseModel] = {}  # and with them
        self._forecasts: dict[str, Forecast] = {}
        self._training: dict[str, float] = {}
        self._docs: dict[str, float] = {}
        self._scored: set[str] = set()

    def forecast(self, point: Point, checked: Checked) -> Forecast:
        """The forecast of a point's training; points that differ only in seeds share it."""
        key = _key(point)
        if key not in self._forecasts:
            stage = self._stage(point, checked, weights=False)
            self._forecasts[key] = make_forecast(plan_once(stage, self.reading), self.room)
        return self._forecasts[key]

    def time_training(self, point: Point, checked: Checked) -> float | None:
        """Seconds, by a few steps; None: the weights are not here, or may not fit."""
        memory = self.forecast(point, checked).memory
        if not self._can_load(point) or (memory is not None and not memory.fits):
            return None
        key = _key(point)
        if key not in self._training:
            stage = self._stage(point, checked, weights=True)
            self._training[key] = time_steps(plan_once(stage, self.reading))
        return self._training[key]

    def time_scoring(self, point: Point, checked: Checked) -> float | None:
        """Seconds, by a few docs: of the adapter, and of the base where no point before has asked
        for the same; None: the weights are not here."""
        if not self._can_load(point):
            return None
        stage = self._stage(point, checked, weights=True)
        total = 0.0
        for job in stage.jobs():
            seconds = self._time_doc(stage.base, job) * len(job.doc_ids)
            asked = f"{point.base} {job.settings.model_dump_json()}"
            total += seconds * (self.sweep.trains + (asked not in self._scored))
            self._scored.add(asked)
        return total

    def _time_doc(self, base: BaseModel, job: Job) -> float:
        """Seconds per doc, timed once for splits with the same kind of requests."""
        way = job.settings.model_dump_json(exclude={"split", "data_hash", "sample_seed", "limit"})
        key = f"{base.info.model_dump_json()} {way}"
        if key not in self._docs:
            self._docs[key] = time_docs(base, job)
        return self._docs[key]

    def _can_load(self, point: Point) -> bool:
        return not self.gpu and Path(model_folder(point.recipe.model.pretrained)).is_dir()

    def _stage(self, point: Point, checked: Checked, *, weights: bool) -> Stage:
        recipe, kept = point.recipe, self._loaded if weights else self._bases
        head = plan_head(recipe, checked.tasks.values())
        key = f"{point.base} {head}"
        if key not in kept:
            # One base at a time: several would not fit.
            kept.clear()
            kept[key] = (
                load_base_model(recipe.model, head)
                if weights
                else empty_base(recipe.model, head, gpu=self.gpu)
            )
        return Stage(experiment_of(self.sweep, point, recipe), checked, kept[key])


def _key(point: Point) -> str:
    """What a point has in common with those that differ from it in seeds alone."""
    resolved = point.made_by.resolved()
    for name in SEEDS:
        section, own = name.split(".")
        resolved[section].pop(own)
    return canonical_json(resolved)
