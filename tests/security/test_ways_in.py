"""Code of a stranger's task, model or data runs on no way into our commands.

Each way is tried with a module that leaves a mark when it is imported. The checks before a run look
at files; what they miss must be stopped where lm-eval would run it.
"""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ft_harness.errors import PolicyError
from ft_harness.models import templates
from ft_harness.models.lm_eval_private.models import render_chat
from tests.builders.command import assert_three_lines, first_error

pytestmark = pytest.mark.usefixtures("small_index")
MARK = "ran"
EVIL = "import pathlib\npathlib.Path({mark!r}).write_text('')\nclass Task: pass\ndef x(*a, **k): return 1\n"
WORKING = """\
task: a
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{text}} It was"
doc_to_target: label
doc_to_choice: [bad, good]
"""
YAMLS = {  # the content of a stranger's YAML
    "a value": "process_docs: !function evil.x\n",
    "a mapping's key": "metadata:\n  ? !function evil.x\n  : 1\n",
    "a key in a list": "metric_list:\n  - {? !function evil.x : 1, metric: acc}\n",
    "an anchor": "metadata: {a: &e !function evil.x, b: *e}\n",
    "a class": "class: !function evil.Task\n",
    "examples": "fewshot_config: {samples: !function evil.x}\n",
    "a nested module": "process_results: !function evil.deep.x\n",
    "an include": "include: other.inc\n",
    "a module of Python": "process_docs: !function os.system\n",
    "a tag of Python": "metadata: !!python/object/apply:pathlib.Path.touch [MARK]\n",
    "a metric's module": "metric_list: [{metric: ./t/evil}]\n",
    "a metric of the hub": "metric_list: [{metric: acc, hf_evaluate: true}]\n",
    "a prompt's source": "use_prompt: promptsource:x\n",
    "pickled tables": "dataset_path: pandas\ndataset_kwargs: {data_files: {test: x.pkl}}\n",
    "a template": """doc_to_text: "{{ ''.__class__.__mro__[1].__subclasses__() }}"\n""",
}
ROADS = {  # how the YAML is reached
    "an include path": ["run", "--tasks", "a", "--include_path", "t"],
    "a file": ["run", "--tasks", "t/a.yaml"],
    "a folder": ["run", "--tasks", "t"],
    "a pattern": ["run", "--tasks", "?/a.yaml"],
    "a configuration": ["run", "--config", "c.yaml"],
}


