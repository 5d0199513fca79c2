"""Strict YAML and JSON: safe types only, no duplicate keys, bounded in size; of YAML the line of
every key, for messages."""

from __future__ import annotations

import errno
import json
from collections.abc import Hashable
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from ft_harness.errors import FtHarnessError, InputError, first_line
from ft_harness.storage.redaction import learn_secrets

KeyPath = tuple[str, ...]
LARGEST_FILE = 1_000_000  # bytes
MOST_NODES = 10_000  # values and keys, each alias counted with everything it refers to
DEEPEST = 50
_MOST_BITS = 4096  # of a number: Python refuses to write longer ones than 4,300 digits
_MAX_JSON = 64 << 20  # bytes
_BOOL = "tag:yaml.org,2002:bool"
_SafeLoader: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


class _StrictLoader(_SafeLoader):  # type: ignore[misc]
    """SafeLoader that refuses duplicate keys and reads `!function name` as the text of its name."""


def _construct_mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        # YAML 1.1 makes true and false of the bare words on, off, yes and no: no key here is one.
        if key_node.tag == _BOOL:
            key_node.tag = yaml.resolver.BaseResolver.DEFAULT_SCALAR_TAG
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise yaml.constructor.ConstructorError(
                None, None, "a key is a list or mapping", key_node.start_mark
            )
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} is listed twice", key_node.start_mark
            )
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    value: int = loader.construct_yaml_int(node)
    if value.bit_length() > _MOST_BITS:
        raise yaml.constructor.ConstructorError(
            None, None, "a number of more than a thousand digits", node.start_mark
        )
    return value


# Dates stay text: nothing here wants them, and JSON has none.
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)
_StrictLoader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_StrictLoader.add_constructor("!function", lambda loader, node: f"!function {node.value}")


def _key_lines(node: yaml.Node | None, prefix: KeyPath = ()) -> dict[KeyPath, int]:
    lines: dict[KeyPath, int] = {}
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            path = (*prefix, str(key_node.value))
            lines[path] = key_node.start_mark.line + 1
            lines |= _key_lines(value_node, path)
    return lines


def _count_events(text: str, loader: Any) -> None:
    """Count nodes and depth on the stream of events, before anything is built: a few lines of
    aliases can expand to millions of values.

    Raises:
        ValueError: more than `MOST_NODES` or deeper than `DEEPEST`.
        yaml.YAMLError: `loader` can't read it, and found so before a bound was exceeded.
    """
    behind: dict[str | None, int] = {}  # anchor -> nodes that it expands to
    # (anchor, nodes before it) of the collections that are not yet closed
    open_: list[tuple[str | None, int]] = []
    nodes = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_.pop()
            behind[anchor] = nodes - before
        elif isinstance(event, yaml.AliasEvent):
            nodes += behind.get(event.anchor, 1)
        elif isinstance(event, yaml.NodeEvent):
            nodes += 1
            if isinstance(event, yaml.CollectionStartEvent):
                open_.append((event.anchor, nodes))
        if nodes > MOST_NODES:
            raise ValueError(f"more than {MOST_NODES} values, with aliases expanded")
        if len(open_) > DEEPEST:
            raise ValueError(f"more than {DEEPEST} levels deep")


def _check_bounds(text: str) -> None:
    """Refuse a text with too many values or too many levels, see `_count_events`.

    Some releases of libyaml have a limit of their own on nesting, and find it exceeded while they
    read ahead of their events. PyYAML's reader in Python has none, but is too slow for every file.
    """
    try:
        _count_events(text, _SafeLoader)
    except yaml.YAMLError:
        with suppress(yaml.YAMLError):
            _count_events(text, yaml.SafeLoader)
        raise


def parse_yaml(text: str) -> tuple[Any, dict[KeyPath, int]]:
    """(content, line of each key path) of a strict YAML text of known size.

    Raises:
        yaml.YAMLError: not YAML, or a key comes twice.
    """
    loader = _StrictLoader(text)
    try:
        node = loader.get_single_node()
        lines = _key_lines(node)  # before merges, which construction would write into the node
        return loader.construct_document(node) if node else None, lines
    # PyYAML takes tags at their word: `!!int x`, `!!map [a]`
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise yaml.YAMLError(f"a value that does not fit its tag: {error}") from error
    finally:
        loader.dispose()


def parse_yaml_value(text: str) -> Any:
    """The value that a text is in strict YAML, of the same kinds as in a file.

    Raises:
        ValueError: it is none.
    """
    try:
        _check_bounds(text)
        return parse_yaml(text)[0]
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"not valid YAML ({first_line(error)})") from error


def read_yaml(
    path: Path, error_type: type[FtHarnessError] = InputError
) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """(content, line of each key path) of a strict YAML file that holds one mapping.

    Raises:
        error_type: the file is missing, too large or too deep, not UTF-8, not YAML, has a key
            twice, or is no mapping.
    """
    try:
        size = no_pipe(path).stat().st_size
        if size > LARGEST_FILE:
            raise OSError(f"{size} bytes, more than the {LARGEST_FILE} allowed for settings")
        text = path.read_text(encoding="utf-8")
        _check_bounds(text)
        content, lines = parse_yaml(text)
        learn_secrets(content)
    except (OSError, UnicodeDecodeError) as error:
        raise error_type(
            f"{path}: can't be read ({error})", "a UTF-8 YAML file", "check the path"
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise error_type(
            f"{where}: not valid YAML ({reason})", "valid YAML", "fix this line"
        ) from error
    if not isinstance(content, dict):
        raise error_type(
            f"{path}: holds no mapping", "keys and values, like 'task: ...'", "see ft-harness init"
        )
    return content, lines


def no_pipe(path: Path) -> Path:
    """The path of a file that can be read, unless it is that of a pipe or a device, which may never
    end.

    Raises:
        OSError: it is.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path


def read_bytes(path: Path) -> bytes:
    """The content of a regular file that is read strictly; a pipe or a device, which may never end,
    is not opened.

    Raises:
        InputError: too large, not readable or no regular file.
    """
    try:
        if path.is_file() and path.stat().st_size <= _MAX_JSON:
            return path.read_bytes()
    except OSError:
        pass
    raise _no_object(path)


def parse_json(path: Path, content: bytes) -> dict[str, Any]:
    """The JSON object in a file's content, read strictly.

    Raises:
        InputError: no JSON object.
    """
    try:
        # strictly: Python guesses the encoding of bytes, which the libraries after it don't
        value = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise _no_object(path)
    return value


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file, read strictly.

    Raises:
        InputError: too large, not readable or no JSON object.
    """
    return parse_json(path, read_bytes(path))


def _no_object(path: Path) -> InputError:
    return InputError(
        f"{path}: not a JSON object", "a whole file", "fetch or make the folder again"
    )
