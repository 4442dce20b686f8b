"""YAML as people mean it, with the line of every value.

PyYAML reads `1e-6` as text, `24:00:00` as 86400, `012` as 10, `no` as False, and keeps the last of
two equal keys without a word. Here a plain scalar is null, true/false, a decimal number, or text;
duplicate keys, merge keys and tags are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hpcjobs.errors import InputError, printable
from hpcjobs.files import explained

KeyPath = tuple[str | int, ...]

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "true": True, "false": False}


@dataclass(frozen=True)
class Document:
    """One YAML file: its plain values, and the line (from 1) where each stands."""

    path: Path
    value: Any
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def where(self, path: KeyPath = ()) -> str:
        """`FILE:LINE` of the value at this key path, or of the nearest value around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.path}:{self.lines.get(path, 1)}"


class _Loader(yaml.SafeLoader):
    """Refuses tags: which type a value has is decided here alone."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise yaml.MarkedYAMLError(
                problem=f"the tag {tag} is not supported", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)


def read_yaml(path: Path) -> Document:
    """Read one YAML file.

    Raises:
        InputError: it is missing, not YAML, not UTF-8, or has a key twice.
        StorageError: it cannot be read.
    """
    with explained("read", path):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise InputError("no such file", where=str(path)) from None
    try:
        root = yaml.compose(data.decode("utf-8-sig"), Loader=_Loader)
    except UnicodeDecodeError as error:
        raise InputError(f"byte {error.start} is not UTF-8", where=str(path)) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"not YAML: {error.problem}", where=f"{path}:{line}") from error
    except yaml.YAMLError as error:
        raise InputError(f"not YAML: {error}", where=str(path)) from error
    except RecursionError:
        raise InputError("it is nested too deeply", where=str(path)) from None
    document = Document(path, None)
    value = None if root is None else _value(root, (), document, frozenset())
    return Document(path, value, document.lines)


def _value(node: yaml.Node, path: KeyPath, document: Document, above: frozenset[int]) -> Any:
    document.lines[path] = node.start_mark.line + 1
    where = f"{document.path}:{node.start_mark.line + 1}"
    if id(node) in above:
        raise InputError("an alias (*) points to a value that contains it", where=where)
    above |= {id(node)}
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return [
            _value(item, (*path, index), document, above) for index, item in enumerate(node.value)
        ]
    assert isinstance(node, yaml.MappingNode)  # noqa: S101 - the three kinds of node there are
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key_where = f"{document.path}:{key_node.start_mark.line + 1}"
        if not isinstance(key_node, yaml.ScalarNode):
            raise InputError("a key must be plain text", where=key_where)
        key = key_node.value
        if key == "<<" and key_node.style is None:
            raise InputError("merge keys (<<) are not supported", where=key_where)
        below: KeyPath = (*path, key)
        if key in result:
            raise InputError(
                f"the key {printable(key)} stands here a second time",
                where=key_where,
                expected=f"each key once (it stands also in line {document.lines[below]})",
            )
        result[key] = _value(value_node, below, document, above)
        document.lines[below] = key_node.start_mark.line + 1
    return result


def _scalar(node: yaml.ScalarNode) -> Any:
    text: str = node.value
    if node.style is not None:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