@pytest.fixture
def stranger(tmp_path: Path, reviews: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `t` of somebody else's in the current one, on Python's path, with a module that
    leaves a mark."""
    code = EVIL.format(mark=str(tmp_path / MARK))
    for path in ("t/evil.py", "t/evil/deep.py", "t/evil/evil.py", "evil.py"):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code, encoding="utf-8")
    (tmp_path / "t/other.inc").write_text("process_docs: !function evil.x\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(Pickled(tmp_path / MARK)))
    (tmp_path / "t/a.yaml").write_text(WORKING.replace("DATA", str(reviews / "test.jsonl")))
    return tmp_path


def arguments(road: str, model_folder: Path) -> list[str]:
    model = ["--model", "ft-causal", "--model_args", f"pretrained={model_folder}"]
    return ["lm-eval", *ROADS[road], *model, "--device", "cpu", "--limit", "2"]


def write_task(folder: Path, content: str) -> None:
    """The working task, in which the keys of `content` replace its own."""
    own = (folder / "t/a.yaml").read_text()
    keys = tuple(f"{line.partition(':')[0]}:" for line in content.splitlines() if line[0] != " ")
    kept = "".join(line for line in own.splitlines(True) if not line.startswith(keys))
    (folder / "t/a.yaml").write_text(kept + content.replace("MARK", str(folder / MARK)))


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("content", ["a value", "a mapping's key"])
def test_every_road(road: str, content: str, ft: Any, stranger: Path, model_folder: Path):
    write_task(stranger, YAMLS[content])
    (stranger / "c.yaml").write_text("tasks: [t/a.yaml]\n")
    code, _, err = ft(*arguments(road, model_folder))
    assert not (stranger / MARK).exists()
    assert code == 4, err
    assert_three_lines(err, "evil.x", "--trust-task-code")


@pytest.mark.parametrize("content", YAMLS)
def test_every_place_in_a_yaml(content: str, ft: Any, stranger: Path, model_folder: Path):
    write_task(stranger, YAMLS[content])
    code, _, err = ft(*arguments("a pattern", model_folder))
    assert not (stranger / MARK).exists()
    assert code in (3, 4), err
    assert code == 4 or "python" in content or "source" in content or "Python" in content, err
    assert "Traceback" not in err


@pytest.mark.parametrize("content", sorted(set(YAMLS) - {"a prompt's source"}))
@pytest.mark.parametrize("command", [("tasks", "show"), ("check",)])
def test_our_own_commands(content: str, command: tuple[str, ...], ft: Any, stranger: Path):
    write_task(stranger, YAMLS[content])
    code, _, err = ft(*command, "a", "--include-path", "t")
    assert not (stranger / MARK).exists()
    assert code in (3, 4), err
    assert_three_lines(first_error(err))


def test_a_task_within_a_group(ft: Any, stranger: Path, model_folder: Path):
    (stranger / "t/g.yaml").write_text(
        "group: g\ntask:\n  - {task: inner, process_docs: !function evil.x}\n"
    )
    given = arguments("an include path", model_folder)
    given[given.index("a")] = "g"
    code, _, err = ft(*given)
    assert not (stranger / MARK).exists()
    assert code == 4, err
    assert_three_lines(err, "evil.x")


def test_a_package_of_our_name_next_to_the_yaml(ft: Any, stranger: Path, model_folder: Path):
    (stranger / "t/ft_harness").mkdir()
    (stranger / "t/ft_harness/data.py").write_text((stranger / "t/evil.py").read_text())
    write_task(stranger, "process_docs: !function ft_harness.data.load_splits\n")
    code, _, _ = ft(*arguments("a pattern", model_folder))
    assert not (stranger / MARK).exists()
    assert code != 0


def test_with_the_flag_it_runs(ft: Any, stranger: Path, model_folder: Path):
    write_task(stranger, "process_docs: !function evil.x\n")
    ft(*arguments("a pattern", model_folder), "--trust-task-code")
    assert (stranger / MARK).exists()


class Pickled:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize(
    "option", [["--use_cache", "cache"], ["--cache_requests", "true"], ["--config", "c.yaml"]]
)
def test_a_planted_cache(
    option: list[str], ft: Any, stranger: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """lm-eval keeps answers and requests as pickles, the former under a key without the adapter."""
    from lm_eval.caching import cache
    from sqlitedict import SqliteDict

    with SqliteDict(str(stranger / "cache_rank0.db"), autocommit=True) as planted:
        planted["x"] = Pickled(stranger / MARK)
    monkeypatch.setattr(cache, "PATH", str(stranger))
    name = "requests-a-Noneshot-rank0-world_size1-tokenizer"
    Path(cache._cache_file_path(name)).write_bytes(pickle.dumps(Pickled(stranger / MARK)))
    (stranger / "c.yaml").write_text("use_cache: cache\n")
    code, _, err = ft(*arguments("a file", model_folder), *option)
    assert not (stranger / MARK).exists()
    assert code == 2, err
    assert_three_lines(err, "cache")


def test_a_cache_that_is_reached_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """By lm-eval's functions themselves."""
    from lm_eval import evaluator
    from lm_eval.caching import cache

    monkeypatch.setattr(cache, "PATH", str(tmp_path))
    Path(cache._cache_file_path("x")).write_bytes(pickle.dumps(Pickled(tmp_path / MARK)))
    assert cache.load_from_cache("x", cache=True) is None
    assert not (tmp_path / MARK).exists()
    with pytest.raises(PolicyError):
        evaluator.lm_eval.api.model.CachingLM(None, str(tmp_path / "c.db"))


@pytest.mark.parametrize("given", [{}, {"weights_only": False}])
def test_pickled_tensors(given: dict[str, bool], tmp_path: Path):
    """Of a checkpoint, and of lm-eval's model `steered`, which asks for them."""
    with (tmp_path / "x.pt").open("wb") as file:
        torch.save(Pickled(tmp_path / MARK), file)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "x.pt", **given)
    assert not (tmp_path / MARK).exists()


