"""What an expert would run for extractive QA with plain Trainer: SQuAD 2.0 files or CMRC 2018.

  python tests/benchmarks/peers/trainer_qa.py --train F.json --validation F.json --scorer squad2

Score: f1 (squad2, no answer where the null score beats the best span) or (EM + F1) / 2 (cmrc), in percent.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from common import forward, load_model, load_tokenizer, parser, prepare, report, sample, train, write_predictions
from datasets import Dataset
from squad_score import SCORERS, best_f1
from transformers import AutoModelForQuestionAnswering, PreTrainedTokenizerBase


def read_rows(path: Path, limit: int | None) -> list[dict]:
    """id, question, context, golds (texts), span (start, end) of the first answer, or None where there is none."""
    rows = []
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                row = {"id": qa["id"], "question": qa["question"].strip(), "context": paragraph["context"]}
                answers = [] if qa.get("is_impossible") else qa["answers"]
                row["golds"] = [answer["text"] for answer in answers]
                row["span"] = first_span(paragraph["context"], answers)
                rows.append(row)
    return sample(rows, limit)


def first_span(context: str, answers: list[dict]) -> tuple[int, int] | None:
    """Where the first answer stands: at its offset, or where its text is first found (offsets can be wrong)."""
    if not answers:
        return None
    text, start = answers[0]["text"], answers[0]["answer_start"]
    if start < 0 or context[start : start + len(text)] != text:
        start = context.find(text)
    return (start, start + len(text)) if start >= 0 else None


def windows(tokenizer: PreTrainedTokenizerBase, rows: list[dict], a: argparse.Namespace) -> list[dict]:
    """Overlapping windows; `row` is the row's index, `offsets` each token's characters, None outside the context."""
    encoded = tokenizer(
        [r["question"] for r in rows],
        [r["context"] for r in rows],
        truncation="only_second",
        max_length=a.max_length,
        stride=a.stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    out = []
    for i, row in enumerate(encoded["overflow_to_sample_mapping"]):
        feature = {name: encoded[name][i] for name in tokenizer.model_input_names if name in encoded}
        kinds, offsets = encoded.sequence_ids(i), encoded["offset_mapping"][i]
        feature["offsets"] = [span if kind == 1 else None for kind, span in zip(kinds, offsets, strict=True)]
        out.append(feature | {"row": row})
    return out


def labelled(features: list[dict], rows: list[dict]) -> list[dict]:
    """Training windows: the tokens that hold the answer, or the first token where the window lacks it."""
    out = []
    for feature in features:
        span, offsets = rows[feature["row"]]["span"], feature["offsets"]
        start = end = 0
        inside = [j for j, o in enumerate(offsets) if o]
        if span and inside and offsets[inside[0]][0] <= span[0] and span[1] <= offsets[inside[-1]][1]:
            held = [j for j in inside if offsets[j][1] > span[0] and offsets[j][0] < span[1]]
            start, end = (held[0], held[-1]) if held else (0, 0)
        inputs = {name: value for name, value in feature.items() if name not in ("row", "offsets")}
        out.append(inputs | {"start_positions": start, "end_positions": end})
    return out


def best_span(start: np.ndarray, end: np.ndarray, limit: int) -> tuple[float, int, int]:
    """(score, first, last) of the best span of at most `limit` tokens; start and end: (tokens,)."""
    scores = start[:, None] + end[None, :]
    first, last = np.indices(scores.shape)
    scores = np.where((last >= first) & (last - first < limit), scores, -np.inf)
    i, j = np.unravel_index(scores.argmax(), scores.shape)
    return float(scores[i, j]), int(i), int(j)


def predict(a, model, tokenizer, rows: list[dict]) -> tuple[dict[str, str], dict[str, float]]:
    """(best span's text by id, null score less best span's score by id), over all windows of a row."""
    features = windows(tokenizer, rows, a)
    best: dict[int, tuple[float, str]] = {}
    null: dict[int, float] = {}
    for indices, outputs in forward(a, model, tokenizer, features, batch_size=32):
        starts, ends = outputs.start_logits.float().cpu().numpy(), outputs.end_logits.float().cpu().numpy()
        for i, start, end in zip(indices, starts, ends, strict=True):
            row, offsets = features[i]["row"], features[i]["offsets"]
            null[row] = min(null.get(row, np.inf), float(start[0] + end[0]))
            inside = [j for j, o in enumerate(offsets) if o]
            if not inside:
                continue
            low, high = inside[0], inside[-1] + 1
            score, first, last = best_span(start[low:high], end[low:high], a.max_answer_length)
            if row not in best or score > best[row][0]:
                text = rows[row]["context"][offsets[low + first][0] : offsets[low + last][1]]
                best[row] = (score, text)
    spans = {r["id"]: best[i][1] for i, r in enumerate(rows)}
    return spans, {r["id"]: null[i] - best[i][0] for i, r in enumerate(rows)}


def main() -> None:
    p = parser(__doc__, epochs=2, batch_size=16, lr=1e-4)
    p.add_argument("--train", type=Path, required=True)
    p.add_argument("--validation", type=Path, required=True)
    p.add_argument("--scorer", choices=SCORERS, default="squad2")
    p.add_argument("--max-length", type=int, default=384)
    p.add_argument("--stride", type=int, default=128)
    p.add_argument("--max-answer-length", type=int, default=30, help="tokens")
    a = p.parse_args()
    prepare(a)
    tokenizer = load_tokenizer(a.model)
    # cmrc2018's trial file has two questions without a word, which hfkit's data check leaves out too
    rows = [r for r in read_rows(a.train, a.limit) if r["question"] and (r["span"] or not r["golds"])]
    features = labelled(windows(tokenizer, rows, a), rows)
    model = load_model(AutoModelForQuestionAnswering, a.model)
    trained = train(a, model, tokenizer, Dataset.from_list(features))

    begin = time.perf_counter()
    gold = read_rows(a.validation, a.limit)
    spans, gaps = predict(a, model, tokenizer, gold)
    answers = spans
    if a.scorer == "squad2":
        answers = {key: "" if gaps[key] > 0 else text for key, text in spans.items()}
    score, name = SCORERS[a.scorer]
    found = score(gold, answers)
    if a.scorer == "squad2":
        found["best_f1"], found["best_f1_gap"] = best_f1(gold, spans, gaps)
    write_predictions(a.predictions, answers)
    report(
        a,
        peer="Trainer qa",
        data=str(a.validation),
        metric=name,
        score=found[name],
        scores=found,
        rows=len(rows),
        windows=len(features),
        eval_rows=len(gold),
        **trained,
        eval_seconds=round(time.perf_counter() - begin, 1),
        settings={"max_length": a.max_length, "stride": a.stride, "max_answer_length": a.max_answer_length},
    )


if __name__ == "__main__":
    main()
