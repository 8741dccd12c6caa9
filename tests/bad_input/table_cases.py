"""Cases of the table of bad input that stand nowhere else; most look like a mistake and are none."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from typing import Any

from bad_input.case import (
    ASK,
    CLASSIFY,
    CONTEXT,
    EVAL,
    GOOD,
    NLI,
    NLIS,
    PREDICT,
    QA,
    QAS,
    TEXTS,
    Case,
    jsonl,
    nli,
    qa,
    text,
)

ROWS = [qa(number) for number in range(12)]
ANSWER = "predict {qa} --cpu --data"  # on a model of words
READ = "predict {bytes} --cpu --data"  # on a model that knows every byte
DRY = "--dry-run"
MANY = [qa(number) for number in range(2000)]
FAMILY = "👩\u200d👩\u200d👧"
HARD = {  # contexts that offsets go wrong on
    "crlf": "line one\r\nline two\r\n\r\nthe end \r\n",
    "nfd": unicodedata.normalize("NFD", "le café où l'élève a rencontré Zoë à Århus"),
    "nfc": unicodedata.normalize("NFC", "le café où l'élève a rencontré Zoë à Århus"),
    "nfkc": "ﬁne ﬂour, ² ½ №5, ｆｕｌｌ ｗｉｄｔｈ",
    "cjk": "老磨坊后面有一条小河流过，磨坊现在不转了。𠮷野家はどこですか",
    "emoji": f"the {FAMILY} lives 👍🏽 here 🇩🇪🇫🇷 in ❤️ and 1️⃣ {FAMILY}{FAMILY}",
    "odd": "sof\u00adt hy\u00adphen, \u202bhebrew\u202c שלום, İstanbul ıssız, NUL\x00here, \ufeffmark, no\u200bwidth",
    "indic": "हिन्दी में क्षेत्र और ด้วยความยินดี ครับ",
}


def substrings(*contexts: str) -> Callable[[dict[str, Any]], bool]:
    """Whether every prediction is the part of its context that its offsets say."""

    def holds(result: dict[str, Any]) -> bool:
        found = result["predictions"]
        return len(found) == len(contexts) and all(
            context[row["start"] : row["end"]] == row["prediction"] and row["start"] <= row["end"]
            for context, row in zip(contexts, found, strict=True)
        )

    return holds


def rows(count: int) -> Callable[[dict[str, Any]], bool]:
    return lambda result: result["rows"] == count


def ids(*names: str) -> Callable[[dict[str, Any]], bool]:
    return lambda result: [row["id"] for row in result["predictions"]] == list(names)


def table_cases() -> dict[str, list[Case]]:
    """By line of the table."""
    return {**reading(), **columns_and_labels(), **answers(), **texts(), **models(), **outputs()}


def fine(name: str, command: str, files: Any, says: str = "", holds: Any = None) -> Case:
    return Case(name, command, 0, says, files, holds=holds)


def reading() -> dict[str, list[Case]]:
    """Files: encodings, forms, bad rows."""
    broken = "oops\n"
    nested = {
        "data": [
            {
                "title": "t",
                "paragraphs": [
                    {
                        "context": CONTEXT,
                        "qas": [
                            {"id": f"n{n}", "question": "who?", "answers": [{"text": "old mill", "answer_start": 32}]}
                            for n in range(2)
                        ],
                    }
                ],
            }
        ]
    }
    csv = "id,question,context\r\n1,who,the old mill\r\n"
    return {
        "B03": [
            fine(
                "skip_some",
                f"{ANSWER} d.jsonl data.on_bad_row=skip",
                {"d.jsonl": QAS + broken},
                "1 row .*skipped: d.jsonl:13",
                rows(12),
            ),
            Case(
                "skip_too_many",
                f"{PREDICT} d.jsonl data.on_bad_row=skip",
                3,
                r"d.jsonl: 30 of 2,030 rows \(1.5 %\) cannot be read.*d.jsonl:2001",
                {"d.jsonl": jsonl(*MANY) + 30 * broken},
            ),
        ],
        "B05": [
            fine("bom_jsonl", f"{ANSWER} d.jsonl", {"d.jsonl": b"\xef\xbb\xbf" + QAS.encode()}, holds=rows(12)),
            fine("bom_csv", f"{ANSWER} d.csv", {"d.csv": b"\xef\xbb\xbf" + csv.encode()}, holds=rows(1)),
        ],
        "B06": [
            fine(
                "utf16_said",
                f"{ANSWER} d.jsonl data.encoding=utf-16",
                {"d.jsonl": QAS.encode("utf-16")},
                holds=rows(12),
            )
        ],
        "B07": [
            fine(
                "latin1_said",
                f"{ANSWER} d.jsonl data.encoding=latin-1",
                {"d.jsonl": jsonl(qa(context="die Mühle steht still")).encode("latin-1")},
                holds=substrings("die Mühle steht still"),
            ),
            fine(
                "gb18030_said",
                f"{READ} d.jsonl data.encoding=gb18030",
                {"d.jsonl": jsonl(qa(context=HARD["cjk"])).encode("gb18030")},
                holds=substrings(HARD["cjk"]),
            ),
        ],
        "B09": [
            fine(
                "array_in_jsonl",
                f"{ANSWER} d.jsonl",
                {"d.jsonl": json.dumps(ROWS)},
                "d.jsonl holds one JSON value",
                rows(12),
            ),
            fine("lines_in_json", f"{ANSWER} d.json", {"d.json": QAS}, "d.json holds a JSON object a line", rows(12)),
        ],
        "B10": [
            fine("nested_squad", f"{ANSWER} d.json", {"d.json": json.dumps(nested)}, holds=ids("n0", "n1")),
            fine(
                "nested_squad_score",
                "score p.json --data d.json --task qa",
                {"d.json": json.dumps(nested), "p.json": '{"n0": "old mill", "n1": "old mill"}'},
                holds=lambda r: r["metrics"]["f1"] == 100,
            ),
        ],
    }


def columns_and_labels() -> dict[str, list[Case]]:
    """Columns, ids, labels."""
    named = jsonl(*({"who": "a mill?", "where": CONTEXT} for _ in range(3)))
    numbers = jsonl(*(text(n, float(n % 2)) for n in range(12)))
    words = "text,label\n" + "".join(
        f"{CONTEXT} {CONTEXT} {CONTEXT} {CONTEXT} {word} {n},{word}\n"
        for n in range(9)
        for word in ("NA", "null", "None", "nan")
    )
    blank = [text(n, ("good", "bad")[n % 2]) for n in range(40)]
    hidden = NLIS + jsonl(nli(12, -1), nli(13, "-"), nli(14, None))
    integers = jsonl(*(nli(n, n % 3) for n in range(12)))
    return {
        "B13": [
            fine(
                "columns_given",
                f"{ANSWER} d.jsonl data.columns.question=who data.columns.context=where",
                {"d.jsonl": named},
                holds=rows(3),
            )
        ],
        "B18": [
            fine(
                "few_blank",
                f"{CLASSIFY} d.jsonl {DRY}",
                {"d.jsonl": jsonl(*blank, text(40, text=" "))},
                r"warning: .*text is empty in 1 row \(id 'c40'\)",
            ),
            Case(
                "many_blank",
                f"{CLASSIFY} d.jsonl",
                3,
                r"text is empty in . rows.*more than 10 % of ..",
                {"d.jsonl": jsonl(*blank, *(text(n, text="") for n in range(40, 46)))},
            ),
        ],
        "B19": [
            fine(
                "words_for_nothing",
                f"{CLASSIFY} d.csv {DRY}",
                {"d.csv": words},
                r"classify.labels = .*NA.*None.*nan.*null",
            ),
            fine("words_for_nothing_predict", "predict {two} --cpu --data d.csv", {"d.csv": words}, holds=rows(36)),
        ],
        "B20": [
            fine(
                "ids_csv",
                "predict {two} --cpu --data d.csv",
                {"d.csv": f"id,text\n007,a\n{'9' * 30},b\n1e5,c\n"},
                holds=ids("007", "9" * 30, "1e5"),
            ),
            fine(
                "ids_json",
                "predict {two} --cpu --data d.jsonl",
                {"d.jsonl": jsonl({"id": 10**29 + 7, "text": "a"}, {"id": "007", "text": "b"})},
                holds=ids(str(10**29 + 7), "007"),
            ),
        ],
        "B22": [
            fine("whole_floats", f"{CLASSIFY} d.jsonl {DRY}", {"d.jsonl": numbers}, r"classify.labels = \['0', '1'\]")
        ],
        "B24": [
            fine("no_gold_train", f"{NLI} d.jsonl {DRY}", {"d.jsonl": hidden}, "labels that say no gold, left out"),
            fine(
                "no_gold_eval",
                "eval {nli} --cpu --data d.jsonl",
                {"d.jsonl": hidden},
                "3 of 15 rows have no gold",
                lambda r: (r["rows"], r["unscored"]) == (12, 3),
            ),
        ],
        "B25": [
            fine(
                "labels_by_number",
                "eval {nli} --cpu --data d.jsonl",
                {"d.jsonl": integers},
                "labels are read by number: 0 as entailment, 1 as neutral",
            )
        ],
        "B26": [
            fine(
                "class_missing",
                f"{CLASSIFY} text.jsonl {DRY} 'classify.labels=[good, bad, fair]'",
                GOOD,
                "labels without a training row: fair",
            ),
            fine(
                "class_missing_nli",
                f"{NLI} d.jsonl {DRY}",
                {"d.jsonl": jsonl(*(nli(n, ("entailment", "neutral")[n % 2]) for n in range(12)))},
                "no row is labelled contradiction",
            ),
        ],
        "B27": [
            fine(
                "head_reset",
                f"{CLASSIFY} d.jsonl --model {{two}} {DRY} train.reset_head=true".replace("--model {bert} ", ""),
                {"d.jsonl": jsonl(*(text(n, "abc"[n % 3]) for n in range(12)))},
                "a fresh head",
            ),
        ],
        "B28": [
            fine(
                "ids_twice_train",
                f"{QA} d.jsonl {DRY}",
                {"d.jsonl": QAS + jsonl(qa(0), qa(1))},
                "given to more than one row.*'q0'",
            )
        ],
        "B29": [
            fine(
                "overlap_said",
                f"{QA} qa.jsonl --validation qa.jsonl {DRY}",
                GOOD,
                r"12 of 12 validation rows \(100.0 %\) stand in the training data too",
            )
        ],
        "B14": [
            Case(
                "columns_differ_text",
                f"{CLASSIFY} a.jsonl --train b.jsonl",
                3,
                "b.jsonl.*text.*a.jsonl|a.jsonl.*b.jsonl",
                {"a.jsonl": TEXTS, "b.jsonl": jsonl({"id": "x", "words": "a", "label": "good"})},
            ),
        ],
    }


def answers() -> dict[str, list[Case]]:
    """Where answers stand."""

    def placed(name: str, context: str, answer: str, start: int, says: str) -> Case:
        rows = [qa(n, context=f"{context} {n}", answers={"text": [answer], "answer_start": [start]}) for n in range(12)]
        return fine(name, f"{QA.replace('{bert}', '{bytes}')} d.jsonl {DRY}", {"d.jsonl": jsonl(*rows)}, says)

    emoji, accents = "😀😀 the mill, the mill", "éé the mill, the mill"
    lost = [*MANY[:30], qa(30, answers={"text": ["castle"], "answer_start": [3]})]
    return {
        "B30": [
            fine(
                "answers_lost",
                f"{QA} d.jsonl {DRY}",
                {"d.jsonl": jsonl(*lost)},
                "1 of 2. answerable questions have no answer.*not trained on|no answer that can be located",
            ),
        ],
        "B31": [
            placed("answer_off_by_one", "the mill and the mill", "mill", 5, "found near its offset"),
            placed("answer_found_once", "the old mill stands", "old mill", 1, "found once elsewhere"),
        ],
        "B33": [placed("answer_utf16", emoji, "mill", emoji.index("mill", 10) + 2, "offset in UTF-16 units")],
        "B34": [placed("answer_bytes", accents, "mill", accents.index("mill", 10) + 2, "offset in bytes")],
    }


def texts() -> dict[str, list[Case]]:
    """Texts that are strange, long, or look like the tokenizer's own words."""

    def read(name: str, *kinds: str) -> Case:
        contexts = [HARD[kind] for kind in kinds]
        return fine(
            name,
            f"{READ} d.jsonl",
            {"d.jsonl": jsonl(*(qa(n, context=c) for n, c in enumerate(contexts)))},
            holds=substrings(*contexts),
        )

    long_word = "mill" * 40
    strange = [
        qa(n, context=f"{word * 12} {n}", question="mill?", answers={"text": [word], "answer_start": [0]})
        for n, word in enumerate(["qzx" * 50] * 12)
    ]
    special = [f"{20 * CONTEXT} [SEP] the mill", "the mill <|endoftext|> stands"]
    lengthy = "the river runs " * 3000
    return {
        "B32": [
            read("crlf", "crlf"),
            fine(
                "crlf_csv",
                f"{READ} d.csv",
                {"d.csv": 'id,question,context\r\n1,who,"a\r\nb the mill\r\n"\r\n'},
                holds=substrings("a\r\nb the mill\r\n"),
            ),
        ],
        "B35": [read("unicode_forms", "nfd", "nfc", "nfkc")],
        "B36": [read("cjk", "cjk")],
        "B37": [read("emoji", "emoji")],
        "B38": [read("odd_characters", "odd", "indic")],
        "B40": [
            fine(
                "special_texts",
                f"{ANSWER} d.jsonl",
                {"d.jsonl": jsonl(qa(context=special[0]))},
                r"\[SEP\].*read as text",
                substrings(special[0]),
            ),
            fine(
                "special_texts_bytes",
                f"{READ} d.jsonl",
                {"d.jsonl": jsonl(qa(context=special[1]))},
                r"<\|endoftext\|>.*read as text",
                substrings(special[1]),
            ),
            fine(
                "special_texts_train",
                f"{QA.replace('{bert}', '{bytes}')} d.jsonl {DRY}",
                {"d.jsonl": jsonl(*(qa(n, question="<|endoftext|> mill?") for n in range(12)))},
                r"<\|endoftext\|>: read as text",
            ),
        ],
        "B41": [
            fine(
                "long_word",
                f"{ANSWER} d.jsonl",
                {"d.jsonl": jsonl(qa(context=f"{CONTEXT} {long_word} {20 * CONTEXT}"))},
                holds=rows(1),
            ),
            Case(
                "long_words", f"{QA} d.jsonl", 4, "does not know .*% of the data's tokens", {"d.jsonl": jsonl(*strange)}
            ),
        ],
        "B42": [
            fine(
                "long_text",
                "predict {two} --cpu --data d.jsonl",
                {"d.jsonl": jsonl(text(text=lengthy), text(1))},
                "1 of 2 rows .*128 tokens",
                rows(2),
            ),
            fine(
                "long_text_train",
                f"{CLASSIFY} d.jsonl {DRY}",
                {"d.jsonl": TEXTS + jsonl(text(12, text=lengthy))},
                "% of rows are truncated",
            ),
        ],
        "B43": [
            fine(
                "no_stored_length",
                "eval {endless} --cpu --data d.jsonl",
                {"d.jsonl": jsonl(text(text=lengthy), text(1, "bad"))},
                holds=rows(2),
            )
        ],
        "B44": [
            fine(
                "long_question",
                f"{ANSWER} d.jsonl",
                {"d.jsonl": jsonl(qa(question="who built the mill? " * 400))},
                holds=substrings(CONTEXT),
            ),
            fine(
                "long_question_train",
                f"{QA} d.jsonl {DRY}",
                {"d.jsonl": jsonl(*(qa(n, question="who built it? " * 40) for n in range(12)))},
                "questions looked at are longer and are cut",
            ),
        ],
        "B46": [
            fine(
                "large_context", f"{ANSWER} d.jsonl", {"d.jsonl": jsonl(qa(context=lengthy))}, holds=substrings(lengthy)
            ),
            Case(
                "huge_context",
                f"{PREDICT} d.jsonl",
                3,
                "context is longer than 1,000,000 characters in 1 row.*'q0'",
                {"d.jsonl": jsonl(qa(context="mill " * 210_000))},
            ),
            Case(
                "huge_context_train",
                f"{QA} d.jsonl",
                3,
                "context is longer than 1,000,000 characters in 1 row.*'q1'",
                {"d.jsonl": jsonl(qa(0), qa(1, context="mill " * 210_000))},
            ),
        ],
        "B50": [
            fine(
                "batch_beyond_rows",
                f"{QA} qa.jsonl --batch-size 64",
                GOOD,
                holds=lambda r: r["rows"] > 0 if "rows" in r else bool(r["run"]),
            )
        ],
    }


