"""Checkpoints of an unfinished adapter: complete or absent, and verified before they count."""

from __future__ import annotations

import errno
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError

from ft_harness import processes
from ft_harness.errors import InputError, NonFiniteError, ResourceError, StorageLostError
from ft_harness.models.adapters import HISTORY_FILE, read_history
from ft_harness.recipe import differences
from ft_harness.records import Frozen, SettingChange
from ft_harness.storage import (
    DROPPED,
    append_line,
    canonical_json,
    drop_folder,
    find_limit,
    full_disk,
    is_full,
    lost_folder,
    put_folder,
    redact_values,
    sha256_file,
    sha256_text,
    write_text,
)
from ft_harness.storage.strict_files import read_json
from ft_harness.training.plan import TrainingPlan
from ft_harness.training.progress import (
    CHANGES_FILE,
    MICRO_BATCH,
    PROGRESS_FILE,
    read_changes,
    read_progress,
)

CHECKPOINTS = "checkpoints"
PLAN_FILE = "plan.json"
MANIFEST_FILE = "MANIFEST.json"
_PREFIX = "checkpoint-"
_OF_WEIGHTS = " of the weights"
_UNFINISHED = ".unfinished"  # where a checkpoint is written

logger = logging.getLogger(__name__)


class _File(Frozen):
    bytes: int
    sha256: str


class _Manifest(Frozen):
    """`MANIFEST.json`: what a whole checkpoint consists of; `seal` is the hash of all else in
    it."""

    step: int
    plan_hash: str
    files: dict[str, _File]
    seal: str = ""

    def hash(self) -> str:
        return sha256_text(self.model_dump_json(exclude={"seal"}))


def at_step(path: Path, step: int) -> Path:
    """The checkpoint of a step in a folder of checkpoints, whether it is there or not."""
    return path / f"{_PREFIX}{step}"


def step_of(checkpoint: Path) -> int:
    """The step of a checkpoint, by its folder's name."""
    return int(checkpoint.name.rpartition("-")[2])


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    # A manifest can't hold its own hash; its seal does that.
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MANIFEST_FILE:
            yield path.relative_to(folder).as_posix(), path


def seal(checkpoint: Path, step: int, plan_hash: str) -> None:
    """Write the manifest of a checkpoint whose files are all there."""
    files = {
        name: _File(bytes=path.stat().st_size, sha256=sha256_file(path))
        for name, path in _files(checkpoint)
    }
    # The plan's hash too: a checkpoint that was copied from another adapter is whole, and wrong.
    manifest = _Manifest(step=step, plan_hash=plan_hash, files=files)
    # A changed manifest would else name changed files as whole.
    sealed = manifest.model_copy(update={"seal": manifest.hash()})
    write_text(checkpoint / MANIFEST_FILE, sealed.model_dump_json(indent=2) + "\n")


def fault_of(checkpoint: Path, plan_hash: str) -> str | None:
    """Which file keeps a checkpoint from being used, and why; None: it is whole, of this plan."""
    try:
        manifest = _Manifest.model_validate_json((checkpoint / MANIFEST_FILE).read_bytes())
    except (OSError, ValidationError) as error:
        fault = "missing" if isinstance(error, FileNotFoundError) else "damaged"
        return f"{MANIFEST_FILE} is {fault}"
    if manifest.seal != manifest.hash():
        return f"{MANIFEST_FILE} is damaged"
    if (manifest.step, manifest.plan_hash) != (step_of(checkpoint), plan_hash):
        return f"{MANIFEST_FILE} is of another training"
    # By content, as a disk may give back other bytes; a file too many does no harm.
    there = dict(_files(checkpoint))
    if PROGRESS_FILE not in manifest.files:
        return f"{PROGRESS_FILE} is missing"
    for name, known in manifest.files.items():
        if name not in there:
            return f"{name} is missing"
        if there[name].stat().st_size != known.bytes or sha256_file(there[name]) != known.sha256:
            return f"{name} is damaged"
    return None