@pytest.mark.parametrize("model", ["ft-causal", "hf"])
@pytest.mark.parametrize("way", ["flag", "argument", "configuration"])
def test_remote_code_of_a_model(model: str, way: str, ft: Any, stranger: Path, model_folder: Path):
    given = arguments("a file", model_folder)
    given[given.index("ft-causal")] = model
    if way == "flag":
        given.append("--trust_remote_code")
    elif way == "argument":
        given[given.index("--model_args") + 1] += ",trust_remote_code=True"
    else:
        (stranger / "c.yaml").write_text("trust_remote_code: true\n")
        given += ["--config", "c.yaml"]
    code, _, err = ft(*given)
    assert code == 4, err
    assert_three_lines(err, "trust_remote_code")


def test_a_tokenizer_with_code_in_a_model_folder(stranger: Path, model_folder: Path):
    """lm-eval's long-context tasks load the model's tokenizer with `trust_remote_code=True`."""
    from transformers import AutoTokenizer

    folder = stranger / "model"
    folder.mkdir()
    for file in model_folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "evil.py").write_text((stranger / "evil.py").read_text())
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["auto_map"] = {"AutoTokenizer": ["evil.Task", "evil.Task"]}
    settings["tokenizer_class"] = "Task"
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(PolicyError):
        AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    assert not (stranger / MARK).exists()


def test_old_and_unused_loaders(stranger: Path):
    """Functions of lm-eval that nothing calls today."""
    from lm_eval import utils
    from lm_eval.tasks import _yaml_loader

    with pytest.raises(PolicyError):
        _yaml_loader._import_fun_from_str(str(stranger / "evil.x"))
    node = type("Node", (), {})()
    loader = type("Loader", (), {"construct_scalar": lambda self, node: "evil.x"})()
    with pytest.raises(PolicyError):
        utils.import_function(loader, node, yaml_path=stranger / "t/a.yaml")
    assert not (stranger / MARK).exists()


LOOPS = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}"
SLOW = {
    "nested loops": LOOPS,
    "a power": "{{ 10 ** (10 ** 9) }}",
    "a long text": "{{ 'a' * 10 ** 11 }}",
    "a long list": "{{ [1] * 10 ** 11 }}",
    "a wide number": "{{ '%099999999999d' % 1 }}",
    "blanks": "{{ 'a'.center(10 ** 11) }}",
    "parts of a text": "{{ ('a' * 9999)|replace('a', 'a' * 9999) }}",
    "parts of a text by its method": "{{ ('a' * 9999).replace('a', 'a' * 9999) }}",
    "a long delimiter": "{{ ([1] * 9999)|join('a' * 9999) }}",
    "many long texts": "{% for i in range(99) %}{{ 'a' * 999999 }}{% endfor %}",
}


