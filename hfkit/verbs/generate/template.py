"""generate.template: a prompt made of a row's columns, `Q: {question}\\nA:`. Used by prompts.py and talk.py."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from string import Formatter
from typing import Any

from hfkit.errors import DataError, UsageError

ESCAPES = {"n": "\n", "t": "\t", "\\": "\\"}  # \n and so on, which a shell's quotes leave as they are
HINT = "a column stands in braces, as in 'Q: {question}\\nA:'; a brace that is text is doubled: {{"


class Template:
    """A text with columns in braces. Raises UsageError where it is not one.

    `fields` are the columns, each once, in their order. A field is a column's whole name, dots and brackets included:
    nothing is looked up inside a value.
    """

    def __init__(self, text: str) -> None:
        plain = re.sub(r"\\([nt\\])", lambda found: ESCAPES[found[1]], text)
        try:
            parts = list(Formatter().parse(plain))
        except ValueError as error:
            raise UsageError(f"generate.template: {error}", HINT) from error
        for _, field, form, conversion in parts:
            if field is not None and (not field or form or conversion):
                more = f":{form}" if form else f"!{conversion}" if conversion else ""
                raise UsageError(f"generate.template: {{{field}{more}}} is not a column's name alone", HINT)
        self._parts = [(literal, field) for literal, field, _, _ in parts]
        self.fields = tuple(dict.fromkeys(field for _, field in self._parts if field is not None))
        if not self.fields:
            raise UsageError(f"generate.template names no column: {text}", HINT)

    def fill(self, row: Mapping[str, Any]) -> str:
        """The prompt of a row: texts as they are, other values as JSON. Raises DataError for a value that is null."""
        return "".join(literal + ("" if field is None else _text(row, field)) for literal, field in self._parts)

    def fill_one(self, text: str) -> str:
        """The prompt of a text that has no columns: it is the template's only field. Raises UsageError."""
        if len(self.fields) > 1:
            raise UsageError(
                f"generate.template needs the columns {', '.join(self.fields)}, and a typed prompt is one text",
                "give rows with these columns by --prompts",
            )
        return self.fill({self.fields[0]: text})


def _text(row: Mapping[str, Any], field: str) -> str:
    value = row.get(field)
    if value is None:
        raise DataError(f"row '{row.get('id')}': {field} is null, and generate.template needs it", "complete the row")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