@dataclass(frozen=True)
class CheckpointFolder:
    """The checkpoints of one training.

    Attributes:
        path: `adapters/<name>/checkpoints`.
        plan_hash: of everything that makes the adapter.
        limit: how many are kept; the best evaluation's beside the newest in any case.
        start: the checkpoint to continue from; None: from the beginning.
        changes: of settings of execution, up to now.
    """

    path: Path
    plan_hash: str
    limit: int
    start: Path | None = None
    changes: list[SettingChange] = field(default_factory=list)

    @property
    def micro_batch(self) -> int | None:
        """Rows computed at once where memory ran out before; None: it never did."""
        return min((change.after for change in self.micro_batch_changes()), default=None)

    def micro_batch_changes(self) -> list[SettingChange]:
        return [change for change in self.changes if change.setting == MICRO_BATCH]

    def record(self) -> dict[str, Any]:
        """The fields of the card's cost that describe stretches."""
        return {
            "resumed_from_step": step_of(self.start) if self.start else None,
            "micro_batch_changes": self.micro_batch_changes(),
            "resumed_with": [change for change in self.changes if change.setting != MICRO_BATCH],
        }

    @property
    def unfinished(self) -> Path:
        """Where a checkpoint is written before it has its name."""
        return self.path / _UNFINISHED

    def note(self, change: SettingChange) -> None:
        """Save a change to disk, so that a run that is killed and continued reports it too."""
        self.changes.append(change)
        append_line(self.path / CHANGES_FILE, change.model_dump_json())

    @contextmanager
    def named_in_faults(self) -> Iterator[None]:
        """A number that is not finite, or memory or disk that ran out: say that a checkpoint is
        kept, if there is one.

        Raises:
            NonFiniteError, ResourceError: those that are raised inside.
        """
        try:
            yield
        except (NonFiniteError, ResourceError) as error:
            if not list_checkpoints(self.path):
                raise
            what = f"{error.what}; the last checkpoint before it is kept"
            raise type(error)(what, error.expected, error.action) from error

    def put(self, step: int, best: int | None) -> None:
        """Seal what was written, give it its name, verify it, and only then let older ones go.

        Args:
            best: the step of the best evaluation, whose checkpoint is kept.

        Raises:
            OSError: it can't be put there, or isn't there as it was written.
        """
        target = at_step(self.path, step)
        seal(self.unfinished / target.name, step, self.plan_hash)
        # A rename: a kill leaves the whole checkpoint or none under this name.
        put_folder(self.unfinished / target.name, target)
        if fault := fault_of(target, self.plan_hash):
            raise OSError(errno.EIO, f"{target}: {fault} although it was just written")
        self._rotate(step, best)

    def _rotate(self, step: int, best: int | None) -> None:
        """Delete old checkpoints beyond `limit`, and newer ones, which could not be used."""
        kept = {step} | ({best} if best else set())
        others = [
            path for path in reversed(list_checkpoints(self.path)) if step_of(path) not in kept
        ]
        # Newer ones are of a training that was rewound: their steps will be taken again.
        older = [path for path in others if step_of(path) < step]
        spare = {step_of(path) for path in older[: max(0, self.limit - len(kept))]}
        for path in others:
            if step_of(path) not in spare:
                drop_folder(path)

    @contextmanager
    def writing(self, rescue: Callable[[str], None]) -> Iterator[None]:
        """Context for writing a checkpoint: nothing unfinished is left, and a fault says what is
        kept.

        Args:
            rescue: writes the weights into another folder, if this one is lost.

        Raises:
            ResourceError: the disk is full.
            StorageLostError: the folder can't be written any more.
        """
        try:
            with self.rescuing(rescue):
                yield
        except (OSError, RuntimeError, SafetensorError) as error:
            # One each of the system, torch and safetensors. The last two raise without a number,
            # so the folder is tried: can it hold a file now?
            reason = error if is_full(error) else find_limit(self.path)
            if reason is not None:
                full = full_disk(self.path, reason)
                what = f"{full.what}, the checkpoint was not saved"
                raise ResourceError(what, full.expected, full.action) from error
            raise lost_folder(self.path, error, _rescue(rescue), _OF_WEIGHTS) from error
        finally:
            shutil.rmtree(self.unfinished, ignore_errors=True)

    @contextmanager
    def rescuing(self, rescue: Callable[[str], None]) -> Iterator[None]:
        """
        Raises:
            StorageLostError: one that is raised inside, with where the weights are kept instead.
        """
        try:
            yield
        except StorageLostError as error:
            copy = _rescue(rescue)
            kept = f"; emergency copy{_OF_WEIGHTS} in {copy}" if copy else ""
            raise StorageLostError(f"{error.what}{kept}", error.expected, error.action) from error


def _rescue(save: Callable[[str], None]) -> str | None:
    """Where the weights are kept in place of a folder that is lost; None: nowhere."""
    try:
        # The system's temporary folder is often on another disk than the lost one.
        copy = tempfile.mkdtemp(prefix="ft-harness-")
        save(copy)
    except (OSError, RuntimeError, SafetensorError):
        return None
    return copy


def list_checkpoints(path: Path) -> list[Path]:
    """The checkpoints of a folder, the newest last."""
    return sorted(
        (each for each in path.glob(f"{_PREFIX}*") if each.name[len(_PREFIX) :].isdigit()),
        key=step_of,
    )


def _read_plan(path: Path) -> dict[str, Any] | None:
    try:
        plan = read_json(path / PLAN_FILE)
    except InputError:
        return None
    parts = plan.get("identity"), plan.get("execution")
    return plan if all(isinstance(part, dict) for part in parts) else None


