"""The report's sections on control tasks, on other forms of the data, and on the families of
deciding comparisons."""

from __future__ import annotations

from ft_harness.comparison.aggregator import Study
from ft_harness.comparison.sentences import state_controls, state_family
from ft_harness.comparison.study import Role
from ft_harness.report.document import Block, Cell, Paragraph, Table
from ft_harness.report.score_section import long_table
from ft_harness.report.view import View, leading


def forgetting_section(study: Study) -> list[Block]:
    """The section on control tasks: the deciding metric on tasks that training should not harm."""
    said = (
        "Tasks that the adapter was not trained on: a loss here is what the training cost "
        f"elsewhere. {state_controls(study)}"
    )
    return _by_role(study, "control task", said, ("forgetting", "Control tasks"))


def same_data_section(study: Study) -> list[Block]:
    """The section on other forms of the data: the deciding metric on them, which decides
    nothing."""
    said = (
        "Other forms of the data that the adapter was trained on (its perplexity, for one): they "
        "are descriptive and decide nothing."
    )
    return _by_role(study, "same data", said, ("same_data", "Other forms of the data"))


def _by_role(study: Study, role: Role, said: str, names: tuple[str, str]) -> list[Block]:
    chosen = [(each, each.headline) for each in study.comparisons if each.role == role]
    features = list(dict.fromkeys(["adapter", *leading(study, View())]))
    return [Paragraph(said), long_table(study, chosen, features, names)] if chosen else []


def family_section(study: Study) -> list[Block]:
    """The comparisons of each family, and what p was adjusted for."""
    lines: list[list[Cell]] = [
        [family.name, member] for family in study.families for member in family.members
    ]
    said: list[Block] = [Paragraph(state_family(family)) for family in study.families]
    header = ["Family", "Deciding comparison"]
    table = Table("families", "Families", header, lines, "tt", appendix=True)
    return [*said, table] if lines else []
