"""A secret in any of twelve places appears in no file, no file's name, no line of the terminal.

The canary is a value of no known form, with every character that Markdown, HTML, LaTeX, CSV or JSON
write in another way, or a token of a known form where the place takes no such characters.
"""

from __future__ import annotations

import gzip
import json
import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from safetensors import safe_open
from tqdm import tqdm

from ft_harness.cli import experiments
from ft_harness.storage import learn_secrets, redact, redact_values
from ft_harness.storage.redaction import looks_secret, redact_json
from tests.builders.command import assert_three_lines
from tests.builders.tiny import review_rows, write_jsonl

pytestmark = pytest.mark.usefixtures("small_index")
TOKEN = "hf_CANARYabcdefghijklmnopqrst"
ODD = 'CANARY_a&b<c>"d|e*f%g$1\\h'
PLAIN = "CANARY-of-no-known-shape-7"


def everything_below(folder: Path) -> Iterator[tuple[str, str]]:
    """(file, its name and content as text, decompressed) of all files."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        text = content.decode("utf-8", "replace")
        if path.suffix == ".parquet":
            text += str(pq.read_table(path).to_pydict()) + str(pq.read_schema(path).metadata)
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                text += str(file.metadata())
        yield str(path.relative_to(folder)), f"{path.relative_to(folder)}\n{text}"


def assert_no_canary(folder: Path, *printed: str) -> None:
    found = [name for name, text in everything_below(folder) if "CANARY" in text]
    assert found == []
    assert [text for text in printed if "CANARY" in text] == []


@pytest.fixture
def hidden(tmp_path: Path, model_folder: Path, reviews: Path) -> Path:
    """A recipe outside of the working folder, whose model lies at a path with a token in it, and
    whose data has the canary in a text, a label and a field of its own."""
    folder = tmp_path / "given"
    model = folder / TOKEN / "model"
    shutil.copytree(model_folder, model)
    for split, count, start in (("train", 48, 0), ("validation", 16, 100), ("test", 24, 200)):
        rows = [
            row | {"text": f"{row['text']} {ODD} {TOKEN}", "name": ODD, "task": TOKEN}
            for row in review_rows(count, start)
        ]
        write_jsonl(folder / "data" / f"{split}.jsonl", rows)
    recipe = folder / "adapters" / "a" / "recipe.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(
        f"model: {{pretrained: {model}}}\ntask: {{name: demo_sentiment}}\n"
        f"data: {{source: {folder / 'data'}}}\nadapter: {{r: 4}}\n"
        "train: {max_steps: 4, save_steps: 2, learning_rate: 0.01}\n"
        "eval: {splits: [test], limit: 24}\n"
    )
    return recipe


@pytest.mark.slow  # a whole run
def test_environment_path_data_card_and_html_of_a_whole_run(
    ft: Any, hidden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MY_PASSWORD", ODD)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    out = tmp_path / "out"
    printed = ft("run", hidden, "--out", out)
    assert printed[0] == 0, printed[2]
    again = ft("run", hidden, "--out", out)  # what was redacted is no other recipe
    assert again[0] == 0, again[2]
    assert "finished already" in again[2]
    formats = ("report", out / "results", "--out", out, "--format", "md,html,tex,csv,json")
    reported = ft(*formats, "--slice-by", "name", "--name", "all")
    assert reported[0] in (0, 3), reported[2]
    assert ft(*formats)[0] == 0
    assert_no_canary(out, *printed[1:], *again[1:], *reported[1:])
    assert sum("[redacted]" in text for _, text in everything_below(out)) >= 5


def test_a_report_on_results_that_hold_the_secret(
    ft: Any, hidden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """They were made before it was known; each format writes its characters in another way."""
    code, _, err = ft("run", hidden, "--out", "old")
    assert code == 0, err
    monkeypatch.setenv("MY_PASSWORD", ODD)
    formats = ("--format", "md,html,tex,csv,json", "--slice-by", "label")
    code, out, err = ft("report", "old/results", "--out", "new", *formats)
    assert code == 0, err
    assert_no_canary(tmp_path / "new", out, err)


def test_a_secret_of_several_lines_that_are_shown_on_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOME_KEY", "CANARY line\n  CANARY second line\n")
    assert "CANARY" not in redact("x CANARY line / CANARY second line")


def test_arguments_of_lm_eval_that_are_no_json(ft: Any):
    data = f'{{"api_key": "{PLAIN}"'
    code, out, err = ft("lm-eval", "run", "--tasks", "demo_sentiment", "--metadata", data)
    assert code == 2
    assert_three_lines(err, "Invalid JSON")
    assert "CANARY" not in out + err


def test_model_arguments(ft: Any, tmp_path: Path, model_folder: Path, reviews: Path):
    given = f"pretrained={model_folder},token={PLAIN}-a"
    data = json.dumps({"data_source": str(reviews), "api_key": f"{PLAIN}-b"})
    code, out, err = ft(
        "lm-eval", "run", "--model", "ft-causal", "--model_args", given, "--tasks",
        "demo_sentiment", "--metadata", data, "--limit", "2", "--device", "cpu",
        "--output_path", "out", "--log_samples", "--show_config",
    )  # fmt: skip
    assert code == 0, err
    assert_no_canary(tmp_path, out, err)


@pytest.mark.parametrize(
    "lines",
    [
        f"model: {{token: {PLAIN}-c}}",
        f"train: {{api_key: {TOKEN}}}",
        f"data: {{source: 'https://user:{PLAIN}@example.org/data.jsonl'}}",
        f"task: {{name: {TOKEN}}}",
        f"eval: {{splits: [{TOKEN}]}}",
    ],
)
@pytest.mark.parametrize("command", [("check",), ("run",)])
def test_a_recipe(lines: str, command: tuple[str, ...], ft: Any, tmp_path: Path):
    folder = tmp_path / "adapters/r"
    folder.mkdir(parents=True)
    text = lines if "name:" in lines else f"task: {{name: demo_sentiment}}\n{lines}"
    (folder / "recipe.yaml").write_text(f"{text}\n")
    code, out, err = ft(*command, folder, "--out", "out")
    assert code in (2, 3), err
    assert_three_lines(err)
    assert_no_canary(tmp_path / "out", out, err)


@pytest.mark.parametrize(
    "address",
    [
        f"https://user:{PLAIN}@example.org/x",
        f"s3://{PLAIN}:{PLAIN}@host/x?a=1",
        f"https://example.org/x?token={PLAIN}&b=2",
        f"https://example.org/x?a=1&X-Amz-Signature={PLAIN}",
    ],
)
def test_an_address(address: str, ft: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", address)
    code, out, err = ft("check", "demo_sentiment", "--set", f"data.source={address}")
    assert code in (2, 3), err
    assert_no_canary(tmp_path, out, err)
    assert "CANARY" not in redact(json.dumps({"at": address, "in": [f"see {address}."]}))
    assert "example.org" in redact(address) or "host" in redact(address)


@pytest.mark.parametrize("model", [f"org/{TOKEN}", TOKEN, f"{TOKEN}/model"])
def test_a_hub_id(model: str, ft: Any, tmp_path: Path, hidden: Path):
    given = ("eval", hidden, "--out", "out", "--set", f"model.pretrained={model}")
    code, out, err = ft(*given)
    assert code == 3, err
    assert_three_lines(err)
    assert_no_canary(tmp_path / "out", out, err)


def test_an_adapters_name(ft: Any, tmp_path: Path, hidden: Path):
    code, out, err = ft("train", hidden, "--out", "out", "--name", TOKEN)
    assert code == 2
    assert_three_lines(err, "not a valid name")
    assert_no_canary(tmp_path / "out", out, err)


def test_settings_of_a_tracker(
    hidden: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """What a tracker is given, and what is logged of one that fails."""
    from ft_harness.recipe import load_recipe
    from ft_harness.training import monitoring

    monkeypatch.setenv("WANDB_API_KEY", PLAIN)
    recipe = load_recipe(hidden, [f"model.pretrained=org/{TOKEN}"])
    assert "CANARY" not in json.dumps(monitoring.shown_config(recipe, "a"))
    given = monitoring.shown_config(load_recipe(hidden, [f"adapter.target_modules=[{PLAIN}]"]), "a")
    assert given["adapter"]["target_modules"] == ["[redacted]"]


def test_an_exception_of_a_library(
    ft: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hidden: Path
):
    """Its message, its traceback, and the file that the traceback is kept in."""
    monkeypatch.setenv("SOME_SECRET", PLAIN)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def fail(*_: Any) -> None:
        raise KeyError(f"no access with {PLAIN} and {TOKEN}")

    monkeypatch.setattr(experiments, "_experiment", fail)
    for debug in ((), ("--debug",)):
        code, out, err = ft("train", hidden, *debug)
        assert code == 70
        assert_three_lines(err.replace("Traceback", "") if debug else err, "a fault of ft-harness")
        assert ("Traceback" in err) == bool(debug)
        assert "CANARY" not in out + err
    kept = list(tmp_path.glob("ft-harness-*/traceback.txt"))
    assert len(kept) == 2
    assert "KeyError" in kept[0].read_text()
    assert "CANARY" not in kept[0].read_text()


def test_a_progress_bar_and_a_log(ft: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOME_SECRET", PLAIN)

    def show(*_: Any) -> str:
        for _ in tqdm(range(2), desc=PLAIN, mininterval=0, delay=0):
            sys.stderr.write(f"{PLAIN}\n")
        handler = logging.StreamHandler()
        logging.getLogger("x").addHandler(handler)
        logging.getLogger("x").error(PLAIN)
        logging.getLogger("x").removeHandler(handler)
        return PLAIN

    monkeypatch.setattr("ft_harness.cli.tasks.bundled_model_dir", show)
    code, out, err = ft("path", "model")
    assert code == 0
    assert err.count("[redacted]") >= 4
    assert "CANARY" not in out + err


def test_the_command_line_of_a_run_that_is_stopped(
    ft: Any, monkeypatch: pytest.MonkeyPatch, hidden: Path
):
    import signal

    monkeypatch.setattr(experiments, "_experiment", lambda *_: signal.raise_signal(signal.SIGTERM))
    code, out, err = ft("run", hidden, "--set", f"model.token={PLAIN}")
    assert code == 143
    assert "--set 'model.token=[redacted]'" in err or "model.token=[redacted]" in err
    assert "CANARY" not in out + err


# --- what is none ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        ("sentiment", False), ("demo_sentiment", False), ("true", False), ("entailment", False),
        ("<|endoftext|>", False), ("</think>", False), ("[PAD-TOKEN]", False), ("xxxxxxxx", False),
        (str(Path(__file__)), False), ("hunter2!x", True), ("12345678", True), ("s3cretpass", True),
        ("correct horse battery", True), ("/not/a/path-of-this-machine", True), (ODD, True),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret(value: str, secret: bool):
    assert looks_secret(value) is secret


def test_a_password_that_is_a_word_of_a_task_leaves_files_as_they_are(
    ft: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hidden: Path
):
    monkeypatch.setenv("DB_PASSWORD", "sentiment")
    monkeypatch.setenv("OTHER_PASSWORD", "demo_sentiment@test")
    code, _, err = ft("eval", hidden, "--out", "out", "--set", "eval.limit=4")
    assert code == 0, err
    (record,) = (tmp_path / "out").rglob("record.json")
    found = json.loads(record.read_text())
    assert found["settings"]["task"] == "demo_sentiment"
    assert found["eval_id"] == record.parent.name
    assert all("task:demo_sentiment v" in score["signature"] for score in found["scores"])


def test_names_and_numbers_of_records_stay(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("A_PASSWORD", "f1_macro")
    monkeypatch.setenv("B_PASSWORD", "12345678")
    value = {
        "metric": "f1_macro", "f1_macro": 0.12345678, "prompt": "f1_macro", "data_hash": "12345678a",
        "doc": {"metric": "f1_macro", "task": "x 12345678"}, "n": 12345678, "said": "0.123456789",
    }  # fmt: skip
    assert redact_values(value) == value | {
        "prompt": "[redacted]",
        "doc": {"metric": "[redacted]", "task": "x [redacted]"},
    }
    assert json.loads(redact_json(json.dumps(value, indent=2))) == redact_values(value)
    text = json.dumps({"x": 1e-05, "y": "ä"}, ensure_ascii=False)
    assert redact_json(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "num_memory_tokens", "max_gen_toks: 256", "keyword", "the token of appreciation",
        "sk-learn", "https://example.org/a?monkey=1", "test_split", "xai-driven", "the msg.", "v1_a",
        "the bearer of bad news", "a live_stream", "dapibus", "https://example.org/a#key-points", "Basic understanding of authorization",
        "a@b.org", "user@host:path",
    ],
)  # fmt: skip
def test_plain_text_stays(text: str):
    assert redact(text) == text


@pytest.mark.parametrize("start", ["dop_v1_", "dapi", "shpat_"])
def test_known_forms_of_hexadecimal_digits(start: str):
    assert redact(f"a {start}{'0123456789abcdef' * 4} b") == "a [redacted] b"


@pytest.mark.parametrize(
    "name",
    [
        "MYSQL_PWD", "DB_PASS", "SMTP_PASS", "SLACK_WEBHOOK", "MY_JWT", "GOOGLE_CREDS",
        "SESSION_COOKIE", "GH_BEARER", "PGPASSWORD", "REDISCLI_AUTH", "apiKey", "accessKeyId",
    ],
)  # fmt: skip
def test_names_that_say_secret(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, PLAIN)
    assert "CANARY" not in redact(f"x {PLAIN}")


@pytest.mark.parametrize("name", ["OLDPWD", "PWD", "COMPASS", "author", "tokenizer"])
def test_names_that_do_not(name: str, monkeypatch: pytest.MonkeyPatch):
    value = f"of-{name}-17"
    monkeypatch.setenv(name, value)
    assert redact(f"x {value}") == f"x {value}"


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {PLAIN}", f'{{"authorization": "Basic {PLAIN}"}}',
        "AKIACANARYCANARYXYZ1", f"github_pat_{'CANARY' * 5}", "glpat-CANARYCANARYCANARY12",
        "xoxb-CANARY-CANARY-12", f"eyJ{'CANARY' * 3}.eyJ{'CANARY' * 3}.CANARY",
        "-----BEGIN RSA PRIVATE KEY-----\nCANARY\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\nCANARY\n-----END PGP PRIVATE KEY BLOCK-----",
        f"Bearer {'CANARY7' * 3}", f"hf_oauth_{'CANARY' * 4}", f"q=%20hf_{'CANARY' * 4}",
        f"sk_live_{'CANARY' * 4}", f"rk_live_{'CANARY' * 4}", f"whsec_{'CANARY' * 5}",
        f"SG.{'CANARY' * 3}.{'CANARY' * 6}", f"pypi-AgEI{'CANARY' * 4}", f"r8_{'CANARY' * 6}",
        f"nvapi-{'CANARY' * 8}", f"gsk_{'CANARY' * 8}", f"xai-{'CANARY' * 8}",
        f"pplx-{'CANARY' * 8}", f"ya29.{'CANARY' * 4}", f"GOCSPX-{'CANARY' * 4}",
        f"tgp_v1_{'CANARY' * 6}", f"hvs.{'CANARY' * 4}", f"dckr_pat_{'CANARY' * 4}",
        "xapp-1-CANARY12-345-CANARY", f"ATATT3xFf{'CANARY' * 6}=CANARY", f"glrt-{'CANARY' * 4}",
        f"lin_api_{'CANARY' * 6}", f"AGE-SECRET-KEY-1{'CANARY' * 9}",
        "https://hooks.slack.com/services/T0/B0/CANARY",
        "https://discord.com/api/webhooks/1234/CANARY", "AccountName=a;AccountKey=CANARY+/x==;b=c",
        "Endpoint=sb://x/;SharedAccessKey=CANARY+/x==", "https://example.org/a#access_token=CANARY",
    ],
)  # fmt: skip
def test_known_forms(text: str):
    assert "CANARY" not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/news/global-warming-report-finds-record",
        "see http://a.b/c gluten-free-chocolate-chip-cookies",
        "the standard-bearer Republican/conservative", "Bearer 认证方案允许客户端使用访问令牌进行身份验证请求",
        "int i,j,key;key=a[j];", "http://a.b/#key=frequency",
        "sk-learn-pipelines-for-text-classification", "an sk-learn_1_5-compatible-estimator-of-trees",
        "sk-SK-localised-Slovak-strings-of-menus", "glft-gluten-free-and-lactose-free-cakes",
    ],
)  # fmt: skip
def test_ordinary_text_stays(text: str):
    assert redact(text) == text


@pytest.mark.parametrize(
    "name",
    [
        "Keywords", "keyword", "Keyboard layout", "KEYNOTE", "Keystone", "Monkey",
        "turkey", "Hockey", "WHISKEY", "secretary", "Secretion", "tokenizer", "Tokenism", "keyed",
    ],
)  # fmt: skip
def test_a_word_that_only_begins_or_ends_like_a_name_teaches_nothing(name: str):
    words = f"question-answering-of-{name.replace(' ', '-')}s"
    learn_secrets(f"a text\n{name}: {words}\nmore")
    learn_secrets({name: words})
    assert redact(f"on {words}") == f"on {words}"


@pytest.mark.parametrize(
    "name",
    [
        "key", "KEYS", "api_keys", "apikey", "APIKEY", "openaikey", "apiKeyValue", "accessKeyId", "KEY2",
        "key-prod", "AccountKey", "signingkey", "secrets", "clientSecret", "SECRETS_JSON", "tokens",
        "hfTokens", "my_monkey_key", "TOKENS2", "MY_SECRETKEY", "keyvault_key",
    ],
)  # fmt: skip
def test_names_of_keys_teach(name: str):
    learn_secrets(f"{name}: canary-of-{name}-17")
    assert redact(f"x canary-of-{name}-17 y") == "x [redacted] y"


@pytest.mark.parametrize(
    "token",
    [
        f"sk-{'abcdefgh' * 6}", f"sk-proj-{'aBcDeFgHiJ' * 4}", "sk-ant-api03-Ab_cd-EfGhIjKlMnOpQrSt",
        "sk-abcdefghijklmnopqrst", "sk-or-v1-0123456789abcdef0123456789abcdef",
        "glpat-AbCdEfGhIjKlMnOpQrSt", "glft-abcdefghijklmnopqrst", "sk-svcacct-x9-Qw_er-ty12345678",
    ],
)  # fmt: skip
def test_keys_that_look_like_words(token: str):
    assert redact(f"a {token} b") == "a [redacted] b"


@pytest.mark.parametrize("part", ["eyJ-", "://", "a", "?a-", "-----BEGIN ", "key", "token=", "@"])
def test_a_long_text_is_read_once(part: str):
    """A pattern that went back and forth would take hours over a million characters."""
    text = part * (1_000_000 // len(part))
    assert len(redact(text)) > 0
    learn_secrets({"x": text})
