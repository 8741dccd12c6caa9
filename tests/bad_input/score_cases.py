"""Files of predictions that do not fit their data."""

from __future__ import annotations

from bad_input.case import GOOD, Case, jsonl, qa, without


def score_cases() -> list[Case]:
    dev = {"dev.jsonl": jsonl(qa(0), qa(1))}
    right = [{"id": "q0", "prediction": "old mill"}, {"id": "q1", "prediction": "old mill"}]

    def one(name: str, says: str, content: str | bytes, file: str = "p.jsonl", more: str = "", code: int = 3) -> Case:
        return Case(
            f"score_{name}", f"score {file} --data dev.jsonl --task qa {more}", code, says, {**dev, file: content}
        )

    return [
        Case("score_no_file", "score p.jsonl --data dev.jsonl --task qa", 3, "p.jsonl", dev),
        Case("score_folder", "score folder --data dev.jsonl --task qa", 3, "folder", {**dev, "folder/x": ""}),
        Case(
            "score_no_data",
            "score p.jsonl --data nowhere.jsonl --task qa",
            3,
            "nowhere.jsonl",
            {"p.jsonl": jsonl(*right)},
        ),
        one("empty", "p.jsonl is empty", ""),
        one("missing_ids", r"1 of 2 rows without a prediction \(q1\)", jsonl(right[0])),
        one("extra_ids", r"1 with an id that the data lacks \(q9\)", jsonl(*right, {"id": "q9", "prediction": "x"})),
        one("repeated_ids", "repeated.*q0", jsonl(*right, right[0])),
        one("no_id", "p.jsonl.*2.*no id", jsonl(right[0], {"prediction": "x"})),
        one("no_prediction", "p.jsonl.*1.*no prediction", jsonl({"id": "q0"}, right[1])),
        one("broken", "p.jsonl:2", jsonl(right[0]) + "{oops\n"),
        one("scalar", "p.jsonl:2", jsonl(right[0], 5)),
        one("latin1", "p.jsonl", jsonl({"id": "q0", "prediction": "Mühle"}).encode("latin-1")),
        one("null", "q0", jsonl({"id": "q0", "prediction": None}, right[1])),
        one("number", "q0", jsonl({"id": "q0", "prediction": 5}, right[1])),
        one("list_json", "p.json", "[1, 2]", "p.json"),
        one("csv", "p.csv.*no prediction", "id,answer\nq0,x\n", "p.csv"),
        one("csv_short", "p.csv", "id,prediction\nq0\nq1,x\n", "p.csv"),
        one("key", "qa.scorr", jsonl(*right), more="qa.scorr=squad", code=2),
        one("section", "train.lr", jsonl(*right), more="train.lr=1", code=2),
        one("limit", "data.limit", jsonl(*right), more="data.limit=zero", code=2),
        Case(
            "score_nli_word",
            "score p.jsonl --data nli.jsonl --task nli",
            3,
            "'n0'.*'perhaps'",
            {**GOOD, "p.jsonl": jsonl(*({"id": f"n{n}", "prediction": "perhaps"} for n in range(12)))},
        ),
        Case(
            "score_classify_word",
            "score p.jsonl --data text.jsonl --task classify",
            3,
            "c0|perhaps",
            {**GOOD, "p.jsonl": jsonl(*({"id": f"c{n}", "prediction": "perhaps"} for n in range(12)))},
        ),
        Case("compare_no_run", "compare nothing p.jsonl", 2, "nothing", {"p.jsonl": jsonl(*right)}),
        Case("compare_no_gold", "compare p.jsonl p.jsonl", 2, "no gold", {"p.jsonl": jsonl(*right)}),
        Case(
            "compare_no_task", "compare p.jsonl p.jsonl --data dev.jsonl", 2, "task", {**dev, "p.jsonl": jsonl(*right)}
        ),
        Case(
            "compare_ids",
            "compare p.jsonl q.jsonl --data dev.jsonl --task qa",
            3,
            "q.jsonl.*q1",
            {**dev, "p.jsonl": jsonl(*right), "q.jsonl": jsonl(right[0])},
        ),
        Case(
            "compare_damaged",
            "compare e e",
            3,
            "columns.json",
            {"e/metrics.json": "{}", "e/predictions.jsonl": "", "e/columns.json": "[1]"},
        ),
        Case(
            "score_no_answers",
            "score p.jsonl --data dev.jsonl --task qa",
            3,
            "dev.jsonl.*answers",
            {"p.jsonl": jsonl(*right), "dev.jsonl": jsonl(without(qa(0), "answers"), without(qa(1), "answers"))},
        ),
    ]
