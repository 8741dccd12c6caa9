"""A strict YAML reader: YAML 1.2 booleans and floats, duplicate keys refused, nothing but plain data ever built."""

from __future__ import annotations

import re
from typing import Any

import yaml

MAX_DEPTH = 20
YAMLError = yaml.YAMLError
_STARTS = (
    yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken, yaml.BlockSequenceStartToken, yaml.BlockMappingStartToken,
)  # fmt: skip
_ENDS = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)


class StrictLoader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2 scalars: `no` is a word, `1e-5` is a number."""


def _mapping(loader: StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        name = loader.construct_object(key_node, deep=True)
        if name in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key '{name}' is given twice", key_node.start_mark)
        seen[name] = loader.construct_object(value_node, deep=True)
    return seen


_SCALARS = {
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "tag:yaml.org,2002:int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "tag:yaml.org,2002:float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    "tag:yaml.org,2002:null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
}

StrictLoader.yaml_implicit_resolvers = {}
for _tag, (_pattern, _first) in _SCALARS.items():
    StrictLoader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), list(_first))
StrictLoader.add_constructor("tag:yaml.org,2002:map", _mapping)


def _integer(loader: StrictLoader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    # YAML 1.2: a leading zero is decimal; only 0o and 0x change the base.
    try:
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    except ValueError as error:  # thousands of digits
        raise yaml.constructor.ConstructorError(None, None, "a number too long", node.start_mark) from error


StrictLoader.add_constructor("tag:yaml.org,2002:int", _integer)


def parse(text: str) -> Any:
    """The value of a YAML text. Raises yaml.YAMLError; aliases and deep nesting are refused: a small file stays so."""
    depth = 0
    for token in yaml.scan(text, Loader=StrictLoader):
        depth += isinstance(token, _STARTS) - isinstance(token, _ENDS)
        if depth > MAX_DEPTH:
            problem = f"nested more than {MAX_DEPTH} levels deep"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=token.start_mark)
        if isinstance(token, yaml.AliasToken):
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not used in recipes", problem_mark=token.start_mark)
    return yaml.load(text, Loader=StrictLoader)  # a SafeLoader: plain data only


def dump(value: Any) -> str:
    """YAML text of plain data, keys in their order, which `parse` reads back to the same value."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes what YAML 1.2 readers would take for something else."""


_Dumper.yaml_implicit_resolvers = {
    first: list(pairs) for first, pairs in yaml.SafeDumper.yaml_implicit_resolvers.items()
}
for _tag, (_pattern, _first) in _SCALARS.items():
    _Dumper.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), list(_first))
