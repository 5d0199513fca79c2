"""The README.md of a finished adapter: what it says, and what a person wrote in it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard import metadata_load

from ft_harness.errors import InputError
from ft_harness.pipeline.publication import card_of_folder
from ft_harness.publish.model_card import model_card
from ft_harness.publish.readme import Section, merge_readme
from ft_harness.records.adapter_folder import AdapterFolder
from tests.builders.study import make_adapter, make_study, make_varied_study


def card_of(working: Path) -> Path:
    folder = working / "adapters" / "small"
    card_of_folder(AdapterFolder(folder), working, lambda line: None)
    return folder / "README.md"


def test_a_run_leaves_a_card_that_the_hubs_own_reader_takes(made: Path):
    path = made / "adapters" / "small" / "README.md"
    data = ModelCard.load(path).data  # raises where its model-index is malformed
    rows = json.loads((made / "results/reports/small/rows.json").read_text())
    (primary,) = [row for row in rows if row["primary"]]
    assert data.library_name == "peft"
    assert data.base_model == "tiny"  # the folder's name, and no path of this machine
    assert data.eval_results[0].metric_value == round(primary["tuned"], 6)
    assert data.eval_results[0].dataset_split == "test"
    text = path.read_text()
    assert str(made) not in text
    assert "/tmp" not in text
    index = metadata_load(path)["model-index"]
    assert [each["dataset"]["split"] for each in index[0]["results"]] == ["test"]
    arguments = index[0]["results"][0]["metrics"][0]["args"]
    assert arguments["base"] == round(primary["base"], 6)
    assert arguments["n"] == 24


def test_it_says_what_was_measured_and_what_made_it():
    run = make_adapter("snli_lora", "snli_custom")
    text, _ = model_card(run, make_study(), ["No control task was scored."], Path("nowhere"))
    # CLASSIFICATION and the rows of tests.builders.study: 39.12 % -> 73.12 %, 300 items
    scores = text[text.index("## Scores") : text.index("## How to load it")]
    (line,) = [line for line in scores.splitlines() if "accuracy  " in line and "test" in line]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[3:6] == ["39.1 %", "73.1 %", "+34.0"]
    assert cells[6:] == ["+27.9 to +39.9", "&lt; 0.001", "300", "improved"]
    assert "accuracy, majority class" in scores
    assert "33.7 %" in scores
    assert "squad" not in scores
    for said in (
        "55ee",
        "44dd",
        "33cc",
        "sha256:11aa",
        "12 min 34 s",
        "No control task",
        "seed (42)",
    ):
        assert said in text
    for title in ("Limits", "Licence", "How to load it"):
        assert f"\n## {title}\n" in text


def test_the_trained_task_comes_before_its_controls():
    """Of whichever task the study lists first; a control is called one."""
    study = make_varied_study()
    study = study.model_copy(update={"comparisons": study.comparisons[::-1]})
    text, _ = model_card(make_adapter("small", "snli_custom"), study, [], Path("nowhere"))
    opening = text[text.index("# small") : text.index("## Scores")]
    trained, control = "Something changed on snli", "Control task: Something changed on other"
    assert -1 < opening.index(trained) < opening.index(control)
    tasks = re.findall(r"^\| (snli\\_custom|other) ", text, re.MULTILINE)
    assert tasks == sorted(tasks, reverse=True)
    (entry,) = yaml.safe_load(text.split("---\n")[1])["model-index"]
    assert [each["dataset"]["name"] for each in entry["results"]][-1] == "other"


def test_settings_are_shown_as_a_recipe_has_them():
    """Without empty fields, and of the bundled model what to write in its place."""
    run = make_adapter("small", "snli_custom")
    sections = {
        "model": {"pretrained": "bundled", "dtype": "auto"},
        "adapter": {"r": 4, "lora_dropout": 0.0, "rank_pattern": {}, "use_dora": False},
        "train": {"learning_rate": 1e-3, "continue_from": "/somewhere/first", "max_steps": None},
    }
    model = run.card.model.model_copy(update={"pretrained": "bundled"})
    card = run.card.model_copy(update={"recipe": sections, "model": model})
    text, _ = model_card(run.model_copy(update={"card": card}), make_study(), [], Path("nowhere"))
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert yaml.safe_load(block) == {
        "model": {"dtype": "auto"},
        "adapter": {"r": 4, "lora_dropout": 0.0},
        "train": {"learning_rate": 0.001, "continue_from": "first"},
    }
    assert "A LoRA adapter for the bundled model of ft-harness, trained on a task." in text
    assert "# what `ft-harness path model` prints" in text


def test_an_unscored_adapter_says_so():
    run = make_adapter("lonely", "snli_custom")
    text, _ = model_card(run, make_study(), [], Path("nowhere"))
    assert "It was not scored" in text
    assert "model-index" not in text


def test_what_a_person_wrote_stays(working: Path):
    path = card_of(working)
    text = path.read_text()
    own = text.replace("library_name: peft", "license: mit\nlibrary_name: peft\nlanguage: en")
    own = own.replace("Name the licence", "MIT, as its author says. Name the licence")
    own = own.replace("## How to load it", "## Who it is for\n\nMy readers.\n\n## How to load it")
    path.write_text(own)
    said: list[str] = []
    folder = working / "adapters" / "small"
    card_of_folder(AdapterFolder(folder), working, said.append)
    again = path.read_text()
    assert metadata_load(path)["license"] == "mit"
    assert metadata_load(path)["language"] == "en"
    assert "MIT, as its author says." in again
    assert again.index("## Scores") < again.index("My readers.") < again.index("## How to load it")
    assert again.count("## Licence") == 1
    assert any("'Licence' edited by hand" in line for line in said)
    card_of_folder(AdapterFolder(folder), working, said.append)
    assert path.read_text() == again


def test_what_we_wrote_follows_the_numbers(working: Path):
    path = card_of(working)
    text = path.read_text()
    assert "| demo\\_sentiment |" in text
    for record in (working / "results").rglob("record.json"):
        record.unlink()
    assert "It was not scored" in card_of(working).read_text()


def test_sections_are_renewed_where_they_are(tmp_path: Path):
    path = tmp_path / "README.md"
    first = [Section("", "# x"), Section("A", "one"), Section("B", "two")]
    path.write_text(merge_readme(path, {"tags": ["a"]}, first)[0])
    path.write_text(path.read_text() + "\n## Mine\n\n```\n## no heading\n```\n")
    changed = [Section("", "# x"), Section("A", "ONE"), Section("C", "three")]
    text, kept = merge_readme(path, {"tags": ["b"]}, changed)
    assert kept == []
    lines = [line for line in text.splitlines() if line and not line.startswith("<!--")]
    assert lines == [
        *("---", "tags:", "- a", "- b", "---", "# x", "## A", "ONE", "## C", "three"),
        *("## Mine", "```", "## no heading", "```"),
    ]


def test_a_readme_that_was_there_before_is_kept(tmp_path: Path):
    path = tmp_path / "README.md"
    path.write_text("My adapter.\n")
    text, kept = merge_readme(path, {}, [Section("", "# x"), Section("A", "one")])
    assert "My adapter." in text
    assert kept == [""]
    assert "# x" not in text
    assert "## A" in text


@pytest.mark.parametrize("front", ["- a list", "a: [", "a: b: c"])
def test_damaged_front_matter_is_named(tmp_path: Path, front: str):
    path = tmp_path / "README.md"
    path.write_text(f"---\n{front}\n---\ntext\n")
    with pytest.raises(InputError, match=r"README\.md"):
        merge_readme(path, {}, [])


def test_text_of_strangers_is_inert():
    run = make_adapter("<script>x</script>", "snli_custom")
    text, _ = model_card(run, make_study(), ["![x](http://evil)"], Path("nowhere"))
    assert "<script>" not in text
    assert "![x]" not in text
