"""The training loop, from the first step or a checkpoint to the last step.

    rows of a step -> loss and gradients, batch by batch -> finite? -> optimizer, schedule -> log
    -> evaluation and checkpoint, where they are due -> leave, where a signal asked for it

The loss of a step is the mean over all of its targets, however it is cut into batches and shared
out over processes. A run that is stopped and continued ends as an uninterrupted one:
a checkpoint holds weights, optimizer, schedule, random generators and `Progress`, and the rows of
a step follow from the seed and the step's number alone.
"""

from __future__ import annotations

import logging
import math
import pickle
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device

from ft_harness import processes
from ft_harness.errors import FtHarnessError, PolicyError
from ft_harness.recipe.train_section import STEERED_SCHEDULERS
from ft_harness.records import HistoryEntry, SettingChange
from ft_harness.storage import write_text
from ft_harness.training.adapter_model import write_weights
from ft_harness.training.batches import StepSampler, step_loader
from ft_harness.training.checkpoints import MICRO_BATCH, CheckpointFolder, at_step
from ft_harness.training.cost import Meter
from ft_harness.training.distributed import add_gradients, seed_batch, share_out, sum_counts
from ft_harness.training.guards import (
    Batch,
    CutShort,
    MicroBatches,
    Stops,
    check_weights,
    not_finite,
    or_out_of_memory,
    rows_of,
)
from ft_harness.training.hyperparameters import make_optimizer, make_schedule
from ft_harness.training.lineage import load_weights
from ft_harness.training.monitoring import Monitor
from ft_harness.training.numerics import (
    autocast,
    draws_undone,
    random_state,
    restore_random_state,
    undisturbed,
)
from ft_harness.training.objectives import Objective
from ft_harness.training.plan import TrainingPlan
from ft_harness.training.progress import PROGRESS_FILE, Progress, not_this_training, read_progress
from ft_harness.training.reference import write_references
from ft_harness.training.validation import EpochScorer, Scores, measure_validation

OPTIMIZER_FILE, SCHEDULE_FILE, RANDOM_FILE = "optimizer.pt", "scheduler.pt", "rng_state.pth"
# of Adam and its kin, by PyTorch's and bitsandbytes' names: one number per parameter
_MOMENTS = {"exp_avg", "exp_avg_sq", "state1", "state2"}
_WORTH_SAVING = 10.0  # seconds of training since the last checkpoint
logger = logging.getLogger(__name__)


