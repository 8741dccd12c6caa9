"""Data sets on the Hub: whether it answers within seconds, which split is meant, and the errors in the user's words."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hfkit.data.place import SPLITS, HubName
from hfkit.data.records import Record
from hfkit.errors import DataError, NetworkError

PROBE_SECONDS = 4.0
_TRUE = ("1", "true", "yes", "on")


@dataclass(frozen=True, slots=True)
class HubSet:
    """One split of a Hub data set in the Hugging Face cache: its name, fingerprint, size in bytes, and its rows."""

    split: str
    fingerprint: str
    size: int
    data: Any  # datasets.Dataset

    def records(self) -> Iterator[Record]:
        """The rows, numbered from 1; class labels by their names, a class label of -1 (no gold) as None."""
        from hfkit.data import arrow

        return arrow.dataset_records(self.data)


def open_split(name: HubName, *, offline: bool) -> HubSet:
    """One split; without a name in `name.split` the only one, else validation. Raises DataError, NetworkError."""
    from hfkit.data import arrow

    builder = _builder(name, offline=offline)
    splits = arrow.splits_of(builder)
    wanted = name.split
    if wanted is None:
        wanted = splits[0] if len(splits) == 1 else _validation(splits) or splits[0]
    plain = wanted.split("[")[0].split("+")[0]
    if plain == "validation" and plain not in splits:
        wanted = plain = _validation(splits) or plain
    if plain not in splits:
        raise DataError(
            f"{name.repo} has no split '{plain}'", f"its splits are {', '.join(splits)}: {name.repo}:{splits[0]}"
        )
    data = arrow.split_of(builder, wanted)
    return HubSet(wanted, data._fingerprint, int(data.data.nbytes), data)


def validation_split(name: HubName, *, offline: bool) -> str | None:
    """The name of a set's own validation split, None when it has none. Raises DataError, NetworkError."""
    from hfkit.data import arrow

    return _validation(arrow.splits_of(_builder(name, offline=offline)))


def _validation(splits: list[str]) -> str | None:
    known = (*SPLITS["validation"], "validation_matched")
    return next((split for split in known if split in splits), None)


def is_offline(offline: bool) -> bool:
    """Whether the Hub must not be asked: by flag or by Hugging Face's own environment variables."""
    return offline or any(os.environ.get(key, "").lower() in _TRUE for key in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"))


def _builder(name: HubName, *, offline: bool) -> Any:
    """A prepared builder, from the cache when the Hub cannot be asked."""
    forbidden = is_offline(offline)
    silent = forbidden or not reachable()
    from hfkit.data import arrow

    try:
        return arrow.prepared(name.repo, name.config, offline=silent)
    except arrow.NotCachedError as error:
        if forbidden:
            message = f"{name.repo} is not in the cache, and offline mode forbids asking the Hub"
            raise NetworkError(message, "run once without `--offline`, or give local files") from error
        if silent:
            message = f"{name.repo} is not in the cache, and {endpoint()} does not answer"
            raise NetworkError(message, "check the network and HF_ENDPOINT, or give local files") from error
        raise NetworkError(f"{name.repo}: the connection to {endpoint()} broke off: {error}", "try again") from error


def endpoint() -> str:
    """The address of the Hub: HF_ENDPOINT, else huggingface.co."""
    return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"


def reachable() -> bool:
    """Whether the Hub answers anything within PROBE_SECONDS; the thread bounds name resolution too."""
    answered = threading.Event()

    def ask() -> None:
        import urllib.error
        import urllib.request

        request = urllib.request.Request(endpoint(), method="HEAD", headers={"User-Agent": "hfkit"})
        try:
            with urllib.request.urlopen(request, timeout=PROBE_SECONDS):
                answered.set()
        except urllib.error.HTTPError:
            answered.set()
        except (OSError, ValueError):
            pass
        finally:
            done.set()

    done = threading.Event()
    threading.Thread(target=ask, daemon=True).start()
    done.wait(PROBE_SECONDS)
    return answered.is_set()
