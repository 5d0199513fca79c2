"""Results that show themselves: in a notebook as HTML without scripts and styles of its own, in a
terminal as its table, as data for pandas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ft_harness.comparison.aggregator import AdapterRun, Study
from ft_harness.comparison.amounts import duration
from ft_harness.comparison.power import Power
from ft_harness.comparison.sentences import state_power
from ft_harness.errors import ConfigError, suggest
from ft_harness.notebook.html import adapter_html, study_html, words_html
from ft_harness.pipeline.study_figures import draw_figure
from ft_harness.records import Evaluation, describe_record
from ft_harness.report.figures import learning_curves
from ft_harness.report.terminal_page import terminal_page

_WIDTH = 110  # columns of a terminal
_FIGURE_WIDTH = 672  # pixels that seven inches are shown in; the file has twice as many


@dataclass(frozen=True)
class Picture:
    """A figure as a notebook's result: it shows itself; `png` and `svg` are files as they are."""

    png: bytes = field(repr=False)
    svg: bytes = field(repr=False)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        return self.png, {"width": _FIGURE_WIDTH}


@dataclass(frozen=True)
class StudyFound:
    """A notebook's result of `run`, `report` and the like: a study and its written report.

    Attributes:
        study: everything that the report shows, as typed rows.
        path: of the report.
    """

    study: Study
    path: Path

    def to_pandas(self) -> pd.DataFrame:
        """The rows of `rows.json`, one line each: full precision, None where undefined."""
        rows = [
            row.model_dump(exclude={"base_settings", "tuned_settings"}) for row in self.study.rows()
        ]
        return pd.DataFrame(rows)

    def figure(self, name: str) -> Picture:
        """A figure of the report: `before_after`, `curves:<adapter>`, `training_size`, `cost`, ...

        Raises:
            ConfigError: the study has none of this name; the message lists those it has.
        """
        return Picture(draw_figure(self.study, name, "png"), draw_figure(self.study, name, "svg"))

    def cases(self, kind: str) -> pd.DataFrame:
        """Items that the report shows of a kind: `corrected`, `broken`, `not corrected`, ...

        Raises:
            ConfigError: no comparison has items of this kind; the message lists those it has.
        """
        known: list[str] = list(
            dict.fromkeys(
                name for each in self.study.comparisons for name in each.cases.cases or {}
            )
        )
        if kind not in known:
            raise ConfigError(
                f"no comparison has cases that are {kind!r}{suggest(kind, known)}",
                f"one of {', '.join(known) or 'none: there are no cases'}",
                "choose one of them",
            )
        lines = [
            {
                "task": each.tuned.settings.task,
                "split": each.tuned.settings.split,
                "adapter": each.tuned.subject,
                "prompt": case.prompt,
                "gold": case.gold,
                "base": case.base_answer,
                "tuned": case.tuned_answer,
            }
            for each in self.study.comparisons
            for name, listed in (each.cases.cases or {}).items()
            if name == kind
            for case in listed
        ]
        return pd.DataFrame(lines)

    def __repr__(self) -> str:
        return "\n".join([*terminal_page(self.study, _WIDTH), str(self.path)])

    def _repr_html_(self) -> str:
        return study_html(self.study, self.path)


@dataclass(frozen=True)
class TrainedAdapter:
    """A notebook's result of `train`: a finished adapter, its folder, and what its files say about
    it."""

    folder: Path
    run: AdapterRun

    def to_pandas(self) -> pd.DataFrame:
        """The training history, one line per step or evaluation."""
        return pd.DataFrame([entry.model_dump() for entry in self.run.history])

    def figure(self) -> Picture:
        """The learning curves."""
        return Picture(learning_curves(self.run, "png"), learning_curves(self.run, "svg"))

    def facts(self) -> dict[str, str]:
        """The facts that a person asks for first."""
        card = self.run.card
        return {
            "folder": str(self.folder),
            "base": card.model.pretrained,
            "examples": f"{card.examples:,}",
            "steps": f"{card.steps:,}",
            "final loss": f"{card.final_loss:.4f}",
            "trained parameters": f"{card.trainable_parameters:,}",
            "time": duration(card.cost.seconds),
        }

    def __repr__(self) -> str:
        facts = self.facts()
        widest = max(map(len, facts))
        lines = [f"  {name:<{widest}}  {value}" for name, value in facts.items()]
        return "\n".join([f"adapter {self.run.card.name}", *lines])

    def _repr_html_(self) -> str:
        return adapter_html(self.run.card.name, self.facts())


class Evaluations(list[Evaluation]):
    """A notebook's result of `evaluate`: evaluations in a list, with their scores as a table."""

    def to_pandas(self) -> pd.DataFrame:
        """One line per score: full precision, None where undefined."""
        lines = [
            {
                "subject": each.record.subject,
                "task": each.record.settings.task,
                "split": each.record.settings.split,
                "shots": each.record.settings.num_fewshot,
                **score.model_dump(include={"metric", "value", "low", "high", "n", "n_invalid"}),
                "status": each.record.status,
                "record": describe_record(each.record),
            }
            for each in self
            for score in each.record.scores
        ]
        return pd.DataFrame(lines)

    def __repr__(self) -> str:
        text: str = self.to_pandas().to_string(index=False, max_colwidth=60)
        return text

    def _repr_html_(self) -> str:
        html: str = self.to_pandas().to_html(index=False, border=0)
        return html


@dataclass(frozen=True)
class PowerFound:
    """A notebook's result of `power`: what test sets can show, one entry per base evaluation, or
    one for a score."""

    found: Sequence[Power]

    def to_pandas(self) -> pd.DataFrame:
        """One line each: items, and the smallest improvement that is found with 80 % power."""
        return pd.DataFrame([each.model_dump() for each in self.found])

    def __repr__(self) -> str:
        return "\n".join(line for each in self.found for line in state_power(each))

    def _repr_html_(self) -> str:
        return words_html(repr(self).splitlines())
