"""The public functions: what they give back, how it shows itself, how a call is stopped and goes
on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

import ft_harness
from ft_harness.comparison.aggregator import Study
from ft_harness.errors import ConfigError, InputError
from ft_harness.notebook.results import StudyFound
from tests.builders.html_elements import Elements
from tests.builders.study import make_study


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, model_folder: Path, reviews: Path) -> Path:
    folder = tmp_path_factory.mktemp("notebook") / "adapters" / "mine"
    folder.mkdir(parents=True)
    content = {
        "model": {"pretrained": str(model_folder)},
        "task": {"name": "demo_sentiment"},
        "data": {"source": str(reviews)},
        "adapter": {"r": 4},
        "train": {"max_steps": 4},
        "eval": {"splits": ["test"]},
    }
    (folder / "recipe.yaml").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def study(recipe: Path) -> StudyFound:
    out = recipe.parents[1]
    return ft_harness.run(str(recipe), set={"train.seed": 1}, out=str(out))


def test_a_run_gives_the_study_of_its_report(study: StudyFound, recipe: Path):
    out = recipe.parents[1]
    assert study.path == out / "results/reports/mine/report.md"
    rows = json.loads((study.path.parent / "rows.json").read_text())
    assert [row.model_dump(mode="json") for row in study.study.rows()] == rows
    assert json.loads((recipe / "card.json").read_text())["recipe"]["train"]["seed"] == 1
    frame = study.to_pandas()
    assert list(frame["metric"]) == [row["metric"] for row in rows]
    assert "delta" in frame


def test_no_model_was_loaded_here(recipe: Path):
    """What the cell leaves behind is no torch and no lm-eval."""
    code = (
        "import sys, ft_harness\n"
        f"study = ft_harness.run({str(recipe)!r}, out={str(recipe.parents[1])!r}, "
        "set={'train.seed': 1})\n"
        "print(repr(study)); study._repr_html_()\n"
        "assert not {'torch', 'lm_eval', 'peft', 'transformers'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "finished already" in done.stderr  # it continued, and said so
    assert "report.md" in done.stdout


def test_a_study_shows_itself(study: StudyFound):
    text = repr(study)
    assert "demo_sentiment" in text
    assert "Verdict" in text
    page = study._repr_html_()
    elements = Elements()
    elements.feed(page)
    verdict = study.study.comparisons[0].headline.verdict
    assert verdict
    assert f">{verdict}</b>" in page
    assert not {"script", "style", "iframe"} & set(elements.tags)
    png, shown = study.figure("before_after")._repr_png_()
    assert png.startswith(b"\x89PNG")
    assert shown == {"width": 672}
    assert b"<svg" in study.figure("before_after").svg
    with pytest.raises(ConfigError, match="did you mean before_after"):
        study.figure("before_aftr")


def test_cases_are_a_table():
    found = StudyFound(make_study(), Path("report.md"))
    cases = found.cases("corrected")
    assert set(cases["tuned"]) == {"entailment"}
    assert list(cases.columns)[:3] == ["task", "split", "adapter"]
    with pytest.raises(ConfigError, match="did you mean corrected"):
        found.cases("correct")


def test_text_of_strangers_is_inert_in_a_cell():
    study = make_study()
    hostile = "<img src=x onerror=alert(1)>"
    comparison = study.comparisons[0].model_copy(update={"cautions": [hostile]})
    found = StudyFound(
        study.model_copy(update={"comparisons": [comparison]}), Path("<b>report.md</b>")
    )
    assert "&lt;img" in found._repr_html_()
    assert "<img" not in found._repr_html_()
    assert "<b>report" not in found._repr_html_()


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [
        ("data.source", "reviews.csv", "reviews.csv"),
        ("data.source", Path("a/reviews.csv"), "a/reviews.csv"),
        ("data.columns", {"text": ["a: b"]}, {"text": ["a: b"]}),
        ("data.drop_labels", ("-", "1"), ["-", "1"]),
        ("data.train_size", None, None),
        ("data.balanced", True, True),
        ("train.seed", np.int64(3), 3),
        ("train.learning_rate", 2e-5, 2e-5),
        ("train.learning_rate", np.float64(2e-5), 2e-5),
        ("eval.num_fewshot", np.array([0, 3]), (0, 3)),
    ],
)
def test_what_a_person_has_at_hand_is_a_setting(recipe: Path, field: str, value, read):
    section, name = field.split(".")
    made = ft_harness.load_recipe(recipe, set={field: value})
    assert getattr(getattr(made, section), name) == read


@pytest.mark.parametrize("value", [object(), {1, 2}, "[INST] {x}", "null"])
def test_what_is_no_setting_is_named(recipe: Path, value):
    with pytest.raises(ConfigError, match=r"task\.system_instruction"):
        ft_harness.load_recipe(recipe, set={"task.system_instruction": value})


@pytest.mark.parametrize("function", [ft_harness.load_records, ft_harness.report])
def test_no_folder_at_all_is_named(function):
    with pytest.raises(InputError, match="no folder"):
        function([])


def test_a_study_that_was_too_large_to_be_kept_is_named(tmp_path: Path, monkeypatch):
    """The run is done: its cure is not to run it again."""
    monkeypatch.setattr("ft_harness.notebook.api.call", lambda _: None)
    folder = tmp_path / "results/reports/mine"
    folder.mkdir(parents=True)
    (folder / "rows.json").write_text("[]")
    with pytest.raises(InputError, match="too large to be kept") as error:
        ft_harness.sweep("adapters/mine", name="mine", out=tmp_path)
    assert "rows.json" in error.value.action


@pytest.mark.slow  # a training and several commands in processes of their own
def test_paths_are_texts_everywhere(study: StudyFound, recipe: Path):
    out = str(recipe.parents[1])
    records = ft_harness.load_records(f"{out}/results")
    assert len(records) == len(ft_harness.load_records([f"{out}/results"])) == 2
    assert set(records.to_pandas()["subject"]) == {"mine", "base--tiny"}
    assert "subject" in repr(records)
    assert "<table" in records._repr_html_()
    again = ft_harness.report(f"{out}/results", name="again", out=out)
    assert again.study.rows() == study.study.rows()
    base, tuned = (str(each.folder) for each in sorted(records, key=lambda e: e.record.subject))
    compared = ft_harness.compare(base, tuned, out=out)
    assert compared.study.comparisons[0].headline.delta == study.study.comparisons[0].headline.delta
    assert ft_harness.load_recipe(str(recipe), set={"train.seed": 9}).train.seed == 9
    trained = ft_harness.train(str(recipe), out=out, set={"train.seed": 1})
    assert "steps" in repr(trained)
    assert trained.figure().png.startswith(b"\x89PNG")
    assert len(trained.to_pandas()) >= 4
    scored = ft_harness.evaluate(str(recipe), adapter=str(recipe), out=out)
    assert {each.record.subject for each in scored} == {"mine", "base--tiny"}


def test_power_of_a_score_and_of_a_run(study: StudyFound, recipe: Path):
    found = ft_harness.power(n=300, base=0.6, effect=0.05)
    assert found.to_pandas()["n"].tolist() == [300]
    assert "300" in repr(found)
    assert found._repr_html_().startswith("<p>accuracy, 300 items, base 60.0 %")
    of_run = ft_harness.power(str(recipe.parents[1] / "results/base--tiny"))
    assert of_run.found[0].n == 24
    with pytest.raises(ConfigError):
        ft_harness.power()


@pytest.mark.slow  # a process that imports everything
def test_the_names_of_wings_are_the_functions():
    import ft_harness.report
    import ft_harness.sweep

    with pytest.raises(InputError, match="nowhere"):
        ft_harness.report("nowhere")
    from ft_harness.report import build_document  # a wing is reached by its own import

    assert build_document
    with pytest.raises(ConfigError):
        ft_harness.sweep("nowhere")


@pytest.mark.slow  # processes that import everything
def test_the_errors_of_the_command_are_raised(recipe: Path):
    out = recipe.parents[1]
    with pytest.raises(InputError, match=r"train\.seed") as error:
        ft_harness.run(str(recipe), set={"train.seed": 2}, out=str(out))
    assert "--name" in error.value.action
    with pytest.raises(ConfigError, match="learning_rat"):
        ft_harness.run(str(recipe), set={"train.learning_rat": 2}, out=str(out))


# --- stopping -------------------------------------------------------------------------------------

CELL = """
import signal
import sys
import ft_harness
signal.signal(signal.SIGINT, signal.default_int_handler)  # as a kernel has it, however it was started
try:
    ft_harness.run(sys.argv[1], out=sys.argv[2], set={"train.max_steps": 400, "train.save_steps": 5})
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


