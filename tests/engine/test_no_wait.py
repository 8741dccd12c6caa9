"""On a GPU nothing inside a step, nor what is read of an answer, waits for the device.

The way of GPUs is taken here on a CPU, where operations that would have to know a value are told by their names.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import tiny_models as tiny
import torch
import transformers
from test_train import Listed
from torch.utils._python_dispatch import TorchDispatchMode

from hfkit.engine.collate import collate
from hfkit.engine.forward import forward
from hfkit.engine.optimize import Schedule, build_optimizer
from hfkit.engine.packing import packed
from hfkit.engine.processes.place import take_place
from hfkit.engine.train import Training
from hfkit.tasks import task_class

# Their results, or the shapes of them, depend on values: the process waits until those are computed.
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "aten.equal")
FAMILIES = ("bert", "distilbert", "modernbert", "gpt2", "deberta-v2")


class Waits(TorchDispatchMode):
    """Counts operations that wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self.seen = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = str(function), kwargs or {}
        chosen = args[1] if name.startswith(("aten.index.", "aten.index_put")) else ()
        by_mask = any(index is not None and index.dtype == torch.bool for index in chosen)
        open_ended = "repeat_interleave.Tensor" in name and kwargs.get("output_size") is None
        self.found[name] += by_mask or open_ended or any(word in name for word in WAITING)
        self.seen += 1
        return function(*args, **kwargs)


def qa_features() -> tuple[Any, list[dict[str, Any]]]:
    kind = task_class("qa")
    made = []
    for number in range(16):
        count = 6 + number
        own = {"char_start": list(range(count)), "char_end": list(range(1, count + 1)), "null_index": 0}
        span = {"context": [0] + [1] * (count - 1), "start_position": 1, "end_position": 2 + number % 3}
        made.append({"row": number, "input_ids": list(range(5, 5 + count)), **own, **span})
    return kind(kind.Settings(max_answer_length=5)), made


def label_features() -> tuple[Any, list[dict[str, Any]]]:
    kind = task_class("classify")
    made = [{"row": n, "input_ids": list(range(5, 11 + n)), "label": n % 2} for n in range(16)]
    return kind(kind.Settings(target="single", labels=["a", "b"], max_length=32)), made


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("make", [qa_features, label_features])
def test_nothing_waits_for_the_device(family: str, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)  # attention as on a GPU
    task, features = make()
    kind = "QuestionAnswering" if task.head == "question-answering" else "SequenceClassification"
    model = getattr(transformers, f"AutoModelFor{kind}").from_config(tiny.config(family, 200, 0))
    place = take_place(cpu=True, precision="float32")
    lean = packed(model, place, compiled=True)  # layers as on a GPU
    training = Training(
        lean, build_optimizer(model, 1e-3, 0.01), task, Listed(features), schedule=Schedule(1e-3, 9, 0, "constant"),
        batch_size=8, micro_batch_size=4, max_grad_norm=1.0, seed=1, place=place, pad_id=0, alone=True,
    )  # fmt: skip
    training.advance(0)  # what is looked up once
    for name in ("cpu", "numpy", "tolist"):  # which on a CPU are no operations
        monkeypatch.setattr(torch.Tensor, name, lambda *_: pytest.fail("a value is waited for"))
    with Waits() as step:
        training.advance(1)
    lean.eval()
    batch = collate(features, 0)
    with torch.inference_mode(), Waits() as reading:
        task.read(forward(lean, batch), batch)
    for waits in (step, reading):
        assert waits.seen > 20 and not +waits.found, +waits.found


def test_what_waits_is_seen() -> None:
    values = torch.arange(4.0)
    with Waits() as waits:
        values[values > 1].sum().item()
        values.nonzero()
    assert len(+waits.found) == 3
