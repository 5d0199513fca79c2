"""What each setting of a sweep changes against its base, task by task: the lines that its report
begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ft_harness import stats
from ft_harness.comparison.amounts import counted, decimals
from ft_harness.comparison.comparability import filter_of
from ft_harness.comparison.features import name_protocol
from ft_harness.comparison.remarks import kind_of
from ft_harness.comparison.study import Comparison, Row, Study, Verdict
from ft_harness.comparison.sweep_study import Change, Effect, Setting, SettingScore, SweepStudy


@dataclass(frozen=True)
class SettingAnswer:
    """One setting on one task.

    Attributes:
        found: the comparison of each seed that has one.
        base, mean: over the seeds; None: undefined.
        deviation: standard deviation of the score over the seeds; None: fewer than two.
        change: mean minus base; of several seeds for other seeds and other items, which of a
            control task is not computed: then there is neither interval nor p.
        verdict: of the change; None where each seed has its own.
        effect: the difference from the reference; None: it is the reference, or a control task.
    """

    setting: Setting
    found: Sequence[Comparison]
    base: float | None
    mean: float | None
    deviation: float | None
    change: Change | None
    verdict: Verdict | None
    effect: Effect | None

    @property
    def seeds(self) -> int:
        return len(self.found) or self.setting.seeds

    @property
    def rows(self) -> list[Row]:
        return [each.headline for each in self.found]

    @property
    def said(self) -> str:
        """The verdict; where there is none of the mean, how many seeds came out how."""
        if self.verdict is not None or self.change is None:
            return self.verdict or ""
        verdicts = [row.verdict or "undefined" for row in self.rows]
        if len(verdicts) < 2:
            return "".join(verdicts)
        return ", ".join(f"{verdicts.count(each)} {each}" for each in dict.fromkeys(verdicts))

    @property
    def kinds(self) -> list[str]:
        """What the cautions of its seeds are about, each once."""
        return list(dict.fromkeys(kind_of(said) for each in self.found for said in each.cautions))

    def count_losses(self) -> dict[str, int]:
        """Of a control task: in how many seeds it got worse, and scores as guessing does."""
        counts = {
            "worse": sum(row.verdict == "worse" for row in self.rows),
            "at chance level": sum(map(_is_at_chance, self.found)),
        }
        return {what: count for what, count in counts.items() if count}


def _is_at_chance(comparison: Comparison) -> bool:
    """Whether chance lies in the interval of the tuned model's own score."""
    chance, metric = comparison.rules().get("chance"), comparison.headline.metric
    scores = (each for each in comparison.tuned.scores if each.metric == metric)
    score = next(scores, None)
    if chance is None or score is None or score.low is None or score.high is None:
        return False
    return score.low <= chance <= score.high


@dataclass(frozen=True)
class TaskAnswers:
    """All settings on one task and split.

    Attributes:
        n: items; None: not the same number in each line.
        rules: what rules without a model score, such as the majority class and chance.
    """

    task: str | None
    split: str
    metric: str
    is_control: bool
    n: int | None
    rules: dict[str, float]
    lines: list[SettingAnswer]

    @property
    def digits(self) -> int:
        """Decimals with which the numbers of all lines add up."""
        changes = [each for line in self.lines for each in (line.change, _change(line.effect))]
        usual = decimals(self.metric, None, None)
        return max([usual, *(each.digits(self.metric) for each in changes if each)])


def _change(effect: Effect | None) -> Change | None:
    return effect.change if effect else None


def find_answers(study: Study) -> list[TaskAnswers]:
    """The trained task, on test and on the split of a choice; then each control task. None where
    the study is no sweep, or no point has a result."""
    return list(_find(study)) if study.sweep is not None else []


@lru_cache(maxsize=2)
def _find(study: Study) -> tuple[TaskAnswers, ...]:
    sweep = study.sweep
    assert sweep is not None
    splits = ["test", sweep.split] if sweep.choice else [sweep.split]
    found = [each for split in dict.fromkeys(splits) if (each := _trained(study, sweep, split))]
    controls: dict[tuple[str, ...], list[Comparison]] = {}
    for compared in study.comparisons:
        if compared.role == "control task":
            controls.setdefault(_place(compared), []).append(compared)
    tasks = [task for task, *_ in controls]
    # the split and the metric are said elsewhere
    named = [", ".join(place[: -2 if tasks.count(place[0]) > 1 else 1]) for place in controls]
    answers = zip(named, controls.values(), strict=True)
    return (*found, *(_control(sweep, name, members) for name, members in answers))


def _place(comparison: Comparison) -> tuple[str, ...]:
    """Task, shots and filter: what makes two control tasks of one."""
    shots = f"{comparison.tuned.settings.num_fewshot}-shot"
    chosen = filter_of(comparison.tuned)
    row = comparison.headline
    return row.task, shots, *([f"filter {chosen}"] if chosen else []), row.split, row.metric


def _trained(study: Study, sweep: SweepStudy, split: str) -> TaskAnswers | None:
    scored = [(each, each.score(split)) for each in sweep.settings]
    metric = next((score.metric for _, score in scored if score), None)
    if metric is None:
        return None
    compared = [
        each
        for each in study.comparisons
        if each.role == "trained task" and each.headline.split == split
    ]
    lines = [
        _of_trained(sweep, setting, score, compared)
        for setting, score in scored
        # of a choice, test has the reference and what was chosen
        if score is not None or split == sweep.split
    ]
    items = {score.n for _, score in scored if score}
    first = next((each for line in lines for each in line.found), None)
    task = ", ".join([first.headline.task, *_one_protocol(study, lines)]) if first else None
    n = items.pop() if len(items) == 1 else None
    return TaskAnswers(task, split, metric, False, n, _rules(lines), lines)


