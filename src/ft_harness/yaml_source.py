"""Strict YAML: safe types only, no duplicate keys, and the line of every key for messages."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from ft_harness.errors import FtHarnessError, InputError

KeyPath = tuple[str, ...]


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys and reads `!function name` as the text of its name."""


def _construct_mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise yaml.constructor.ConstructorError(None, None, "a key is a list or mapping", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", key_node.start_mark)
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


# Dates stay text: nothing here wants them, and JSON has none.
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)
_StrictLoader.add_constructor("!function", lambda loader, node: f"!function {node.value}")


def _key_lines(node: yaml.Node | None, prefix: KeyPath = ()) -> dict[KeyPath, int]:
    lines: dict[KeyPath, int] = {}
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            path = (*prefix, str(key_node.value))
            lines[path] = key_node.start_mark.line + 1
            lines |= _key_lines(value_node, path)
    return lines


def read_yaml(path: Path, error_type: type[FtHarnessError] = InputError) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """(content, line of each key path) of a YAML file that holds one mapping.

    Raises:
        error_type: the file is missing, not UTF-8, not YAML, has a key twice, or is no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
        lines = _key_lines(yaml.compose(text, Loader=yaml.SafeLoader))
    except (OSError, UnicodeDecodeError) as error:
        raise error_type(f"{path}: can't be read ({error})", "a UTF-8 YAML file", "check the path") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise error_type(f"{where}: not valid YAML ({reason})", "valid YAML", "mend this line") from error
    if not isinstance(content, dict):
        raise error_type(f"{path}: holds no mapping", "keys and values, like 'task: ...'", "see ft-harness init")
    return content, lines
