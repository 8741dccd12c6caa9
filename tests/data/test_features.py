"""The caches on disk: features by content, rows of big files, one writer among many, nothing left half-written."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hfkit.data import Rows, cache_folder, encoded, load, loading
from hfkit.data.arrow import SpooledRows
from hfkit.data.cache import entry
from hfkit.errors import ResourceError
from hfkit.recipe.keys import Data
from hfkit.recipe.section import Section, key
from hfkit.tasks.base import Column, Feature

TEXT = (Column("id", False), Column("text", True), Column("label", False, gold=True))


class Settings(Section):
    width: int = key(3, "characters a window")


class Windows:
    """A task as the cache sees it: windows of characters, counted."""

    name = "windows"
    blocks = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.calls = 0

    def encode(self, rows: Iterable[Any], tokenizer: Any) -> Iterator[Feature]:
        self.calls += 1
        for number, row in enumerate(rows):
            for start in range(0, max(1, len(row["text"])), self.settings.width):
                ids = [ord(char) for char in row["text"][start : start + self.settings.width]]
                yield {"row": number, "input_ids": ids, "token_type_ids": [0] * len(ids), "start": start, "weight": 0.5}


class Letters:
    """A tokenizer as the cache sees it: a vocabulary."""

    def __init__(self, **vocabulary: int) -> None:
        self.vocabulary = vocabulary

    def get_vocab(self) -> dict[str, int]:
        return self.vocabulary


class Unsure(Windows):
    """A task with features that lack a value."""

    name = "unsure"

    def __init__(self, **lacking: Any) -> None:
        super().__init__(Settings())
        self.lacking = lacking

    def encode(self, rows: Iterable[Any], tokenizer: Any) -> Iterator[Feature]:
        first, *rest = super().encode(rows, tokenizer)
        yield from (first, *({**feature, **self.lacking} for feature in rest))


def data(*texts: str) -> Rows:
    return load([{"text": text, "label": 0} for text in texts], columns=TEXT, settings=Data(), need_gold=True)


@pytest.mark.parametrize("lacking", [{"start": None}, {"input_ids": [1, None]}])
def test_features_without_a_value_are_refused(lacking: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"'{next(iter(lacking))}' holds None"):
        encoded(data("abcde"), Unsure(**lacking), Letters(a=1))


def test_features_come_back_as_encoded() -> None:
    task = Windows(Settings())
    progress: list[tuple[int, int]] = []
    found = encoded(data("abcde", "", "xyz"), task, Letters(a=1), on_progress=lambda *at: progress.append(at))
    assert len(found) == 4
    assert found.rows.tolist() == [0, 0, 1, 2]
    assert found.lengths.tolist() == [3, 2, 0, 3]
    assert (found.rows.dtype, found.lengths.dtype) == (np.int64, np.int32)
    last, first = found.take([3, 0])
    assert first["input_ids"].tolist() == [97, 98, 99]
    assert last["input_ids"].tolist() == [120, 121, 122]
    assert (last["row"], last["start"], last["weight"]) == (2, 0, 0.5)
    assert last["token_type_ids"].tolist() == [0, 0, 0]
    assert progress == [(3, 3)]
    with pytest.raises(IndexError):
        found.take([4])


def test_lists_that_are_empty_in_a_whole_batch() -> None:
    """They have no place in the file: rows that are predicted have no targets."""

    class Silent(Windows):
        def encode(self, rows: Iterable[Any], tokenizer: Any) -> Iterator[Feature]:
            yield from ({**feature, "target_ids": []} for feature in super().encode(rows, tokenizer))

    found = encoded(data(*["abc"] * 1200), Silent(Settings()), Letters())
    first, last = found.take([5, 1100])
    assert first["target_ids"].tolist() == last["target_ids"].tolist() == []
    assert last["input_ids"].tolist() == [97, 98, 99] and last["row"] == 1100


def test_a_file_that_is_shorter_than_it_was() -> None:
    mapped = encoded(data("abcde"), Windows(Settings()), Letters())._mapped
    size = mapped.path.stat().st_size
    assert len(mapped._read(size - 4, 4)) == 4 and mapped._read(-1, 0) == b""
    with pytest.raises(ResourceError, match="shorter than it was"):
        mapped._read(size - 4, 8)


def test_many_batches() -> None:
    rows = data(*(f"text {i}" for i in range(2500)))
    found = encoded(rows, Windows(Settings(width=50)), Letters())
    assert found.rows.tolist() == list(range(2500))
    assert "".join(map(chr, found.take([2499])[0]["input_ids"])) == "text 2499"


def test_encoded_once_for_equal_content_and_anew_for_any_change() -> None:
    task = Windows(Settings())
    one = encoded(data("abc"), task, Letters(a=1))
    assert encoded(data("abc"), task, Letters(a=1)).fingerprint == one.fingerprint
    assert task.calls == 1
    others = [
        encoded(data("abd"), task, Letters(a=1)),
        encoded(data("abc"), task, Letters(a=2)),
        encoded(data("abc"), Windows(Settings(width=2)), Letters(a=1)),
    ]
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == 4
    assert task.calls == 3


def test_a_real_tokenizer_is_known_by_its_content_not_its_passing_state() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from hfkit.data.features import tokenizer_digest

    def make(extra: str) -> PreTrainedTokenizerFast:
        backend = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, extra: 2}, unk_token="[UNK]"))
        backend.pre_tokenizer = pre_tokenizers.Whitespace()
        return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", pad_token="[UNK]")

    tokenizer = make("b")
    before = tokenizer_digest(tokenizer)
    tokenizer(["a b a"], truncation=True, max_length=2, padding="max_length")
    assert tokenizer_digest(tokenizer) == before == tokenizer_digest(make("b"))
    assert tokenizer_digest(make("c")) != before


def test_a_failed_build_leaves_nothing_and_the_next_one_works() -> None:
    class Failing(Windows):
        def encode(self, rows: Iterable[Any], tokenizer: Any) -> Iterator[Feature]:
            yield next(super().encode(rows, tokenizer))
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        encoded(data("abc"), Failing(Settings()), Letters())
    folder = cache_folder() / "features"
    assert [path for path in folder.iterdir() if path.is_dir()] == []
    assert len(encoded(data("abc"), Windows(Settings()), Letters())) == 1


def test_what_a_killed_run_left_is_removed() -> None:
    left = cache_folder() / "kind" / ".tmp-abc-12345678"
    left.mkdir(parents=True)
    (left / "half").write_text("x", encoding="utf-8")
    assert entry("kind", "abc", lambda folder: None).is_dir()
    assert not left.exists()


def test_only_one_of_several_processes_builds(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from hfkit.data.cache import entry
        def build(folder):
            with open(sys.argv[1], "a", encoding="utf-8") as log:
                log.write("built\\n")
            time.sleep(0.5)
            (folder / "value").write_text("42", encoding="utf-8")
        print((entry("kind", "key", build) / "value").read_text(encoding="utf-8"))
        """
    )
    log = tmp_path / "log"
    command = [sys.executable, "-c", script, str(log)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=60)[0].strip() for process in running] == ["42"] * 3
    assert log.read_text(encoding="utf-8") == "built\n"


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("HFKIT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ResourceError) as caught:
        encoded(data("abc"), Windows(Settings()), Letters())
    assert "HFKIT_CACHE" in str(caught.value.hint)


def test_rows_kept_on_disk_equal_rows_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    lines = [{"text": f"t{i} “é”", "label": i if i % 2 else str(i), "extra": {"deep": [i, None]}} for i in range(2500)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + "oops\n", encoding="utf-8")
    settings = Data(on_bad_row="skip")
    small = load(str(path), columns=TEXT, settings=settings, need_gold=True)
    monkeypatch.setattr(loading, "SPOOL_BYTES", 0)
    for _ in range(2):  # the second time from the cache
        big = load(str(path), columns=TEXT, settings=settings, need_gold=True)
        assert list(big) == list(small)
        assert [big[i] for i in (0, 999, 1000, 2499, -1)] == [small[i] for i in (0, 999, 1000, 2499, -1)]
        chosen = [2, 1, 999, 1000, 2400, 0]
        assert list(big.subset(chosen)) == list(small.subset(chosen))
        assert (big.fingerprint, big.mapping, big.skipped) == (small.fingerprint, small.mapping, 1)
        assert big.notes == small.notes
        monkeypatch.setattr(loading, "read", None)


def test_many_short_rows_are_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above a number of rows, however few their bytes; what was noted while they were read is the same."""
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f'{{"text": "t{i}"}}\n' for i in range(30)) + "oops\n", encoding="utf-8")
    settings = Data(on_bad_row="skip")
    small = load(str(path), columns=TEXT, settings=settings, need_gold=False)
    for most, kind in ((30, list), (29, SpooledRows), (29, SpooledRows), (1, SpooledRows)):
        monkeypatch.setattr(loading, "SPOOL_ROWS", most)
        rows = load(str(path), columns=TEXT, settings=settings, need_gold=False)
        assert type(rows._store) is kind and list(rows) == list(small)
        assert (rows.fingerprint, rows.skipped, rows.notes) == (small.fingerprint, 1, small.notes)


MEMORY = """
import json, sys
from hfkit.data import load
from hfkit.data.validators import duplicate_ids, text_column
from hfkit.data.split import share
from hfkit.recipe.keys import Data
from hfkit.tasks.base import Column
import hfkit.data.arrow
columns = (Column("id", False), Column("text", True), Column("label", False, gold=True))
def peak():
    # not getrusage, which begins with what the process that started this one held
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM:"))
before = peak()
rows = load(sys.argv[1], columns=columns, settings=Data(), need_gold=True)
train, held, _ = share(rows, Data(), None, columns=columns)
assert not list(text_column(train, "text", empty="failure")) and not list(duplicate_ids(rows, "failure"))
print(json.dumps([len(rows), len(held), peak() - before]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is measured as Linux counts it")
def test_memory_stays_flat_in_rows(tmp_path: Path) -> None:
    grown = []
    for rows in (40_000, 200_000):
        path = tmp_path / f"{rows}.jsonl"
        with path.open("w", encoding="utf-8") as handle:
            for n in range(rows):
                handle.write(json.dumps({"id": n, "text": f"text {n} " + "x" * 80, "label": n % 3}) + "\n")
        assert path.stat().st_size > loading.SPOOL_BYTES
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, str(path)], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        count, held, most = json.loads(done.stdout)
        assert (count, held) == (rows, rows // 10)
        grown.append(most)
    assert grown[1] - grown[0] < 30  # MiB; as a list of dicts 160,000 rows take 80
