"""A finished adapter with what is known of it: its model card, and its upload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ft_harness import publish
from ft_harness.comparison.aggregator import AdapterRun, Study, aggregate
from ft_harness.errors import InputError, PolicyError, raise_problems
from ft_harness.models import adapters
from ft_harness.paths import results_dir
from ft_harness.pipeline.adapter_runs import read_run
from ft_harness.pipeline.stages import Say
from ft_harness.publish import Package, RemoteRepo
from ft_harness.records import Evaluation, find_records
from ft_harness.records.adapter_folder import AdapterFolder
from ft_harness.report import state_limits
from ft_harness.storage import write_text


@dataclass(frozen=True)
class PushOptions:
    """What is asked of an upload.

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
    """An upload that has been checked, before anybody said yes."""

    package: Package
    repo: RemoteRepo
    visibility: str
    kept: list[str]
    options: PushOptions

    def send(self) -> str:
        """Upload it; the address of the commit."""
        message = self.options.message or "Upload the adapter with its model card"
        return publish.upload(self.package, self.repo, public=self.options.public, message=message)


def card_of_folder(adapter: AdapterFolder, out: Path, say: Say) -> None:
    """Write the README.md of one of our finished adapters, with what `results/` holds of it.

    Raises:
        InputError: a file of the folder is damaged.
    """
    run = read_run(adapter)
    try:
        study = _find_scores(adapter, run, out)[1]
    except InputError as error:  # what lies in results/ is no fault of this adapter
        say(f"{adapter.path / publish.CARD_NAME}: without scores ({error.what})")
        study = _study_of(run, [])
    write_model_card(run, study, adapter.path, say)


def write_model_card(run: AdapterRun, study: Study, folder: Path, say: Say) -> None:
    """Write the adapter's README.md; sections that a person edited stay, which is said.

    Args:
        study: has its comparisons among its own, if it was scored.

    Raises:
        InputError: the README.md that is there can't be read.
    """
    of_adapter = _part_of(study, run)
    path = folder / publish.CARD_NAME
    text, kept = publish.model_card(run, of_adapter, state_limits(of_adapter), path)
    write_text(path, text)
    if kept:
        say(f"{path}: {_name(kept)} edited by hand, left as it is; delete it to have it anew")


def _name(kept: Sequence[str]) -> str:
    return ", ".join(f"section {title!r}" if title else "the text at the top" for title in kept)


def _part_of(study: Study, run: AdapterRun) -> Study:
    """The study of one adapter alone."""
    mine = [each for each in study.comparisons if each.tuned.subject == run.card.name]
    return study.model_copy(update={"comparisons": mine, "adapters": [run]})


def prepare_push(folder: Path, repo: str, out: Path, options: PushOptions) -> Push:
    """Everything of an upload but the upload: what it holds, who will see it, and what forbids it.

    Raises:
        InputError: no finished adapter, damaged or changed files.
        ConfigError: no repository, token or base that others can load.
        PolicyError: a secret in a file, no score, or a public repository where none was asked for.
    """
    adapter = AdapterFolder(folder)
    run = read_run(adapter)
    raise_problems(adapters.problems(adapter))
    raise_problems(publish.base_problem(run.card, options.base))
    scored, study = _find_scores(adapter, run, out)
    if not study.comparisons and not options.unscored:
        raise PolicyError(
            f"{run.card.name}: no score of it next to its base's was found in {results_dir(out)}",
            "an adapter of which is known whether it helps",
            f"score it: ft-harness eval {folder} --adapter {folder}; or give --unscored",
        )
    text, kept = publish.model_card(
        run, study, state_limits(study), folder / publish.CARD_NAME, options.base
    )
    text = text.replace("THIS_REPOSITORY", repo)
    samples = scored if options.samples else []
    stated = publish.benchmark_results(run, study)
    package = publish.make_package(adapter, text, options.base, samples, stated)
    raise_problems(publish.secret_problems(package))
    found = publish.find_repo(repo)
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
