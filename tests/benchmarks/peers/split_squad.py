"""Splits a SQuAD-style file by article: every fifth title, in sorted order, is validation and the rest is training.

  python tests/benchmarks/peers/split_squad.py ../shared/data/squad2/dev-half.json FOLDER

Writes FOLDER/train.json and FOLDER/validation.json, so that every program is given the same files.
"""

import json
import sys
from pathlib import Path


def main(source: str, folder: str) -> None:
    whole = json.loads(Path(source).read_text(encoding="utf-8"))
    articles = sorted(whole["data"], key=lambda article: article["title"])
    parts = {
        "train": [article for i, article in enumerate(articles) if i % 5 != 4],
        "validation": articles[4::5],
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, data in parts.items():
        text = json.dumps({**whole, "data": data}, ensure_ascii=False)
        (Path(folder) / f"{name}.json").write_text(text, encoding="utf-8")
        questions = sum(len(p["qas"]) for article in data for p in article["paragraphs"])
        print(name, questions, "questions:", ", ".join(article["title"] for article in data))


if __name__ == "__main__":
    main(*sys.argv[1:])
