"""Write the synonym index that METEOR reads, from WordNet 3.0's database files; the same bytes on
every run.

    python tools/make_synonym_index.py --source DIR_OR_ZIP --out src/ft_harness/bundled/wordnet

SOURCE is WordNet's `dict` folder, or nltk's `corpora/wordnet.zip`, with `index.*`, `data.*` and
`*.exc`. Kept of each synset are its words, of each exception list its lines; out goes every synset
of which no word is a single one, since METEOR compares single words. The index files are only
checked: they must say what the synsets say.

Written are `synonyms.txt.xz` (per part of speech the synsets, then the exceptions; an empty line
parts the sections), `LICENSE` (from the head of `data.noun`) and `sources.sha256` (of the source
files and of the index's text).
"""

from __future__ import annotations

import argparse
import hashlib
import lzma
import re
import zipfile
from collections import defaultdict
from pathlib import Path

from ft_harness.metrics.wordnet import INDEX_FILE, PARTS_OF_SPEECH

SYNTACTIC_MARKER = re.compile(r"\([^()]*\)$")
HEAD_LINE = re.compile(r"^  \d+ ?", flags=re.MULTILINE)


def read_source(source: Path) -> dict[str, str]:
    """File name -> text of the twelve database files."""
    names = [
        pattern.format(part)
        for part in PARTS_OF_SPEECH
        for pattern in ("data.{}", "index.{}", "{}.exc")
    ]
    if source.is_dir():
        return {name: (source / name).read_bytes().decode() for name in names}
    with zipfile.ZipFile(source) as archive:
        return {name: archive.read(f"wordnet/{name}").decode() for name in names}


def entries(text: str) -> list[list[str]]:
    """The fields of a database file's lines, without the licence at its head (lines that begin with
    a blank)."""
    return [line.split() for line in text.splitlines() if not line.startswith(" ")]


def read_synsets(data: str) -> dict[int, list[str]]:
    """Offset -> words of each synset, without syntactic markers ("galore(ip)")."""
    return {
        int(fields[0]): [
            SYNTACTIC_MARKER.sub("", word) for word in fields[4 : 4 + 2 * int(fields[3], 16) : 2]
        ]
        for fields in entries(data)
    }


def check_index(part: str, synsets: dict[int, list[str]], index: str) -> None:
    """Stop unless each lemma of the index file has just the synsets in which it stands."""
    found: dict[str, set[int]] = defaultdict(set)
    for offset, words in synsets.items():
        for word in words:
            found[word.lower()].add(offset)
    expected = {
        lemma: set(map(int, fields[-int(count) :])) for lemma, _, count, *fields in entries(index)
    }
    if found != expected:
        raise SystemExit(f"index.{part} and data.{part} do not agree: are they of one WordNet?")


def exception_lines(text: str) -> list[str]:
    """An exception list, sorted; of two lines for one form the last counts, as in nltk's reader."""
    last = {form: base_forms for form, *base_forms in map(str.split, text.splitlines())}
    return [" ".join([form, *base_forms]) for form, base_forms in sorted(last.items())]


def index_text(files: dict[str, str]) -> str:
    """The index: for each part of speech a section of synsets and one of exceptions."""
    sections = []
    for part in PARTS_OF_SPEECH:
        synsets = read_synsets(files[f"data.{part}"])
        check_index(part, synsets, files[f"index.{part}"])
        lines = {
            " ".join(words) for words in synsets.values() if any("_" not in word for word in words)
        }
        sections += [sorted(lines), exception_lines(files[f"{part}.exc"])]
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def licence(data: str) -> str:
    """WordNet's licence: the head of a database file without its line numbers."""
    head = data[: re.search(r"^\d{8} ", data, flags=re.MULTILINE).start()]  # type: ignore[union-attr]
    return "\n".join(line.rstrip() for line in HEAD_LINE.sub("", head).splitlines()) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Write METEOR's synonym index.")
    parser.add_argument(
        "--source",
        type=Path,
        required=True,
        help="WordNet 3.0's dict folder, or nltk's wordnet.zip",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the index")
    options = parser.parse_args()
    files = read_source(options.source)
    text = index_text(files)
    packed = lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME)
    sums = {
        name: hashlib.sha256(content.encode()).hexdigest()
        for name, content in sorted(files.items())
    }
    sums[INDEX_FILE.stem] = hashlib.sha256(text.encode()).hexdigest()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    (out / INDEX_FILE.name).write_bytes(packed)
    (out / "LICENSE").write_bytes(licence(files["data.noun"]).encode())
    (out / "sources.sha256").write_bytes(
        "".join(f"{value}  {name}\n" for name, value in sums.items()).encode()
    )
    print(f"{len(text.splitlines()):,} lines, {len(text.encode()):,} bytes, {len(packed):,} packed")


if __name__ == "__main__":
    main()
