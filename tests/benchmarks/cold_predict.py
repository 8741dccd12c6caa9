"""`hfkit predict last question=... context=...` against a bare script that imports, loads and answers, both cold.

    python tests/benchmarks/cold_predict.py [--rounds 9]

One JSON line. The ratio of the medians is to be at most 1.2. Takes about 3 minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from interleaved import ROUNDS, in_turn, summary

QUESTION = "Who wrote the first program?"
CONTEXT = "The first program was written by Ada Lovelace in London in the autumn of 1843, long before a machine ran it."

BARE = """
import sys
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

path, question, context = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(path)
model = AutoModelForQuestionAnswering.from_pretrained(path).eval()
inputs = tokenizer(question, context, truncation="only_second", max_length=384, return_tensors="pt")
with torch.inference_mode():
    outputs = model(**inputs)
start, end = int(outputs.start_logits.argmax()), int(outputs.end_logits.argmax())
print(tokenizer.decode(inputs["input_ids"][0, start : end + 1]))
"""

MAKE = """
import sys
from pathlib import Path
import torch
from hfkit.models import find, load_model, load_tokenizer, save_model
from hfkit.tasks import task_class

torch.manual_seed(0)
found = find("starter")
model, _ = load_model(found, "question-answering", model_config={}, fresh_head="allow")
settings = task_class("qa").Settings(max_answer_length=30, scorer="squad").model_dump(mode="json")
save_model(model, load_tokenizer(found, "question-answering"), Path(sys.argv[1]), {"task": "qa", "settings": settings})
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as scratch:
        runs = Path(scratch) / "runs"
        model = runs / "qa" / "model"
        subprocess.run([sys.executable, "-c", MAKE, str(model)], check=True, capture_output=True)
        environment = {**os.environ, "HFKIT_RUNS": str(runs), "HF_HUB_OFFLINE": "1"}
        command = Path(sys.executable).with_name("hfkit")
        ours = [str(command), "predict", "last", f"question={QUESTION}", f"context={CONTEXT}"]
        bare = [sys.executable, "-c", BARE, str(model), QUESTION, CONTEXT]
        found = in_turn({"hfkit": ours, "bare": bare}, rounds=rounds, environment=environment)
    print(json.dumps({"benchmark": "cold_predict", **summary(found), "limit": 1.2}))


if __name__ == "__main__":
    main()
