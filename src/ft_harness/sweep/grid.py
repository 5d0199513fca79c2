"""A request -> the grid of its points, in running order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from ft_harness.errors import ConfigError, FtHarnessError, ProblemsError, raise_problems, suggest
from ft_harness.recipe import (
    Draft,
    Recipe,
    SweepSection,
    read_draft,
)
from ft_harness.recipe.overrides import note_once
from ft_harness.recipe.values import write_value
from ft_harness.storage import canonical_json, sha256_text
from ft_harness.sweep.points import Point, is_named_for, point_name, short_names, value_of
from ft_harness.sweep.request import Request, split_overrides

SEEDS = ("train.seed", "eval.seed")  # repeats of a setting where nothing else varies with them
MOST_POINTS = 300
_STRETCHES = "stretches"
Values = dict[str, Any]


@dataclass(frozen=True)
class Grid:
    """The points of a sweep, and what they vary.

    Attributes:
        recipe: the sweep's own, whose values hold where nothing varies.
        axes: groups of fields that vary as one, without the seeds.
        seeds: the fields that repeat a setting.
        points: the reference first, then one seed of each setting, then the next; those of another
            base after that.
    """

    name: str
    recipe: Recipe
    section: SweepSection
    axes: tuple[tuple[str, ...], ...]
    seeds: tuple[str, ...]
    points: tuple[Point, ...]

    def has_named(self, adapter: str) -> bool:
        """Whether an adapter has a name that this sweep gives, with whatever fields vary; another
        sweep's name may begin alike."""
        fields = [
            *_field_names(self.recipe.resolved()),
            *(name for axis in self.axes for name in axis),
        ]
        return is_named_for(self.name, adapter, fields)

    def identity(self) -> str:
        """Hash of all points; it differs if the recipe has changed."""
        points = {point.name: point.recipe.resolved() for point in self.points}
        return sha256_text(canonical_json(points))


def read_grid(request: Request) -> Grid:
    """The grid of points that a request makes of a recipe.

    Raises:
        ConfigError: the recipe varies nothing or an unknown field, a value is of a wrong type, two
            points are equal, or there are very many.
    """
    draft = _with_options(request)
    recipe = draft.recipe()
    section = recipe.sweep
    if section is None:
        raise ConfigError(
            f"{request.path}: nothing varies in this recipe",
            "a section sweep: {vary: {train.learning_rate: [1e-4, 1e-3]}}",
            "add it, or use --seeds 3 or --set train.learning_rate=1e-4,1e-3",
        )
    places = _find_places(draft, section)
    raise_problems(_unknown_fields(places, section))
    _check_number(request, places[""], section.count())
    content = {key: each for key, each in draft.content.items() if key != "sweep"}
    return _Making(request.name, Draft(content, draft.places), section, places).grid()


def _check_number(request: Request, place: str, points: int) -> None:
    """Refuse very many points, unless they are intended."""
    if points > MOST_POINTS and not request.accepted:
        raise ConfigError(
            f"{place}: {points:,} points",
            f"at most {MOST_POINTS} unless more are intended",
            "shorten the lists, or add --yes",
        )


def _with_options(request: Request) -> Draft:
    """The recipe with what the command line varies in its sweep section."""
    kept, varied = split_overrides(request.path, request.overrides)
    draft = read_draft(request.path, kept)
    own = draft.content.get("sweep") or {}
    if not isinstance(own, dict) or not (varied or request.seeds or request.base_only):
        return draft
    trains = own.get("trains", True) and not request.base_only
    vary, said = dict(own.get("vary") or {}) | varied, dict.fromkeys(varied, "--set")
    if request.seeds is not None:
        _check_number(request, "--seeds", request.seeds)  # before they are listed
        name = "train.seed" if trains else "eval.seed"
        path, seeds = tuple(name.split(".")), f"--seeds {request.seeds}"
        note_once(f"{name}=...", path, {path: seeds} if name in varied else {})
        first = value_of(draft.recipe(), name)
        vary[name] = list(range(first, first + request.seeds))
        said[name] = "--seeds"
    section = own | {"vary": vary} | ({} if trains else {"trains": False})
    changed = draft.with_values({"sweep": section}, {"sweep": "the command line"})
    places: dict[tuple[str, ...], str] = dict(changed.places)
    places |= {("sweep", "vary", name): place for name, place in said.items()}
    return Draft(changed.content, places)


