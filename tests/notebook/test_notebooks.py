"""The notebooks of the repository: run from the first cell to the last in a real kernel, and small
and plain enough to be shown by a code host."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.builders.browser import CHROMIUM, Browser

REPOSITORY = Path(__file__).parents[2]
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
LARGEST = 300_000  # bytes of a notebook that a code host renders


def outputs_of(notebook: Any) -> list[dict[str, Any]]:
    return [output for cell in notebook["cells"] for output in cell.get("outputs", [])]


def execute(name: str, place: Path, parameters: str | None = None) -> Any:
    """A notebook after all its cells ran in a kernel whose working folder is `place`."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    notebook = nbformat.read(REPOSITORY / "notebooks" / name, as_version=4)
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "install" in tags:
            cell.source = ""
        if "parameters" in tags and parameters is not None:
            cell.source = parameters
    resources = {"metadata": {"path": str(place)}}
    nbclient.NotebookClient(notebook, timeout=900, resources=resources).execute()
    return notebook


def show(notebook: Any, place: Path) -> str:
    """The text of all HTML outputs as a browser lays them out."""
    html = ["".join(o["data"]["text/html"]) for o in outputs_of(notebook) if "text/html" in o.get("data", {})]  # fmt: skip
    assert html
    page = place / "page.html"
    page.write_text(f"<!doctype html><meta charset=utf-8><body>{''.join(html)}", encoding="utf-8")
    with Browser(place / "profile") as browser:
        browser.open(page)
        return str(browser.run("document.body.innerText"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_saved_notebook_is_small_and_plain(path: Path):
    assert path.stat().st_size < LARGEST
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert "widgets" not in notebook["metadata"]
    text = json.dumps(outputs_of(notebook))
    assert not re.search(r"<script|application/vnd|application/javascript", text)
    assert not re.search(r"/(?:home|root|tmp|work|Users)/", path.read_text(encoding="utf-8"))


def test_there_are_two_and_the_first_is_saved_with_its_outputs():
    assert [path.stem for path in NOTEBOOKS] == ["kaggle-qlora", "quickstart"]
    notebook = json.loads((REPOSITORY / "notebooks/quickstart.ipynb").read_text(encoding="utf-8"))
    kinds = {kind for output in outputs_of(notebook) for kind in output.get("data", {})}
    assert {"text/html", "image/png", "text/plain"} <= kinds
    assert [o["text"] for o in outputs_of(notebook) if o["output_type"] == "stream"] == []


@pytest.mark.slow  # two trainings of the bundled model
def test_quickstart(tmp_path: Path):
    notebook = execute("quickstart.ipynb", tmp_path)
    rows = json.loads((tmp_path / "results/reports/first/rows.json").read_text())
    (primary,) = [row for row in rows if row["primary"]]
    assert (primary["n"], primary["verdict"]) == (400, "improved")
    assert len(json.dumps(notebook)) < LARGEST
    if CHROMIUM:
        shown = show(notebook, tmp_path)
        assert "improved" in shown
        assert "2 training seeds" in shown


@pytest.mark.slow  # two kernels and a training
def test_kaggle_on_a_tiny_model_over_two_sessions(
    tmp_path: Path, model_folder: Path, reviews: Path
):
    """The second session has the first one's output as an input, and computes nothing again."""
    first, second = tmp_path / "first", tmp_path / "second"
    for work, earlier in ((first, tmp_path / "nothing"), (second, tmp_path / "input")):
        work.mkdir()
        parameters = "\n".join(
            [
                f"MODEL, QUANTIZATION, TASK = {str(model_folder)!r}, None, 'demo_sentiment'",
                f"DATA = {{'source': {str(reviews)!r}}}",
                "TRAIN = {'max_steps': 4}",
                f"WORK, EARLIER = {str(work)!r}, {str(earlier)!r}",
            ]
        )
        notebook = execute("kaggle-qlora.ipynb", work, parameters)
        (tmp_path / "input").mkdir(exist_ok=True)
        if work == first:
            first.rename(tmp_path / "input" / "earlier")
    said = json.dumps(outputs_of(notebook))
    assert "copied earlier" in said
    assert "the adapter is finished already" in said
    assert "scored already" in said
    assert "# qlora" in said