class Loop:
    """One training's steps.

    Attributes:
        progress: how far it is.
        meter: its cost so far; available from `run` on.
    """

    meter: Meter
    _saved: float  # when the last checkpoint was written, or the run began

    def __init__(
        self,
        plan: TrainingPlan,
        model: Any,
        objective: Objective,
        checkpoints: CheckpointFolder,
        monitor: Monitor,
        scorer: EpochScorer | None,
    ) -> None:
        self.plan, self.model, self.objective = plan, model, objective
        self.checkpoints, self.monitor, self.scorer = checkpoints, monitor, scorer
        self.settings = plan.recipe.train
        self.trained = [each for each in model.parameters() if each.requires_grad]

        rows = plan.data.examples
        self.share = share_out(plan.recipe)
        self.steps = self.settings.planned_steps(len(rows))
        self.steps_per_epoch = math.ceil(len(rows) / self.share.step)
        lengths = [len(row.input_ids) for row in rows]
        self.sampler = StepSampler(lengths, self.share, self.settings.seed)
        pin = plan.base.device == "cuda"
        self.loader = step_loader(rows, objective.collate, self.sampler, pin=pin)

        optimizer = make_optimizer(self.settings, model)
        # Number formats are ours (`numerics`): accelerate's autocast would cover the loss too.
        self.accelerator = Accelerator(cpu=plan.base.device == "cpu", mixed_precision="no")
        self.optimizer = self.accelerator.prepare(optimizer)
        self.schedule = make_schedule(self.settings, self.optimizer, self.steps)

        self.progress = Progress()
        self.micro_batches = MicroBatches(checkpoints.micro_batch)
        self.stops = Stops()

    # --- all steps ------------------------------------------------------------------------------

    def run(self) -> None:
        """Take all steps that are left.

        Raises:
            NonFiniteError: a loss, a gradient or a weight is NaN or infinite.
            ResourceError: memory is not enough for a single row, or the disk for a checkpoint.
        """
        with self.stops.deferred(), self.checkpoints.named_in_faults(), or_out_of_memory():
            if self.checkpoints.start is not None:
                self._restore(self.checkpoints.start)
            self.meter, self._saved = Meter(self.progress.spent), time.monotonic()
            self.monitor.begin(self.progress.step, self.steps)
            try:
                if self.progress.evaluation_due:
                    self._close_step(evaluate=True, save=True)
                while not self.progress.is_complete:
                    self._run_epoch()
                check_weights(self.model, self.progress.step, self._rate())
                self.meter.stop()
            finally:
                self.monitor.end()

    def _run_epoch(self) -> None:
        """Take the steps of the present epoch that are left, or those up to the last of all."""
        for batches in self._batches_of_steps():
            self._take_step(batches)
            if self.progress.is_complete:
                break

    def _batches_of_steps(self) -> Iterator[list[Batch]]:
        """The batches of each step that is left of the present epoch."""
        epoch, done = divmod(self.progress.step, self.steps_per_epoch)
        self.sampler.set_epoch(epoch)
        if done == 0:
            batches = iter(self.loader)
        else:  # starting a loader draws one random number, which the interrupted run drew already
            read = done * self.share.accumulation
            with draws_undone():
                batches = iter(self.accelerator.skip_first_batches(self.loader, read))
        while step := list(islice(batches, self.share.accumulation)):
            yield step

    # --- one step -------------------------------------------------------------------------------

    def _take_step(self, batches: list[Batch]) -> None:
        """Learn from the rows of one step, in all processes; then close it."""
        # Before any forward pass, since each batch's loss is divided by the targets of the whole
        # step.
        targets, tokens = self._count(batches)
        batches = send_to_device(batches, self.accelerator.device)
        losses = [self.learn(batch, targets, turn) for turn, batch in enumerate(batches)]
        loss = sum(losses[1:], losses[0])
        processes.add_up([loss])
        add_gradients(self.trained)
        norm = self.accelerator.clip_grad_norm_(self.trained, self.settings.max_grad_norm)
        # One number tells of all gradients: a norm is finite only where each of them is.
        if not torch.isfinite(norm):
            raise self._not_finite("gradient norm", batches)
        self.optimizer.step()
        rate = self._rate()
        if self.settings.lr_scheduler_type not in STEERED_SCHEDULERS:
            self.schedule.step()
        self.optimizer.zero_grad()

        step = self.progress.step = self.progress.step + 1
        self.progress.is_complete = step == self.steps
        self.meter.tokens += tokens
        numbers = {"loss": loss.item(), "grad_norm": norm.item(), "learning_rate": rate}
        self._log(HistoryEntry(step=step, epoch=self._epoch(), **numbers))
        self._close_step(evaluate=self._is_evaluation_due(), save=self._is_checkpoint_due())

    def _log(self, entry: HistoryEntry) -> None:
        """Keep and show the results of a step or an evaluation."""
        with self.checkpoints.rescuing(self.model.save_pretrained):
            self.monitor.log(entry)

    def _count(self, batches: list[Batch]) -> tuple[list[int], int]:
        """(targets of each kind, tokens) of a step, of all processes."""
        targets = [sum(kind) for kind in zip(*map(self.objective.counts, batches), strict=True)]
        tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
        *summed, read = sum_counts([*targets, tokens], self.accelerator.device)
        return summed, read

    def learn(self, batch: Batch, targets: Sequence[int], turn: int) -> torch.Tensor:
        """Add a batch's gradients to those of the step; its part of the step's loss.

        Args:
            targets: of the whole step, which its loss is divided by.
            turn: number of the batch in its step.
        """
        seed_batch(self.settings.seed, self.progress.step, turn)
        gradients_of = partial(self._add_gradients_of, targets=targets)
        if self.share.processes > 1:  # the others would wait for parts that they don't have
            return gradients_of(dict(batch))
        return self.micro_batches.compute(batch, gradients_of, self.trained, self._note_smaller)

    def _add_gradients_of(self, part: Batch, targets: Sequence[int]) -> torch.Tensor:
        """Forward and backward of rows that are computed at once."""
        with autocast(self.plan.base):
            loss = self.objective.mean_loss(self.model, part, targets)
        self.accelerator.backward(loss)
        if not torch.isfinite(loss):
            raise self._not_finite("loss", [part])
        return loss.detach()

    def _note_smaller(self, before: int, after: int) -> None:
        """Memory ran out: fewer rows are computed at once from here on."""
        step = self.progress.step + 1
        logger.warning(
            "memory ran out in step %d with %d rows at once; "
            "the step is repeated with %d, which is kept",
            *(step, before, after),
        )
        change = SettingChange(step=step, setting=MICRO_BATCH, before=before, after=after)
        self.checkpoints.note(change)

    def _not_finite(self, what: str, batches: list[Batch]) -> FtHarnessError:
        rows = rows_of(batches, self.plan.data.examples)
        return not_finite(what, self.progress.step + 1, self._rate(), rows)

    def _rate(self) -> float:
        """The learning rate as it is now."""
        return float(self.optimizer.param_groups[0]["lr"])

    def _epoch(self) -> float:
        """How many epochs are done, by batches."""
        whole, steps = divmod(self.progress.step, self.steps_per_epoch)
        return round(whole + steps * self.share.accumulation / len(self.sampler), 6)

    # --- after a step ---------------------------------------------------------------------------

    def _is_evaluation_due(self) -> bool:
        if not self.plan.data.validation or self.settings.eval_strategy == "no":
            return False
        every = self.settings.eval_steps or self.steps_per_epoch
        return self.progress.is_complete or self.progress.step % every == 0

    def _is_checkpoint_due(self) -> bool:
        asked = self.settings.save_steps
        every = int(asked) if asked >= 1 else math.ceil(asked * self.steps)
        if self.progress.is_complete or self.progress.step % every:
            return self.progress.is_complete
        # A tenth of a short training is computed again sooner than it is saved. By the clock of
        # the first process, as they save together.
        is_worth = time.monotonic() - self._saved >= _WORTH_SAVING
        return asked >= 1 or processes.from_first(is_worth)

    def _close_step(self, *, evaluate: bool, save: bool) -> None:
        """Evaluate and save what is due; then leave, if a signal asked for it.

        A signal does not wait for an evaluation: the next run makes up for it.
        """
        self.progress.evaluation_due = evaluate
        stopping = self._is_stopping()
        if evaluate and not stopping:
            try:
                save = self._evaluate() or save
            except CutShort:
                stopping = True
        if save or stopping:
            self._save()
        if not stopping and self._is_stopping():  # it came while evaluating or saving
            if not save:
                self._save()
            stopping = True
        if stopping:
            self.stops.leave()

    def _is_stopping(self) -> bool:
        """Whether a signal arrived, in any of the processes: they leave together."""
        arrived = int(self.stops.requested is not None)
        return sum_counts([arrived], self.accelerator.device) != [0]

    def _evaluate(self) -> bool:
        """Evaluate on the validation split; returns whether to keep the weights as the best so
        far."""
        with self.meter.evaluating():
            with self.stops.cutting(alone=self.share.processes == 1):
                loss, scores = self._measure()
            step, epoch = self.progress.step, self._epoch()
            self._log(HistoryEntry(step=step, epoch=epoch, eval_loss=loss, scores=scores))
        self.progress.evaluation_due = False
        if self.settings.lr_scheduler_type in STEERED_SCHEDULERS:
            self.schedule.step(loss)
        keeps_best = self.settings.load_best_model_at_end
        if not keeps_best and self.settings.early_stopping_patience is None:
            return False
        judged_by = self.settings.metric_for_best_model
        value = loss if judged_by == "loss" else (scores or {})[judged_by]
        better = self.scorer.higher_is_better if self.scorer else {}
        higher = better.get(judged_by, False)
        is_best = self.progress.judge(value, self.settings, higher_is_better=higher)
        return is_best and keeps_best

    def _measure(self) -> tuple[float, Scores | None]:
        """The loss, and the task's metrics where they are asked for; nothing else is changed."""
        rows = self.plan.data.validation
        with undisturbed(self.model):
            loss, scores = measure_validation(
                self.plan.base, self.model, self.objective, rows, self.share
            )
            if not math.isfinite(loss):
                raise not_finite("validation loss", self.progress.step, self._rate())
            scores |= self.scorer.measure(self.model) if self.scorer else {}
            return loss, scores or None

    # --- checkpoints ----------------------------------------------------------------------------

    def _save(self) -> None:
        """A checkpoint of finite weights, whole or not at all; the first process writes it."""
        step = self.progress.step
        check_weights(self.model, step, self._rate())
        self.progress.spent = self.meter.spent()
        # From all processes, though only the first writes: each draws dropout of its own.
        generators = processes.from_all(random_state())
        if processes.rank() == 0:
            with self.checkpoints.writing(self.model.save_pretrained):
                folder = at_step(self.checkpoints.unfinished, step)
                write_weights(self.model, folder)
                torch.save(self.optimizer.state_dict(), folder / OPTIMIZER_FILE)
                torch.save(self.schedule.state_dict(), folder / SCHEDULE_FILE)
                torch.save(generators, folder / RANDOM_FILE)
                write_references(self.plan, folder)
                write_text(folder / PROGRESS_FILE, self.progress.model_dump_json(indent=2) + "\n")
                self.checkpoints.put(step, self.progress.best_step)
        self._saved = time.monotonic()
        self.accelerator.wait_for_everyone()

    def _restore(self, checkpoint: Path) -> None:
        """Go back to a step that was saved.

        Raises:
            InputError: a file is not the state of this training.
            PolicyError: a file would run code.
        """
        load_weights(self.model, checkpoint)
        with _restoring(checkpoint, OPTIMIZER_FILE) as state:
            self.optimizer.load_state_dict(state)
            _check_shapes(self.optimizer)
        with _restoring(checkpoint, SCHEDULE_FILE) as state:
            if state.keys() != self.schedule.state_dict().keys():
                raise KeyError(SCHEDULE_FILE)
            self.schedule.load_state_dict(state)
        with _restoring(checkpoint, RANDOM_FILE) as states:
            if any(state.keys() != random_state().keys() for state in states) or not states:
                raise KeyError(RANDOM_FILE)
            if len(states) == self.share.processes:  # else each batch's own seed is all that counts
                restore_random_state(states[self.share.rank])
        self.progress = read_progress(checkpoint)


@contextmanager
def _restoring(checkpoint: Path, name: str) -> Iterator[Any]:
    """The tensors, numbers and strings of a file, to be restored within; no code of the file's is
    run."""
    try:
        yield torch.load(checkpoint / name, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise PolicyError(
            f"{checkpoint / name}: a pickle that would run code",
            "tensors, numbers and strings; no flag allows more",
            f"remove {checkpoint}, then run the same command again",
        ) from error
    except Exception as error:  # whatever PyTorch raises for a state of another form
        raise not_this_training(checkpoint, name) from error


def _check_shapes(optimizer: Any) -> None:
    """PyTorch takes moments of any shape, and fails at the next step.

    Raises:
        ValueError: a moment is not of its parameter's shape.
    """
    for parameter, state in optimizer.state.items():
        for name in _MOMENTS & state.keys():
            if state[name].shape != parameter.shape:
                raise ValueError(f"{name}: {tuple(state[name].shape)}")