def _find_places(draft: Draft, section: SweepSection) -> dict[str, str]:
    """Where each varied field is written; the section itself under ''."""
    found = {"": draft.places.get(("sweep",), "sweep")}
    for kind in ("vary", "together", _STRETCHES):
        groups = getattr(section, kind)
        for group in groups if isinstance(groups, tuple) else (groups,):
            for name in group:
                above = draft.places.get(("sweep", kind), found[""])
                found[name] = draft.places.get(("sweep", kind, name), above)
    return found


def _unknown_fields(places: Mapping[str, str], section: SweepSection) -> list[FtHarnessError]:
    """Varied fields, and those of the reference, that no recipe has."""
    known = [
        f"{name}.{field}"
        for name, each in Recipe.model_fields.items()
        if name != "sweep"
        for field in getattr(each.annotation, "model_fields", ())
    ]
    faults: list[FtHarnessError] = []
    for name, place in places.items():
        if name and ".".join(name.split(".")[:2]) not in known:
            fields = "section.field of a recipe, like train.learning_rate"
            faults.append(
                ConfigError(
                    f"{place}: unknown field {name}{suggest(name, known)}",
                    fields,
                    "correct the name",
                )
            )
    repeats = {name for axis in section.axes() if _is_seed(axis, section) for name in axis}
    for name in section.reference:
        if name not in places or name in repeats:
            hint = ", a seed" if name in repeats else suggest(name, list(places))
            where = f"{places['']}: sweep.reference names {name}{hint}"
            right = "fields that vary and are no seeds: settings are compared over all of these"
            faults.append(ConfigError(where, right, "correct or remove it"))
    return faults


