"""Open files as bytes, or as text in the right encoding, which is found where it is not given."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from ft_harness.errors import InputError, first_line
from ft_harness.storage.strict_files import no_pipe

_START = 8192  # bytes that show how lines end
_CHUNK = 1 << 20
_WINDOWS = re.compile(rb"[\x80-\x9f]")  # letters in windows-1252, control characters in latin-1
_FOREIGN = re.compile(rb"[\x80-\xff]+")
_RUN = 3  # bytes beyond ASCII in a row: words of another script; Latin letters are single ones
_OTHER_ENCODINGS = "big5, shift_jis, euc-kr, windows-1251"
# What "\u00e9" within a word is in UTF-8: read as Latin letters a capital within it and a symbol.
_UTF8_IN_WORDS = re.compile(
    rb"[a-z](?:[\xc2\xc3][\x80-\xbf]|\xe2\x80[\x93-\xa6])|([\xc2\xc3][\x80-\x91\x93-\xbf])[a-z]"
)
_MANY = 4  # letters beyond ASCII in a line that are UTF-8 and hardly by chance
_THREE_BYTES = "\u0800"  # the first letter that UTF-8 writes with three
_MAGIC = {b"\x1f\x8b": ".gz", b"PK\x03\x04": ".xlsx", b"PAR1": ".parquet"}
_UNPACK, _SAVE_AS = "unpack it, and name the file within", "save it as .csv, .jsonl or .parquet"
_NEVER_READ = {
    **{b"BZh%d1AY&SY" % size: ("bzip2", _UNPACK) for size in range(1, 10)},
    b"\xfd7zXZ\0": ("xz", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("zstandard", _UNPACK),
    b"7z\xbc\xaf\x27\x1c": ("7-zip", _UNPACK),
    b"Rar!": ("rar", _UNPACK),
    b"\xd0\xcf\x11\xe0": ("an old Office document", "save it as .xlsx"),
    b"SQLite format 3": ("a database", _SAVE_AS),
    b"ARROW1": ("an Arrow file", _SAVE_AS),
    b"%PDF-": ("a PDF document", _SAVE_AS),
}


@contextmanager
def open_bytes(path: Path) -> Iterator[io.BufferedReader]:
    """The file's bytes, unpacked where its name ends in .gz.

    Raises:
        InputError: it can't be read, or is damaged.
    """
    try:
        with (gzip.open if path.suffix.lower() == ".gz" else open)(no_pipe(path), "rb") as raw:
            yield cast(io.BufferedReader, raw)  # a gzip file reads and peeks like one
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(
            f"{path}: damaged gzip file", "a complete .gz file", "fetch the file again"
        ) from error
    except OSError as error:
        raise InputError(
            f"{path}: can't be read ({error.strerror})", "a readable file", "check the file"
        ) from error


@contextmanager
def open_text(path: Path, newline: str, encoding: str | None = None) -> Iterator[IO[str]]:
    r"""The file as text, without a byte order mark.

    Args:
        newline: as for `open`; "\n" also reads files whose lines end in a carriage return alone.
        encoding: None: UTF-8.

    Raises:
        InputError: it has another encoding (line, byte and the likely one) than UTF-8 or the given
            one, is no text, is damaged, or can't be read.
    """
    if encoding:
        check_encoding(path, encoding)
    with open_bytes(path) as raw:
        start = raw.peek(_START)[:_START]
        _refuse_binary(path, start)
        foreign = None if encoding else _foreign_encoding(start[:256])
        if foreign:
            raise _wrong_encoding(path, 1, 0, foreign)
        # A carriage return as the last byte may be the first half of a line end.
        if newline == "\n" and b"\r" in start[:-1] and b"\n" not in start:
            newline = ""
        name = encoding or "utf-8"
        if codecs.lookup(name).name == "utf-8":
            name = "utf-8-sig"
        try:
            yield io.TextIOWrapper(raw, encoding=name, newline=newline)
        except UnicodeError as error:
            if name == "utf-8-sig":
                raise _find_wrong_byte(path) from error
            raise InputError(
                f"{path}: not {encoding} ({first_line(error)})",
                "the encoding that the file has",
                "change data.encoding",
            ) from error


def check_encoding(path: Path, encoding: str) -> None:
    """Refuse a file that the encoding given for it would read as other letters: UTF-8 throughout
    (nearly no text in another encoding is that by chance) or in a part, or windows-1252 as latin-1.

    Raises:
        InputError: it would, with the first line that it would change.
    """
    name = codecs.lookup(encoding).name
    if name in ("utf-8", "utf-8-sig"):
        return
    if found := _utf8_line(path, keeps_ascii="a".encode(encoding) == b"a"):
        raise _misread(path, *found, encoding, "utf-8")
    if mixed := _utf8_part(path, encoding):
        raise _two_encodings(path, *mixed, encoding)
    if name == "iso8859-1":
        with open_bytes(path) as raw:
            lines = enumerate(raw, start=1)
            found = next(((number, line) for number, line in lines if _WINDOWS.search(line)), None)
        if found:
            raise _misread(path, *found, encoding, "windows-1252")


def _utf8_line(path: Path, *, keeps_ascii: bool) -> tuple[int, bytes] | None:
    """The first line of a file in UTF-8 that the encoding given for it would change; None: there is
    none, or the file is in another encoding.

    Args:
        keeps_ascii: the encoding given for it reads ASCII as ASCII.
    """
    first: tuple[int, bytes] | None = None
    with open_bytes(path) as raw:
        for number, line in enumerate(raw, start=1):
            if keeps_ascii and line.isascii():
                continue
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return None
            if b"\0" in line:
                return None  # every other byte of Latin text in UTF-16 is 0
            first = first or (number, line)
    return first


def _utf8_part(path: Path, encoding: str) -> tuple[int, int] | None:
    """The first line that is UTF-8 in a file of another encoding, and the first that is not; None:
    it is in one encoding, as far as that shows."""
    if "a".encode(encoding) != b"a" or len(bytes(range(128)).decode(encoding, "replace")) < 128:
        return None  # every letter is two bytes
    is_single = len(bytes(range(256)).decode(encoding, "replace")) == 256
    first: dict[bool, int] = {}  # whether it is UTF-8 -> first line beyond ASCII
    counts = {True: 0, False: 0}
    sure = None
    with open_bytes(path) as raw:
        for number, line in enumerate(raw, start=1):
            if line.isascii():
                continue
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError:
                text = ""
            first.setdefault(bool(text), number)
            counts[bool(text)] += 1
            least = "\x80" if is_single else _THREE_BYTES
            is_sure = sum(char >= least for char in text) >= _MANY or (
                is_single and _holds_utf8(line, encoding)
            )
            sure = number if sure is None and is_sure else sure
    if sure is None and is_single and counts[True] > counts[False]:
        sure = first[True]
    return None if sure is None else (sure, first.get(False, sure))


def _holds_utf8(line: bytes, encoding: str) -> bool:
    """Whether a line of Latin text holds words with letters in UTF-8."""
    for found in _UTF8_IN_WORDS.finditer(line):
        # letters follow a capital at the beginning of a word where the encoding has some there
        second = (found[1] or b"").decode(encoding, "replace")[1:]
        if not second.isalpha() or second in "\xaa\xb5\xba":
            return True
    return False


def _two_encodings(path: Path, utf8: int, other: int, encoding: str, byte: str = "") -> InputError:
    which = "in part" if utf8 == other else f"but line {utf8} is"
    return InputError(
        f"{path}:{other}: not UTF-8{byte}, {which}: two encodings in one file (perhaps {encoding})",
        "one encoding throughout a file",
        f"convert the part that is not UTF-8 (iconv -f {encoding} -t utf-8), then join them again",
    )


def _misread(path: Path, line: int, content: bytes, given: str, likely: str) -> InputError:
    shown = content.strip().decode(likely, "replace")[:40]
    return InputError(
        f"{path}:{line}: {likely}, and data.encoding is {given} ({shown!r} would become other "
        "letters)",
        "the encoding that the file has",
        "leave data.encoding out" if likely == "utf-8" else f"--set data.encoding={likely}",
    )


def refuse_unread(path: Path) -> None:
    """Refuse to open a file that begins like one of a kind that is not read here.

    Raises:
        InputError: with what it is, and what to do.
    """
    with open_bytes(path) as raw:
        _refuse_binary(path, raw.peek(16)[:16])


def _refuse_binary(path: Path, start: bytes) -> None:
    kinds = [kind for mark, kind in _NEVER_READ.items() if start.startswith(mark)]
    if start.startswith(b"PK\x03\x04") and not _is_workbook(path):
        kinds = [("a zip archive", _UNPACK)]
    for kind, action in kinds:
        raise InputError(f"{path}: is not text but {kind}", "a file of text", action)
    for mark, suffix in _MAGIC.items():
        if start.startswith(mark):
            raise InputError(
                f"{path}: is not text but what {suffix} files hold",
                "a name that says what the file is",
                f"name it {suffix}",
            )


def _is_workbook(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.startswith("xl/") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return True  # damaged, which is found as a workbook


def find_encoding(path: Path) -> str | None:
    """The likely encoding of a file that is not UTF-8; None for UTF-8. Reads the whole file.

    Raises:
        InputError: it is no text, or in one of many encodings of other scripts than Latin.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    windows, zeros, foreign = False, False, _Foreign()
    with open_bytes(path) as raw:
        start = raw.peek(256)[:256]
        _refuse_binary(path, start)
        marked = _foreign_encoding(start)
        if marked:
            return marked
        utf8 = True
        for chunk in iter(lambda: raw.read(_CHUNK), b""):
            windows = windows or _WINDOWS.search(chunk) is not None
            zeros = zeros or b"\0" in chunk
            foreign.count(chunk)
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                utf8 = False
                decoder.reset()
    if utf8 and not decoder.getstate()[0]:
        return None
    if zeros or foreign.is_another_script:
        raise InputError(
            f"{path}: no text" if zeros else f"{path}: not UTF-8, and not in Latin letters",
            "text in UTF-8, or its encoding",
            "leave the file out"
            if zeros
            else f"name it with --encoding: gb18030, {_OTHER_ENCODINGS}",
        )
    likely = "windows-1252" if windows else "latin-1"
    if mixed := _utf8_part(path, likely):
        raise _two_encodings(path, *mixed, likely)
    return likely


