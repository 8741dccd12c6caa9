"""The scores of SQuAD 2.0 and CMRC 2018, written out literally for the QA peer.

SQuAD: evaluate-v2.0.py (Rajpurkar et al. 2018). CMRC: cmrc2018_evaluate.py (Cui et al. 2019), with runs that are
neither Chinese nor listed punctuation cut by a regular expression where the script calls a word tokenizer.
All values are percents; `golds` are the answer texts of a question, none for an unanswerable one.
"""

import re
import string
from collections import Counter
from collections.abc import Callable

CJK_PUNCTUATION = set("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")


def normalise(text: str) -> str:
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def squad_exact(gold: str, answer: str) -> float:
    return float(normalise(gold) == normalise(answer))


def squad_f1(gold: str, answer: str) -> float:
    wanted, given = normalise(gold).split(), normalise(answer).split()
    if not wanted or not given:
        return float(wanted == given)
    common = sum((Counter(wanted) & Counter(given)).values())
    return 2 * common / (len(wanted) + len(given))


def squad2_values(golds: list[str], answer: str) -> tuple[float, float]:
    """(exact, f1) of one question, 0 to 1; golds that normalise to nothing do not count."""
    golds = [g for g in golds if normalise(g)] or [""]
    return max(squad_exact(g, answer) for g in golds), max(squad_f1(g, answer) for g in golds)


def cmrc_segments(text: str) -> list[str]:
    segments, run = [], ""
    for char in text.lower().strip():
        if char in CJK_PUNCTUATION:  # left out without ending a run, as in the script
            continue
        if "\u4e00" <= char <= "\u9fa5":
            segments += [*words(run), char]
            run = ""
        else:
            run += char
    return segments + words(run)


def words(run: str) -> list[str]:
    return re.findall(r"\w+(?:[.,]\w+)*|[^\w\s]+", run)


def longest_common_run(a: list[str], b: list[str]) -> int:
    best, previous = 0, [0] * (len(b) + 1)
    for x in a:
        current = [0] * (len(b) + 1)
        for j, y in enumerate(b):
            if x == y:
                current[j + 1] = previous[j] + 1
                best = max(best, current[j + 1])
        previous = current
    return best


def cmrc_values(golds: list[str], answer: str) -> tuple[float, float]:
    """(exact, f1) of one question, 0 to 1."""

    def bare(text: str) -> str:
        return "".join(c for c in text.lower().strip() if c not in CJK_PUNCTUATION)

    def f1(gold: str) -> float:
        wanted, given = cmrc_segments(gold), cmrc_segments(answer)
        run = longest_common_run(wanted, given)
        return 2 * run / (len(wanted) + len(given)) if run else 0.0

    return float(any(bare(g) == bare(answer) for g in golds)), max(f1(g) for g in golds)


def average(values: list[tuple[float, float]]) -> tuple[float, float]:
    return tuple(round(100 * sum(v[k] for v in values) / len(values), 3) for k in (0, 1)) if values else (0.0, 0.0)


def squad2_score(rows: list[dict], answers: dict[str, str]) -> dict:
    values = {r["id"]: squad2_values(r["golds"], answers[r["id"]]) for r in rows}
    out = dict(zip(("exact_match", "f1"), average(list(values.values())), strict=True))
    for name, part in (("answerable", True), ("unanswerable", False)):
        chosen = [values[r["id"]] for r in rows if bool(r["golds"]) is part]
        out[f"{name}_f1"] = average(chosen)[1]
    return out


def cmrc_score(rows: list[dict], answers: dict[str, str]) -> dict:
    exact, f1 = average([cmrc_values(r["golds"], answers[r["id"]]) for r in rows])
    return {"exact_match": exact, "f1": f1, "average": round((exact + f1) / 2, 3)}


def best_f1(rows: list[dict], spans: dict[str, str], gaps: dict[str, float]) -> tuple[float, float]:
    """(f1, gap) at the best gap: a question whose gap is above it gets no answer (find_best_thresh)."""
    score = float(sum(not r["golds"] for r in rows))
    best, threshold = score, 0.0
    for row in sorted(rows, key=lambda r: gaps[r["id"]]):
        answer = spans[row["id"]]
        score += squad2_values(row["golds"], answer)[1] if row["golds"] else -float(bool(answer))
        if score > best:
            best, threshold = score, gaps[row["id"]]
    return round(100 * best / len(rows), 3), round(threshold, 4)


SCORERS: dict[str, tuple[Callable[[list[dict], dict[str, str]], dict], str]] = {
    "squad2": (squad2_score, "f1"),
    "cmrc": (cmrc_score, "average"),
}