class _Making:
    """The points of one section."""

    def __init__(
        self, name: str, plain: Draft, section: SweepSection, places: Mapping[str, str]
    ) -> None:
        self.name, self.plain, self.section, self.places = name, plain, section, places
        self.own = plain.recipe()
        self.axes = [dict(axis) for axis in section.axes()]
        self.short = short_names([name for axis in self.axes for name in axis])
        repeats = [axis for axis in self.axes if _is_seed(axis, section)]
        self.seeds = tuple(name for axis in repeats for name in axis)
        makes = self.own.adapter_sections()
        self.made_by = {
            name for axis in self.axes for name in axis if name.partition(".")[0] in makes
        }

    def grid(self) -> Grid:
        reference = [self._reference_of(axis) for axis in self.axes]
        lengths = [range(len(next(iter(axis.values())))) for axis in self.axes]
        faults: dict[str, FtHarnessError] = {}
        points: list[Point] = []
        for places in product(*lengths):
            try:
                points.append(self._point(places, reference))
            except ConfigError as error:
                faults |= {error.what: error}
            except ProblemsError as error:
                faults |= {each.what: each for each in error.problems}
        raise_problems([*faults.values(), *([] if faults else self._equal(points))])
        first = not self.section.stretches  # which come after those that they go on from
        bases: dict[str, int] = {}  # that of the reference, then the others: each is loaded once
        for point in sorted(points, key=lambda point: not point.is_reference):
            bases.setdefault(point.base, len(bases))
        points.sort(
            key=lambda point: (
                bases[point.base],
                point.repeat,
                first and not point.is_reference,
            )
        )
        axes = tuple(tuple(axis) for axis in self.axes if not self._repeats(axis))
        return Grid(self.name, self.own, self.section, axes, self.seeds, tuple(points))

    def _repeats(self, axis: Mapping[str, Any]) -> bool:
        return next(iter(axis)) in self.seeds

    def _reference_of(self, axis: Mapping[str, Sequence[Any]]) -> int:
        """Which place of an axis is the reference's."""
        given = {
            name: self.section.reference[name] for name in axis if name in self.section.reference
        }
        if not given and self._is_stretches(axis):
            return 0
        wanted = given or {name: value_of(self.own, name) for name in axis}
        resolved = {name: self._resolve(name, value) for name, value in wanted.items()}
        for place in range(len(next(iter(axis.values())))):
            if self._is_stretches(axis) and all(
                value == list(axis[name][: place + 1]) for name, value in wanted.items()
            ):
                return place
            if all(self._resolve(name, axis[name][place]) == resolved[name] for name in wanted):
                return place
        if given:
            said = " and ".join(f"{name} {write_value(value)}" for name, value in given.items())
            there = zip(*(map(write_value, axis[name]) for name in given), strict=True)
            values = ", ".join(" and ".join(each) for each in there)
            raise ConfigError(
                f"{self.places['']}: sweep.reference has {said}",
                f"one of {values}",
                "change it, or add this value to the list",
            )
        reference = "" if self._repeats(axis) else ", which makes it the reference"
        for name, listed in axis.items():
            said_at = self.plain.places.get(tuple(name.split(".")), "")
            if said_at.startswith("--set "):
                raise ConfigError(
                    f"{said_at}: {name} varies in this sweep, so that this value changes nothing",
                    f"one of {', '.join(map(write_value, listed))}{reference}",
                    "leave the option out, or give several values for the sweep",
                )
        return 0

    def _resolve(self, name: str, value: Any) -> Any:
        """A value as the checked recipe has it; itself where the recipe can't take it alone."""
        try:
            return value_of(self.plain.with_values({name: value}, self.places).recipe(), name)
        except FtHarnessError:
            return value

    def _point(self, places: Sequence[int], reference: Sequence[int]) -> Point:
        written = {
            name: values[place]
            for axis, place in zip(self.axes, places, strict=True)
            for name, values in axis.items()
        }
        recipe = self.plain.with_values(written, self.places).recipe()
        making = {name: value for name, value in written.items() if name in self.made_by}
        made_by = self.plain.with_values(making, self.places).recipe()
        values = self._named(places, {name: value_of(recipe, name) for name in written})
        own = zip(self.axes, places, reference, strict=True)
        return Point(
            name=point_name(self.name, values, self.short),
            values=values,
            recipe=recipe,
            adapter=self._adapter(places, values),
            made_by=made_by,
            follows=self._follows(places, values),
            place=tuple(places),
            seeds={name: values[name] for name in self.seeds},
            repeat=sum(
                place for axis, place in zip(self.axes, places, strict=True) if self._repeats(axis)
            ),
            is_reference=all(place == its for axis, place, its in own if not self._repeats(axis)),
        )

    def _named(self, places: Sequence[int], values: Values) -> Values:
        """The values, of stretches all that led there."""
        found = dict(values)
        for axis, place in zip(self.axes, places, strict=True):
            if self._is_stretches(axis):
                found |= {name: list(each[: place + 1]) for name, each in axis.items()}
        return found

    def _adapter(self, places: Sequence[int], values: Values) -> str:
        named = self._named(places, values)
        making = {name: value for name, value in named.items() if name in self.made_by}
        return point_name(self.name, making, self.short) if making else self.name

    def _follows(self, places: Sequence[int], values: Values) -> str | None:
        """The adapter of the stretch before."""
        for number, (axis, place) in enumerate(zip(self.axes, places, strict=True)):
            if self._is_stretches(axis) and place > 0:
                before = [*places[:number], place - 1, *places[number + 1 :]]
                return self._adapter(before, values)
        return None

    def _is_stretches(self, axis: Mapping[str, Any]) -> bool:
        return bool(self.section.stretches) and tuple(axis) == tuple(self.section.stretches)

    def _equal(self, points: Sequence[Point]) -> Iterator[FtHarnessError]:
        """The faults of points that make and score the same as another one, or that have its name
        for another value, like 1.0 and 1."""
        known: dict[str, str] = {}
        named: dict[str, Values] = {}
        for point in points:
            resolved = point.recipe.resolved()
            if self.section.trains:
                resolved |= point.recipe.adapter_sections()
            else:
                resolved = {
                    k: each for k, each in resolved.items() if k not in ("adapter", "train")
                }
            start = point.recipe.train.continue_from if self.section.trains else None
            key = canonical_json([resolved, point.follows, start])
            if key in known:
                yield ConfigError(
                    f"{self.places['']}: {point.name} and {known[key]} are equal points",
                    "values that each give another adapter or another score",
                    "remove one of the equal values",
                )
            elif point.name in named:
                both = f"{write_value(named[point.name])} and {write_value(dict(point.values))}"
                yield ConfigError(
                    f"{self.places['']}: two points would be named {point.name}: {both}",
                    "values that are written differently in a name",
                    "remove one of them",
                )
            known.setdefault(key, point.name)
            named.setdefault(point.name, dict(point.values))


def _is_seed(axis: Mapping[str, Any], section: SweepSection) -> bool:
    """Whether an axis repeats settings. A seed that varies together with another field is part of
    the setting: two of them would have no seed in common, and could not be compared."""
    return set(axis) <= set(SEEDS) and axis != section.stretches


def _field_names(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """`section.field` of every field, and of every key of a field that is a mapping."""
    for key, value in values.items():
        name = f"{above}{key}"
        if above:
            yield name
        if isinstance(value, dict):
            yield from _field_names(value, f"{name}.")