class _Foreign:
    """Counts bytes beyond ASCII, and those that come several in a row."""

    def __init__(self) -> None:
        self._all = self._in_runs = 0

    def count(self, raw: bytes) -> None:
        for run in _FOREIGN.finditer(raw):
            length = run.end() - run.start()
            self._all += length
            self._in_runs += length * (length >= _RUN)

    @property
    def is_another_script(self) -> bool:
        return 2 * self._in_runs > self._all


def _foreign_encoding(start: bytes) -> str | None:
    """The encoding that the first bytes of a file give away, if it is not UTF-8."""
    marks = {
        b"\xff\xfe\0\0": "utf-32",
        b"\0\0\xfe\xff": "utf-32",
        b"\xff\xfe": "utf-16",
        b"\xfe\xff": "utf-16",
    }
    marked = next((name for mark, name in marks.items() if start.startswith(mark)), None)
    if marked is None and len(start) >= 8 and start.count(0) > 0.4 * len(start):
        return "utf-16le" if start[1] == 0 else "utf-16be"  # every other byte of Latin text is 0
    return marked


def _find_wrong_byte(path: Path) -> InputError:
    """Read the file again for the line and byte that is not UTF-8."""
    offset = 0
    with open_bytes(path) as raw:
        for number, line in enumerate(raw, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                foreign = _Foreign()
                foreign.count(line)
                latin = "windows-1252" if _WINDOWS.search(line) else "latin1"
                likely = "gb18030" if foreign.is_another_script else latin
                if mixed := _utf8_part(path, likely):
                    byte = f" (byte {offset + error.start})"
                    return _two_encodings(path, mixed[0], number, likely, byte)
                return _wrong_encoding(path, number, offset + error.start, likely)
            offset += len(line)
    return _wrong_encoding(path, number, offset, "latin1")


def _wrong_encoding(path: Path, line: int, byte: int, encoding: str) -> InputError:
    other = {"latin1": " (or windows-1252)", "gb18030": f" (or {_OTHER_ENCODINGS})"}
    others = other.get(encoding, "")
    return InputError(
        f"{path}:{line}: not UTF-8 (byte {byte}); perhaps {encoding}",
        "a UTF-8 file, or data.encoding",
        f"--set data.encoding={encoding}{others}, or convert it: iconv -f {encoding} -t utf-8",
    )
