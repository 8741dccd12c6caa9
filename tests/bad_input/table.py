"""The table of bad input, B01 to B70: what each line must come to, as cases of data, models, usage and the like."""

from __future__ import annotations

from bad_input import table_cases as own
from bad_input.case import Case
from bad_input.data_cases import data_cases
from bad_input.generate_cases import generate_cases
from bad_input.model_cases import model_cases
from bad_input.score_cases import score_cases
from bad_input.usage_cases import usage_cases

# The cases that stand elsewhere already, by name.
_NAMES = {
    "B01": "empty empty_json empty_csv empty_predict",
    "B02": "header_only header_only_eval empty_array blank_lines",
    "B03": "broken_line csv_quote csv_fields",
    "B04": "cut_line cut_json",
    "B06": "utf16 utf16_bare",
    "B07": "latin1 gb18030",
    "B08": "single_quotes web_page",
    "B11": "scalar_row list_row json_scalar",
    "B12": "key_twice csv_header_twice",
    "B13": "wrong_columns no_columns columns_key",
    "B14": "columns_differ",
    "B15": "column_in_some_rows",
    "B16": "null_question null_context_eval null_context_predict null_premise number_context",
    "B17": "null_label empty_label_csv",
    "B18": "empty_question",
    "B21": "mixed_labels mixed_shapes mixed_nli",
    "B22": "nan_label",
    "B23": "unknown_label_eval unknown_nli unknown_label_given",
    "B25": "nameless_labels",
    "B26": "one_class one_class_nli",
    "B27": "head_size",
    "B28": "duplicate_ids_eval duplicate_ids_squad",
    "B29": "overlap",
    "B30": "answers_elsewhere",
    "B39": "surrogate",
    "B45": "stride_large stride_predict",
    "B47": "all_skipped all_without_gold",
    "B48": "empty_eval all_without_gold_eval no_label_column_eval",
    "B49": "all_unanswerable",
    "B51": "model_folder missing_folder model_file",
    "B52": "model_run_typo",
    "B53": "model_hub_offline data_hub_offline",
    "B54": "model_no_tokenizer",
    "B55": "model_tokenizer_cut",
    "B56": "model_more_entries",
    "B57": "headless_eval headless_predict headless_classify",
    "B58": "model_no_layer",
    "B59": "model_cut model_cut_header model_zero model_pointer model_garbage model_extra",
    "B60": "model_nan",
    "B61": "convert_false",
    "B62": "model_malicious convert_malicious",
    "B63": "model_own_code",
    "B64": "model_config_cut model_config_list model_no_type model_unknown_type",
    "B65": "generate_long_prompt generate_long_prompt_file",
    "B67": "generate_temperature generate_temperature_nan generate_top_p generate_top_p_zero generate_no_tokens",
    "B68": "output_taken output_strange predict_taken eval_taken",
    "B69": "output_below_file output_proc predict_proc",
    "B70": "score_missing_ids score_extra_ids score_repeated_ids",
}


def in_table() -> frozenset[str]:
    """The names of cases that are run as lines of the table."""
    return frozenset(name for names in _NAMES.values() for name in names.split())


def _table() -> dict[str, tuple[Case, ...]]:
    everywhere = [*data_cases(), *model_cases(), *usage_cases(), *generate_cases(), *score_cases()]
    by_name = {case.name: case for case in everywhere}
    further = own.table_cases()
    lines = sorted({*_NAMES, *further})
    return {line: (*(by_name[name] for name in _NAMES.get(line, "").split()), *further.get(line, ())) for line in lines}


TABLE = _table()
REAL = ("B01", "B03", "B06", "B13", "B16", "B39", "B51", "B54", "B62", "B68")  # also run as real commands
