"""The tensors that a safetensors file declares, checked against its size; no tensor is read."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ft_harness.errors import InputError

_MAX_HEADER = 100_000_000  # bytes, as the safetensors library has it
_MAX_DIMENSIONS, _MAX_NUMBER = 64, 1 << 63
_FIELDS = {"dtype", "shape", "data_offsets"}
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


@dataclass(frozen=True)
class TensorInfo:
    """What a safetensors file's header says of one tensor: its type as safetensors names it ("F32")
    and its shape."""

    dtype: str
    shape: tuple[int, ...]


class _TwiceError(ValueError):
    """A key that a JSON object has twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object without duplicate keys, of which Python would keep only the last."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _TwiceError(key)
        found[key] = value
    return found


def _integer(text: str) -> float:
    """An integer as safetensors reads it: -0 is none."""
    return -0.0 if text == "-0" else int(text)


def _constant(text: str) -> None:
    """NaN and infinities, which Python reads though JSON has none."""
    raise ValueError(text)


def _damaged(path: Path, what: str) -> InputError:
    return InputError(
        f"{path}: damaged ({what})", "a whole safetensors file", "fetch or make the file again"
    )


def _read_json(path: Path) -> tuple[dict[str, Any], int]:
    """(the header, bytes of tensors after it)."""
    size = path.stat().st_size
    with path.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if size < 8 or length > min(size - 8, _MAX_HEADER):
            raise _damaged(path, f"a header of {length} bytes in a file of {size}")
        try:
            # strictly: Python guesses the encoding of bytes, and takes halves of characters
            text = handle.read(length).decode("utf-8")
            header = json.loads(
                text, object_pairs_hook=_once, parse_int=_integer, parse_constant=_constant
            )
            json.dumps(header, ensure_ascii=False).encode("utf-8")  # escapes of halves fail
        except _TwiceError as error:
            raise _damaged(path, f"the header has {str(error)[:80]} twice") from error
        except (ValueError, RecursionError) as error:
            raise _damaged(path, "the header is not JSON") from error
    if not isinstance(header, dict):
        raise _damaged(path, "the header is not a JSON object")
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(m, str) for m in metadata.values()):
        raise _damaged(path, "the header's __metadata__ holds something other than texts")
    return header, size - 8 - length


def _span(path: Path, name: str, entry: Any) -> tuple[TensorInfo, int, int]:
    """One tensor, and where its bytes begin and end."""
    try:
        if entry.keys() != _FIELDS or not isinstance(entry["shape"], list):
            raise ValueError(entry)
        dtype, shape = str(entry["dtype"]), tuple(entry["shape"])
        begin, end = entry["data_offsets"]
        bits = _BITS[dtype]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"the header's entry {name[:80]} can't be read") from error
    # before they are multiplied: a number times a text is a long text
    numbers = (*shape, begin, end)
    if len(shape) > _MAX_DIMENSIONS or not all(
        type(number) is int and 0 <= number < _MAX_NUMBER for number in numbers
    ):
        raise _damaged(path, f"the header's entry {name[:80]} can't be read")
    bits *= math.prod(shape)
    if end - begin != -(-bits // 8):
        raise _damaged(
            path, f"{name[:80]} has {end - begin} bytes, {-(-bits // 8)} expected for its shape"
        )
    return TensorInfo(dtype, shape), begin, end


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Every tensor that a safetensors file holds; no tensor is read.

    Raises:
        InputError: a header that is too long or no JSON, tensors whose bytes don't fit their
            shapes, overlap or leave gaps, or a file that is shorter or longer than what it
            declares.
    """
    try:
        if not path.is_file():  # a pipe would never end
            raise _damaged(path, "missing, or not a regular file")
        header, held = _read_json(path)
    except OSError as error:
        raise _damaged(path, str(error.strerror)) from error
    spans = [
        (name, *_span(path, name, entry))
        for name, entry in header.items()
        if name != "__metadata__"
    ]
    position = 0
    for name, _, begin, end in sorted(spans, key=lambda span: (span[2], span[3])):
        if begin != position:
            raise _damaged(path, f"the bytes of {name[:80]} begin at {begin}, {position} expected")
        position = end
    if position != held:
        raise _damaged(path, f"{held} bytes of tensors, {position} declared")
    return {name: info for name, info, _, _ in spans}