def models() -> dict[str, list[Case]]:
    """Models and prompts."""
    return {
        "B53": [],
        "B56": [
            fine(
                "unused_entries",
                f"predict {{fewer_entries}} {ASK}",
                {},
                "the tokenizer has .* entries, the model .* embeddings",
            )
        ],
        "B60": [Case("flipped_bit", f"predict {{flipped}} {ASK}", 4, "model.safetensors.*differs from what was saved")],
        "B61": [
            fine(
                "pickle_converted",
                "predict {pickled} --cpu --data qa.jsonl",
                GOOD,
                "pickle weights were converted",
                rows(12),
            )
        ],
        "B65": [
            fine(
                "full_context",
                "generate {gpt2} --cpu 'the river' --max-new-tokens 500 --temperature 0",
                {},
                holds=lambda r: r["predictions"][0]["finish_reason"] == "length",
            )
        ],
        "B66": [
            fine(
                "empty_prompt",
                "generate {gpt2} --cpu --prompts p.jsonl --max-new-tokens 4",
                {"p.jsonl": jsonl({"prompt": ""}, {"prompt": "the"})},
                holds=rows(2),
            ),
            fine("empty_prompt_typed", "generate {gpt2} --cpu '' --max-new-tokens 4", {}, holds=rows(1)),
        ],
        "B67": [fine("greedy", "generate {gpt2} --cpu the --temperature 0 --max-new-tokens 3", {}, holds=rows(1))],
    }


def outputs() -> dict[str, list[Case]]:
    """Predictions that fit their data."""
    right = jsonl(*({"id": f"q{n}", "prediction": "old mill"} for n in range(12)))
    return {
        "B70": [
            fine(
                "scored",
                "score p.jsonl --data qa.jsonl --task qa",
                {**GOOD, "p.jsonl": right},
                holds=lambda r: r["metrics"]["exact_match"] == 100,
            )
        ],
        "B48": [
            Case("empty_eval_csv", f"{EVAL} d.tsv", 3, "d.tsv: 0 rows", {"d.tsv": "id\tquestion\tcontext\tanswers\n"})
        ],
    }