def _one_protocol(study: Study, lines: Sequence[SettingAnswer]) -> list[str]:
    """What all lines have in common of that in which an adapter was scored in several ways."""
    named = [name_protocol(study, each) for line in lines for each in line.found]
    return [word for word in named[0] if all(word in each for each in named)]


def _of_trained(
    sweep: SweepStudy, setting: Setting, score: SettingScore | None, compared: Sequence[Comparison]
) -> SettingAnswer:
    if score is None:
        return SettingAnswer(setting, [], None, None, None, None, None, None)
    found = [
        each
        for each in compared
        if each.tuned.subject in _adapters(sweep, setting)
        and each.headline.metric == score.metric
        # an adapter may be scored in several ways, of which a setting has one
        and each.tuned.eval_id in score.evaluations
    ]
    change, verdict = score.change, None
    if change is not None:
        verdict = _judge(score, change, found)
    elif len(found) == 1:
        change, verdict = _change_of(found[0].headline), found[0].headline.verdict
    effects = (each for each in sweep.effects if each.values == setting.values)
    effect = next((each for each in effects if each.split == score.split), None)
    return SettingAnswer(
        setting, found, score.base, score.mean, score.deviation, change, verdict, effect
    )


def _adapters(sweep: SweepStudy, setting: Setting) -> set[str]:
    return {each.adapter for each in sweep.points if each.adapter and each.name in setting.points}


def _judge(score: SettingScore, change: Change, found: Sequence[Comparison]) -> Verdict | None:
    """The verdict on a mean over seeds, by the rules of a single row."""
    if change.delta is None or change.low is None or change.high is None or change.p is None:
        return None
    if change.p >= stats.ALPHA or change.low <= 0 <= change.high:
        return "no evidence"
    # What decides a seed's verdict against its own numbers decides the mean's.
    if any(each.headline.decided_by == "items without overlap" for each in found):
        return "no evidence"
    if (change.delta > 0) != score.higher_is_better:
        return "worse"
    vain = any(each.above_majority is False for each in found)
    return "improved, not above majority" if vain else "improved"


def _change_of(row: Row) -> Change:
    return Change(
        before=row.base, after=row.tuned, delta=row.delta, low=row.low, high=row.high, p=row.p,
        seeds=1, n=row.n,
    )  # fmt: skip


def _control(sweep: SweepStudy, name: str, compared: Sequence[Comparison]) -> TaskAnswers:
    lines = [
        _of_control(setting, [each for each in compared if each.tuned.subject in adapters])
        for setting in sweep.settings
        if (adapters := _adapters(sweep, setting))
    ]
    lines = [each for each in lines if each.found]
    items = {row.n for line in lines for row in line.rows}
    n = items.pop() if len(items) == 1 else None
    row = compared[0].headline
    return TaskAnswers(name, row.split, row.metric, True, n, _rules(lines), lines)


def _of_control(setting: Setting, found: Sequence[Comparison]) -> SettingAnswer:
    """Each seed keeps its own verdict: that seeds differ is no reason to doubt a loss that each of
    them shows."""
    rows = [each.headline for each in found]
    is_single = len(rows) == 1
    change = _change_of(rows[0]) if is_single else _mean_change(rows)
    verdict = rows[0].verdict if is_single else None
    tuned = [row.tuned for row in rows if row.tuned is not None]
    deviation = float(np.std(tuned, ddof=1)) if len(tuned) > 1 else None
    before, after = (change.before, change.after) if change else (None, None)
    return SettingAnswer(setting, found, before, after, deviation, change, verdict, None)


def _mean_change(rows: Sequence[Row]) -> Change | None:
    known = [
        (row.base, row.tuned, row.delta)
        for row in rows
        if row.base is not None and row.tuned is not None and row.delta is not None
    ]
    if len(known) < len(rows):
        return None
    before, after, delta = (float(np.mean(each)) for each in zip(*known, strict=True))
    n = min(row.n for row in rows)
    return Change(
        before=before, after=after, delta=delta, low=None, high=None, p=None, seeds=len(rows), n=n
    )


def _rules(lines: Sequence[SettingAnswer]) -> dict[str, float]:
    found = [each for line in lines for each in line.found]
    return {rule: value for each in found for rule, value in each.rules().items()}


def _controls_of(
    answers: Sequence[TaskAnswers], setting: Setting
) -> list[tuple[str, SettingAnswer]]:
    controls = [each for each in answers if each.is_control]
    lines = [(each.task or "", line) for each in controls for line in each.lines]
    return [(task, line) for task, line in lines if line.setting.values == setting.values]


def state_losses(answers: Sequence[TaskAnswers], setting: Setting) -> list[str]:
    """What a setting cost on each control task: `control_text worse in 2 of 2 seeds`."""
    return [
        f"{task} {what}{f' in {count} of {line.seeds} seeds' if line.seeds > 1 else ''}"
        for task, line in _controls_of(answers, setting)
        for what, count in line.count_losses().items()
    ]


def kinds_of_losses(answers: Sequence[TaskAnswers], setting: Setting) -> list[str]:
    """The same for a narrow column, whichever control task it is: `control worse`."""
    found = (line for _, line in _controls_of(answers, setting))
    kinds = (what.removesuffix(" level") for line in found for what in line.count_losses())
    return list(dict.fromkeys(f"control {what}" for what in kinds))


def describe_lines(answers: TaskAnswers) -> str:
    """`2 seeds`, or what their numbers are; "" for one seed each."""
    counts = {line.seeds for line in answers.lines if line.found or line.mean is not None}
    if counts <= {1}:
        return ""
    most, least = max(counts), min(counts)
    return counted(most, "seed") if most == least else f"{least} to {most} seeds"