@pytest.mark.parametrize("template", SLOW)
@pytest.mark.parametrize("key", ["doc_to_text", "doc_to_target"])
def test_a_template_without_end(
    template: str, key: str, ft: Any, stranger: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(templates, "RENDER_SECONDS", 0.5)
    write_task(stranger, f"{key}: {json.dumps(SLOW[template])}\n")
    code, _, err = ft("check", "a", "--include-path", "t")
    assert code in (3, 4), err
    assert_three_lines(first_error(err), "template")


def test_a_chat_template_without_end(model_folder: Path, monkeypatch: pytest.MonkeyPatch):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    tokenizer.chat_template = LOOPS
    monkeypatch.setattr(templates, "RENDER_SECONDS", 0.5)
    with pytest.raises(PolicyError, match="template"):
        render_chat(tokenizer, [{"role": "user", "content": "x"}])


def test_the_limit_holds_in_a_thread_too(monkeypatch: pytest.MonkeyPatch):
    """Where no signal arrives."""
    from concurrent.futures import ThreadPoolExecutor

    from lm_eval.utils import apply_template

    monkeypatch.setattr(templates, "RENDER_SECONDS", 0.5)
    with ThreadPoolExecutor(1) as pool, pytest.raises(PolicyError, match="template"):
        pool.submit(apply_template, LOOPS, {}).result(timeout=60)


HUGE = "'a' * 9999999 ~ 'b'"
OPERATIONS = {
    "a regular expression": "{{ text|regex_replace('(a|aa)+b', '') }}",
    "one that is computed beforehand": f"{{{{ '{'a' * 99}'|regex_replace('(a|aa)+b', '') }}}}",
    "a sort": f"{{{{ ([{HUGE}, {HUGE}] * 99999)|sort(false, true)|length }}}}",
    "a comparison": f"{'{% set a = [a, a] %}{% set b = [b, b] %}' * 99}{{{{ a == b }}}}",
    "a search": "{{ ('a' * 9999999).rfind('ab' ~ 'a' * 4999999) }}",
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_without_end(name: str):
    """No look at the clock comes within one."""
    code = (
        "from ft_harness.models import watcher\nfrom ft_harness.models.lm_eval_private import tasks\n"
        "from lm_eval.utils import apply_template\nwatcher.MOST_SECONDS = 1\n"
        f"apply_template({OPERATIONS[name]!r}, {{'text': 'a' * 99, 'a': 1, 'b': 1}})"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert_three_lines(done.stderr, "more than 1 seconds")


EXPRESSIONS = {  # that backtrack without end
    "a filter": (
        "filter_list:\n  - {name: n, filter: [{function: regex, regex_pattern: '(a|aa)+b'}, "
        "{function: take_first}]}\nmetric_list: [{metric: exact_match}]\n"
    ),
    "what a metric ignores": (
        "metric_list: [{metric: exact_match, regexes_to_ignore: ['(a|aa)+b']}]\n"
    ),
}


@pytest.mark.slow  # waits for the limit of time
@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_without_end(name: str, stranger: Path):
    write_task(stranger, f"output_type: generate_until\n{EXPRESSIONS[name]}")
    own = (stranger / "t/a.yaml").read_text()
    (stranger / "t/a.yaml").write_text(own.replace("doc_to_choice: [bad, good]\n", ""))
    code = (
        "from ft_harness.models import watcher\nfrom ft_harness.tasks.finding import find_task\n"
        "from ft_harness.tasks import finding, loading\nwatcher.MOST_SECONDS = 1\n"
        "finding._find_in_lm_eval = None\n"
        "task = loading.load_tasks(find_task('a', 't'), ['test'])['test']\n"
        "from types import SimpleNamespace as N\n"
        "task._instances = [N(doc=d, doc_id=0, resps=['a' * 99], filtered_resps={}) for d in task.eval_docs]\n"
        "task.apply_filters()\n"
        "task.process_results(task.eval_docs[0], ['a' * 99])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, cwd=stranger
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert_three_lines(done.stderr, "more than 1 seconds")


def test_a_process_that_only_scores_metrics_is_left_alone():
    """Under the stock command our metrics are imported, and nothing of lm-eval is replaced."""
    code = (
        "import ft_harness.metrics, ft_harness.data\n"
        "from lm_eval.tasks import _yaml_loader\n"
        "print(_yaml_loader._import_func_in_yml.__module__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["lm_eval.tasks._yaml_loader"]