def check_unfinished(plan: TrainingPlan, folder: Path) -> None:
    """Refuse a folder whose checkpoints are those of another plan; they are kept.

    Raises:
        InputError: they are.
    """
    path = folder / CHECKPOINTS
    stored = _read_plan(path)
    if stored is None or not list_checkpoints(path):
        return
    # As in the plan's file, where JSON made lists of tuples and secrets were taken out.
    identity = redact_values(json.loads(canonical_json(plan.identity())))
    if found := differences(stored["identity"], identity):
        raise InputError(
            f"{path}: the unfinished training there differs ({'; '.join(found)})",
            "the recipe, base and data that it was started with",
            "undo the change, use --name NEW for a new folder, "
            f"or delete {path} to train this one from the beginning",
        )


def open_checkpoints(plan: TrainingPlan, folder: Path) -> CheckpointFolder:
    """The checkpoints of a folder, and where to continue; without any, the history starts anew.

    Raises:
        InputError: they are another training's, or there are some and none can be used; nothing is
            deleted then.
    """
    path, settings = folder / CHECKPOINTS, plan.recipe.train
    execution = settings.execution() | {"processes": processes.count()}
    check_unfinished(plan, folder)
    # What a kill left behind while writing or deleting.
    for left in (path / _UNFINISHED, *path.glob(f"{DROPPED}*")):
        shutil.rmtree(left, ignore_errors=True)
    written = canonical_json({"identity": plan.identity(), "execution": execution})
    # A history without a checkpoint is that of steps which will be taken again.
    if not list_checkpoints(path):
        shutil.rmtree(path, ignore_errors=True)
        write_text(folder / HISTORY_FILE, "")
        write_text(path / PLAN_FILE, written)
        return CheckpointFolder(path, plan.fingerprint, settings.save_total_limit)
    # An older checkpoint is better than none, and than one whose best weights are gone.
    start = _usable(path, plan.fingerprint, keeps_best=settings.load_best_model_at_end)
    changes = read_changes(path)
    opened = CheckpointFolder(path, plan.fingerprint, settings.save_total_limit, start, changes)
    # Allowed, as results agree up to rounding: other processes or another micro-batch.
    for change in _changes_since(path, execution, step_of(start) + 1):
        opened.note(change)
    write_text(path / PLAN_FILE, written)
    _rewind_history(folder, start)
    return opened


def _usable(path: Path, plan_hash: str, *, keeps_best: bool) -> Path:
    """The newest checkpoint that is whole, and the best one that it rests on with it."""
    faults: list[str] = []
    for checkpoint in reversed(list_checkpoints(path)):
        fault = fault_of(checkpoint, plan_hash) or (
            _fault_of_best(checkpoint, plan_hash) if keeps_best else None
        )
        if fault is None:
            if faults:
                logger.warning(
                    "%s: skipped, %s; going on from %s", path, "; ".join(faults), checkpoint.name
                )
            return checkpoint
        faults.append(f"{checkpoint.name}: {fault}")
    raise InputError(
        f"{path}: no usable checkpoint ({'; '.join(faults)})",
        "one checkpoint as it was written; nothing was deleted",
        f"restore the files named, or delete {path} to train from the beginning",
    )


def _fault_of_best(checkpoint: Path, plan_hash: str) -> str | None:
    best = read_progress(checkpoint).best_step
    if not best or best == step_of(checkpoint):
        return None
    other = at_step(checkpoint.parent, best)
    fault = fault_of(other, plan_hash)
    return f"its best evaluation's {other.name}: {fault}" if fault else None


def _changes_since(path: Path, after: Mapping[str, Any], step: int) -> list[SettingChange]:
    """Execution settings that changed since the last run."""
    stored = _read_plan(path)
    before = stored["execution"] if stored else {}
    changed = [name for name in sorted(before.keys() & after.keys()) if before[name] != after[name]]
    return [
        SettingChange(step=step, setting=name, before=before[name], after=after[name])
        for name in changed
    ]


def _rewind_history(folder: Path, start: Path) -> None:
    """Drop what came after the checkpoint, and an evaluation that it still asks for: all that is
    done again."""
    path, step, entries = folder / HISTORY_FILE, step_of(start), read_history(folder)
    due = read_progress(start).evaluation_due
    kept = [
        entry
        for entry in entries
        if entry.step <= step and not (due and entry.step == step and entry.eval_loss is not None)
    ]
    # It is written after each step, a checkpoint now and then: only damage makes it lack steps.
    if lost := step - len({entry.step for entry in kept if entry.loss is not None}):
        logger.warning(
            "%s: lacks %d of the %d steps before the checkpoint; the learning curve has a gap",
            *(path, lost, step),
        )
    lines = (entry.model_dump_json(exclude_none=True) for entry in kept)
    write_text(path, "".join(f"{line}\n" for line in lines))
