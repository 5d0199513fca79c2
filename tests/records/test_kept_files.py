"""Files that ft-harness keeps: none is written that it would refuse to read."""

from __future__ import annotations

from pathlib import Path

import pytest

from ft_harness.comparison.aggregator import Study
from ft_harness.records import kept_files, read_kept, write_kept_list
from ft_harness.report import rows_json
from tests.builders.study import make_study


def test_what_can_be_read_is_written(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    assert write_kept_list(path, make_study())
    found = read_kept(path, Study, "a study", "again")
    assert found is not None
    assert [*rows_json(found)] == [*rows_json(make_study())]


@pytest.mark.parametrize("spare", [0, -1])
def test_what_could_not_be_read_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spare: int
) -> None:
    """At the bound in bytes, and one below: six runs of a sweep with five scored tasks and splits
    take 1.6 MB, so that some 980 comparisons may pass 64 MiB."""
    path = tmp_path / "study.json"
    write_kept_list(path, make_study())
    bound = path.stat().st_size + spare
    path.unlink()
    monkeypatch.setattr(kept_files, "_LONGEST", bound)
    assert write_kept_list(path, make_study()) == (spare == 0)
    assert [each.name for each in tmp_path.iterdir()] == (["study.json"] if spare == 0 else [])
