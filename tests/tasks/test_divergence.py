"""How far two passes disagree, as R-Drop asks tasks: classes, labels that are there or not, ends of spans."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hfkit.tasks.classify import Classify, ClassifySettings
from hfkit.tasks.nli import NLI
from hfkit.tasks.outputs import class_divergence, half_symmetric
from hfkit.tasks.qa.settings import QASettings
from hfkit.tasks.qa.task import QA

ONE, OTHER = torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([[1.0, 2.0, 0.0]])
KNOWN = 0.420512  # of the softmax of these two


def out(**logits: torch.Tensor) -> Any:
    return SimpleNamespace(**logits)


def test_half_of_both_ways() -> None:
    assert half_symmetric(ONE, OTHER).item() == pytest.approx(KNOWN, abs=1e-6)
    assert half_symmetric(OTHER, ONE).item() == pytest.approx(KNOWN, abs=1e-6)
    assert half_symmetric(ONE, ONE).item() == 0.0
    p, q = ONE.log_softmax(-1), OTHER.log_softmax(-1)
    both = [torch.nn.functional.kl_div(a, b, log_target=True, reduction="sum") for a, b in ((p, q), (q, p))]
    assert half_symmetric(ONE, OTHER).item() == pytest.approx(float(sum(both)) / 2, abs=1e-6)


@pytest.mark.parametrize(
    "task", [Classify(ClassifySettings(target="single", labels=["a", "b", "c"])), NLI(NLI.Settings())]
)
def test_classes_over_rows_with_a_label(task: Any) -> None:
    first, second = out(logits=ONE.repeat(3, 1)), out(logits=torch.cat([OTHER, OTHER, OTHER * 9]))
    batch = {"label": torch.tensor([0, 2, -100])}
    assert task.divergence(first, second, batch).item() == pytest.approx(2 * KNOWN, abs=1e-5)


def test_several_labels_and_numbers() -> None:
    task = Classify(ClassifySettings(target="multi", labels=["a", "b"]))
    logit, other = torch.tensor([[2.0, -1.0], [0.0, 3.0]]), torch.tensor([[0.5, -1.0], [7.0, 7.0]])
    batch = {"labels": torch.tensor([[1.0, 0.0], [float("nan"), float("nan")]])}
    pairs = [torch.stack([x, torch.zeros_like(x)], -1) for x in (logit[0], other[0])]  # a label as two classes
    expected = half_symmetric(*pairs).mean()
    found = task.divergence(out(logits=logit), out(logits=other), batch)  # type: ignore[misc]
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)
    assert Classify(ClassifySettings(target="regression")).divergence is None


def test_spans_leave_padding_out_and_have_gradients() -> None:
    task = QA(QASettings())
    start = torch.tensor([[2.0, 1.0, 0.0, 50.0], [1.0, 1.0, 1.0, 1.0]], requires_grad=True)
    other = torch.tensor([[1.0, 2.0, 0.0, -50.0], [1.0, 5.0, 1.0, 1.0]], requires_grad=True)
    batch = {"attention_mask": torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]), "start_position": torch.tensor([0, -100])}
    first, second = out(start_logits=start, end_logits=start), out(start_logits=other, end_logits=start)
    found = task.divergence(first, second, batch)
    assert found.item() == pytest.approx(KNOWN / 2, abs=1e-6)  # the ends agree
    found.backward()
    assert start.grad is not None and torch.isfinite(start.grad).all() and start.grad[0, :3].any()
    assert not start.grad[0, 3] and not start.grad[1].any()


def test_a_pseudo_labelled_row_diverges_by_its_weight() -> None:
    first, second = (SimpleNamespace(logits=logits.repeat(2, 1)) for logits in (ONE, OTHER))
    soft = torch.tensor([[0.0, 1.0, 0.0], [0.05, 0.03, 0.02]])
    whole = class_divergence(first, second, {"label": torch.tensor([1, 0]), "labels_soft": soft})
    assert whole.item() == pytest.approx(1.1 * KNOWN, abs=1e-6)
