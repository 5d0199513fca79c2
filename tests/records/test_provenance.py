"""No secret known to the process in anything that is written, and nothing else taken out."""

from __future__ import annotations

import json

import pytest

from ft_harness.records.provenance import code_commit, package_versions
from ft_harness.storage.redaction import REDACTED, redact

HUB_TOKEN = "hf_" + "aB3" * 12  # shaped like one, and none
API_KEY = "sk-" + "proj-abc_DEF-123" * 2


@pytest.mark.parametrize(
    "name", ["MY_TOKEN", "aws_secret_access", "DB_PASSWORD", "SERVICE_API_KEY"]
)
def test_values_of_variables_that_say_they_are_secret(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, "plain-looking")
    assert redact("before plain-looking after") == f"before {REDACTED} after"


def test_other_and_short_values_stay(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_MODEL", "plain-looking")
    monkeypatch.setenv("MY_TOKEN", "false")
    assert redact("plain-looking is false") == "plain-looking is false"


def test_the_longer_of_two_secrets_goes_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("A_KEY", "canary-01")
    monkeypatch.setenv("B_KEY", "canary-01-and-more")
    assert redact("canary-01-and-more") == REDACTED


def test_a_secret_that_json_spells_differently(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DB_PASSWORD", 'ü"quoted\\slashed')
    assert json.loads(
        redact(json.dumps({"error": 'login ü"quoted\\slashed failed'}, ensure_ascii=False))
    ) == {"error": f"login {REDACTED} failed"}


@pytest.mark.parametrize("token", [HUB_TOKEN, API_KEY])
@pytest.mark.parametrize("text", ["{}", "token={}", "('{}')", "a\n{}\nb", "a\t{}", "user_{}"])
def test_tokens_by_their_shape(token: str, text: str):
    assert redact(text.format(token)) == text.format(REDACTED)
    assert json.loads(redact(json.dumps(text.format(token)))) == text.format(REDACTED)


@pytest.mark.parametrize("mark", ["\n", '"'])
@pytest.mark.parametrize("before", ["", "ß" * 50, "ﬁ ﬀ İ", "task-1", "live_ sk- hf_"])
def test_tokens_between_texts_that_look_like_one_or_fold_into_more_letters(
    before: str, mark: str
) -> None:
    parts = [before, API_KEY, f"{before} and {HUB_TOKEN} {API_KEY}", before, "task-2", ""]
    expected = [before, REDACTED, f"{before} and {REDACTED} {REDACTED}", before, "task-2", ""]
    for places in (slice(None), slice(1, None), slice(2, 4)):
        assert redact(mark.join(parts[places])) == mark.join(expected[places])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://user:pass@host/data.csv", f"https://{REDACTED}@host/data.csv"),
        ("https://user:p@ss@host/data.csv", f"https://{REDACTED}@host/data.csv"),
        ("s3://justatoken@bucket/x", f"s3://{REDACTED}@bucket/x"),
    ],
)
def test_user_and_password_of_a_url(url: str, expected: str):
    assert redact(f"from {url} read") == f"from {expected} read"


@pytest.mark.parametrize(
    "text",
    [
        "num_memory_tokens",
        "hf_num_memory_tokens_per_layer_and_head",
        "risk-averse-and-otherwise-dull-language",
        "task-specific-instruction-tuning-of-models",
        "sk-learn",
        "http://localhost:8080/a?mail=b@c",
        "https://example.com?mail=a@b",
        "write to someone@example.com: 12:30@noon",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",  # a commit
    ],
)
def test_words_that_are_no_secrets_stay(text: str):
    assert redact(text) == text


def test_a_url_and_an_address_in_one_json_line_stay_apart():
    line = json.dumps({"a": "http://localhost:8080", "b": "x@y"}, separators=(",", ":"))
    assert redact(line) == line


def test_versions_name_python_and_this_package():
    versions = package_versions()
    assert {"python", "ft-harness", "lm-eval", "numpy"} <= set(versions)


def test_outside_of_a_repository_there_is_no_commit(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert code_commit() == {"commit": None, "dirty": None}
