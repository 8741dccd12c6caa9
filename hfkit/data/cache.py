"""The cache folder of hfkit: entries are folders named by content, built once by one process, whole or absent."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from hfkit.errors import ResourceError
from hfkit.files import atomic_folder, cache_folder, cache_unwritable


def entry(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """The folder of the entry `key`; when it is not there, `build` fills it.

    Of several processes that want it at once, one builds and the others wait. A killed build leaves no entry: it is
    made under another name and renamed when complete; the next build removes the rest. Raises ResourceError.
    """
    from filelock import FileLock

    path = cache_folder() / kind / key
    if path.is_dir():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(str(path) + ".lock"):
            if not path.is_dir():
                for left in path.parent.glob(f".tmp-{key}-*"):
                    shutil.rmtree(left, ignore_errors=True)
                with atomic_folder(path) as folder:
                    build(folder)
    except OSError as error:
        raise cache_unwritable(path.parent, error.strerror or str(error)) from error
    except ResourceError as error:
        raise ResourceError(
            error.message, "free some space, or set HFKIT_CACHE to a folder you may write to"
        ) from error
    return path
