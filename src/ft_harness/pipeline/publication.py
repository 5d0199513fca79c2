"""The model card and the upload of a finished adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ft_harness.comparison.aggregator import AdapterRun, Study, aggregate
from ft_harness.errors import InputError, PolicyError, raise_problems
from ft_harness.models import adapters
from ft_harness.paths import results_dir
from ft_harness.pipeline.adapter_runs import read_run
from ft_harness.pipeline.experiment import Say
from ft_harness.publish.base_name import base_problem
from ft_harness.publish.hub import RemoteRepo, find_repo, upload
from ft_harness.publish.model_card import CARD_NAME, benchmark_results, model_card
from ft_harness.publish.package import Package, make_package, secret_problems
from ft_harness.recipe import Recipe
from ft_harness.records import Evaluation
from ft_harness.records.adapter_folder import AdapterFolder
from ft_harness.records.finding import find_records
from ft_harness.report import state_limits
from ft_harness.storage import write_text
from ft_harness.training import track_results


@dataclass(frozen=True)
class PushOptions:
    """The options of an upload.

    Attributes:
        base: hub id of the base model; None: as the card names it.
        public: everybody may see it.
        unscored: an adapter that was never scored may be published.
        samples: the samples of its evaluations are published too.
        message: of the commit.
    """

    base: str | None = None
    public: bool = False
    unscored: bool = False
    samples: bool = False
    message: str | None = None


@dataclass(frozen=True)
class Push:
    """A checked upload of an adapter, before it is confirmed."""

    package: Package
    repo: RemoteRepo
    visibility: str
    kept: list[str]
    options: PushOptions

    def lines(self) -> list[str]:
        """What a person must know before saying yes: the card, the files, who will see them."""
        files = self.package.files
        widest = max(len(each.name) for each in files)
        return [
            self.package.readme,
            *(f"{each.name:<{widest}}  {each.size:>13,} bytes" for each in files),
            f"{len(files)} files, {self.package.size:,} bytes",
            *([f"edited by hand: {_name(self.kept)}"] if self.kept else []),
            f"{self.repo.name}: {self.visibility}",
        ]

    def send(self) -> str:
        """Upload it; the address of the commit."""
        message = self.options.message or "Upload the adapter with its model card"
        return upload(self.package, self.repo, public=self.options.public, message=message)


def card_of_folder(adapter: AdapterFolder, out: Path, say: Say) -> None:
    """Write the model card of one of our finished adapters, with what `results/` holds of it.

    Raises:
        InputError: a file of the folder is damaged.
    """
    run = read_run(adapter)
    try:
        study = _find_scores(adapter, run, out)[1]
    except InputError as error:  # what lies in results/ is no fault of this adapter
        say(f"{adapter.path / CARD_NAME}: without scores ({error.what})")
        study = _study_of(run, [])
    write_model_card(run, study, adapter.path, say)


def finish_adapters(study: Study, evaluations: Sequence[Evaluation], say: Say) -> None:
    """Write the model card of every adapter of a study next to its weights; its trackers get the
    scores that are new in it.

    Args:
        evaluations: those of the study; they say where the adapters are.

    Raises:
        InputError: a README.md that is there can't be read.
    """
    folders = {
        each.record.adapter.name: Path(each.record.adapter.path)
        for each in evaluations
        if each.record.adapter
    }
    for run in study.adapters:
        folder = folders[run.card.name]
        if write_model_card(run, study, folder, say):
            recipe = Recipe.model_validate(run.card.recipe)
            track_results(recipe, folder, _numbers(_part_of(study, run)), run.card.steps)


def _numbers(study: Study) -> dict[str, float]:
    """Base, tuned and their difference of each comparison's answer, by names that a tracker groups:
    test/acc/tuned; of another task than the trained one with its name."""
    found: dict[str, float] = {}
    for each in study.comparisons:
        row = each.headline
        place = f"{row.split}/{row.metric}"
        where = place if each.role == "trained task" else f"{row.task}/{place}"
        values = {
            "base": row.base,
            "tuned": row.tuned,
            "difference": row.delta,
            "low": row.low,
            "high": row.high,
        }
        found |= {f"{where}/{name}": value for name, value in values.items() if value is not None}
    return found


def write_model_card(run: AdapterRun, study: Study, folder: Path, say: Say) -> bool:
    """Write an adapter's model card, its README.md; sections that a person edited stay, which is
    said.

    Returns:
        Whether it says anything new.

    Args:
        study: has its comparisons among its own, if it was scored.

    Raises:
        InputError: the README.md that is there can't be read.
    """
    of_adapter = _part_of(study, run)
    path = folder / CARD_NAME
    text, kept = model_card(run, of_adapter, state_limits(of_adapter), path)
    is_new = not path.is_file() or path.read_text(encoding="utf-8") != text
    write_text(path, text)
    if kept:
        say(f"{path}: {_name(kept)} edited by hand and left as is; delete it to have it rewritten")
    return is_new


def _name(kept: Sequence[str]) -> str:
    return ", ".join(f"section {title!r}" if title else "the text at the top" for title in kept)


def _part_of(study: Study, run: AdapterRun) -> Study:
    """The study of one adapter alone."""
    mine = [each for each in study.comparisons if each.tuned.subject == run.card.name]
    return study.model_copy(update={"comparisons": mine, "adapters": [run]})


def prepare_push(folder: Path, repo: str, out: Path, options: PushOptions) -> Push:
    """Prepare an upload: what it holds, who will see it, and what forbids it.

    Raises:
        InputError: no finished adapter, damaged or changed files.
        ConfigError: no repository, token or base that others can load.
        PolicyError: a secret in a file, no score, or a public repository where none was asked for.
    """
    adapter = AdapterFolder(folder)
    run = read_run(adapter)
    raise_problems(adapters.problems(adapter))
    raise_problems(base_problem(run.card, options.base))
    scored, study = _find_scores(adapter, run, out)
    if not study.comparisons and not options.unscored:
        raise PolicyError(
            f"{run.card.name}: no score of it next to its base's was found in {results_dir(out)}",
            "an adapter that was scored against its base",
            f"score it: ft-harness eval {folder} --adapter {folder}; or give --unscored",
        )
    text, kept = model_card(run, study, state_limits(study), folder / CARD_NAME, options.base)
    text = text.replace("THIS_REPOSITORY", repo)
    samples = scored if options.samples else []
    stated = benchmark_results(run, study)
    package = make_package(adapter, text, options.base, samples, stated)
    raise_problems(secret_problems(package))
    # The hub last: what is wrong with the files needs neither token nor network.
    found = find_repo(repo)
    return Push(package, found, found.visibility(public=options.public), kept, options)


def _find_scores(
    adapter: AdapterFolder, run: AdapterRun, out: Path
) -> tuple[list[Evaluation], Study]:
    """(the evaluations of these very weights, the study of them next to their base's)."""
    try:
        found = find_records([results_dir(out)]).evaluations
    except InputError:  # nothing is there
        found = []
    scored = [
        each
        for each in found
        if each.record.adapter and each.record.adapter.identity == adapter.identity
    ]
    items = {each.record.settings.data_hash for each in scored}
    bases = [
        each
        for each in found
        if each.record.adapter is None and each.record.settings.data_hash in items
    ]
    return scored, _study_of(run, [*bases, *scored])


def _study_of(run: AdapterRun, evaluations: Sequence[Evaluation]) -> Study:
    return aggregate(evaluations, [run], name=run.card.name, command="")