def start(recipe: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CELL, str(recipe), str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(found: object, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not found():  # type: ignore[operator]
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def checkpoints(out: Path) -> list[Path]:
    return sorted(out.glob("adapters/*/checkpoints/*/*"))


@pytest.fixture
def place(recipe: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A recipe of its own and its working folder."""
    folder = tmp_path / "adapters" / "long"
    folder.mkdir(parents=True)
    text = (recipe / "recipe.yaml").read_text(encoding="utf-8")
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")
    return folder, tmp_path


@pytest.mark.slow  # two trainings in processes of their own
@pytest.mark.parametrize("whole_group", [False, True], ids=["kernel", "group"])
def test_a_stopped_cell_leaves_a_checkpoint_and_goes_on(place, whole_group: bool):
    """Jupyter interrupts the kernel's process, or its whole group."""
    recipe, out = place
    with start(recipe, out) as cell:
        wait_for(lambda: checkpoints(out))
        if whole_group:
            os.killpg(cell.pid, signal.SIGINT)
        else:
            cell.send_signal(signal.SIGINT)
        printed, said = cell.communicate(timeout=120)
    assert printed == "stopped\n", said
    assert "run the same command again" in said
    kept = checkpoints(out)
    assert kept
    assert not (recipe / "card.json").exists()
    found = ft_harness.run(recipe, out=out, set={"train.max_steps": 400, "train.save_steps": 5})
    card = json.loads((recipe / "card.json").read_text())
    assert card["cost"]["resumed_from_step"] > 0
    assert isinstance(found.study, Study)


@pytest.mark.slow  # a training in a process of its own
def test_a_killed_kernel_takes_its_run_along(place):
    recipe, out = place
    with start(recipe, out) as cell:
        wait_for(lambda: checkpoints(out))
        (child,) = psutil.Process(cell.pid).children()
        cell.kill()
        cell.communicate()
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
