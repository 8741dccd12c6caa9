"""FD22: a Hub that is down, answers 503, is silent, stalls within a file, or sends other bytes than it says."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from drills.harness import Drill

COMMIT = "0123456789abcdef0123456789abcdef01234567"
JSON = "application/json"
LIMITS = {"closed": 5, "503": 5, "silent": 15, "stall": 30, "wrong": 30}


@contextmanager
def hub(how: str, files: Path) -> Iterator[str]:
    """A small Hub with one model, owner/tiny; `how` says what is wrong with it. Yields its address."""
    if how == "closed":
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{probe.getsockname()[1]}"
        yield address
        return
    if how == "silent":
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(16)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(how, files))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def handler(how: str, files: Path) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            if how == "503":
                return self.plain(503, b"down", body)
            if "/tree/" in self.path:
                return self.plain(
                    200, json.dumps([entry(path) for path in sorted(files.iterdir())]).encode(), body, JSON
                )
            if "/resolve/" not in self.path:
                siblings = [{"rfilename": path.name} for path in sorted(files.iterdir())]
                model = {
                    "id": "owner/tiny",
                    "modelId": "owner/tiny",
                    "sha": COMMIT,
                    "siblings": siblings,
                    "private": False,
                    "tags": [],
                    "downloads": 0,
                }
                return self.plain(200, json.dumps(model).encode(), body, JSON)
            path = files / self.path.rpartition("/")[2]
            if not path.is_file():
                return self.plain(404, b"", body)
            content = path.read_bytes()
            large = path.suffix == ".safetensors"
            tag = hashlib.sha256(content).hexdigest() if large else hashlib.sha1(content).hexdigest()
            if large and how == "wrong":
                content = content[:-1] + bytes([content[-1] ^ 1])
            self.send_response(200)
            self.send_header("ETag", f'"{tag}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body and large and how == "stall":
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                time.sleep(60)
            elif body:
                self.wfile.write(content)
            return None

        def plain(self, code: int, content: bytes, body: bool, kind: str = "text/plain") -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

    return Handler


def entry(path: Path) -> dict[str, object]:
    """A file as the Hub lists it; weights are large files, named by their sha256."""
    content = path.read_bytes()
    listed: dict[str, object] = {"type": "file", "path": path.name, "size": len(content)}
    if path.suffix == ".safetensors":
        digest = hashlib.sha256(content).hexdigest()
        listed |= {"oid": "0" * 40, "lfs": {"oid": digest, "size": len(content), "pointerSize": 130}}
    else:
        listed["oid"] = hashlib.sha1(content).hexdigest()
    return listed


def unreachable(drill: Drill) -> None:
    """Exit code 7 in time, no half file taken for whole later; the model of a Hub that works is found."""
    command = drill.command(drill.path("run"))
    data = drill.data
    startup = 0.0
    for how in ("well", *LIMITS) if drill.full else ("closed", "503"):
        with hub(how, data / "bert") as address:
            begun = time.monotonic()
            code, said = fetched(address, drill.folder / f"cache-{how}")
            seconds = time.monotonic() - begun
        if how == "well":
            startup = seconds
            drill.note(code == 0, f"{how}: {code} {said}")
            continue
        drill.details.setdefault("seconds_of", {})[how] = round(seconds, 1)
        drill.note(code == 7 and seconds - startup <= LIMITS[how], f"{how}: {code} after {seconds:.1f} s: {said}")
        if how in ("stall", "wrong"):
            with hub("well", data / "bert") as address:
                code, said = fetched(address, drill.folder / f"cache-{how}")
            drill.note(code == 0, f"after {how}: {code} {said}")
    drill.details["startup"] = round(startup, 1)
    _ = command


def fetched(address: str, cache: Path) -> tuple[int, str]:
    """Find owner/tiny in a process of its own, since huggingface_hub reads its environment once."""
    code = (
        "import sys\nfrom hfkit.errors import HfkitError\nfrom hfkit.models import find, load_tokenizer\n"
        "try:\n    found = find('owner/tiny')\n"
        "except HfkitError as error:\n    print(error.message); sys.exit(error.code)\n"
        "print(found.folder)"
    )
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(cache), "HFKIT_CACHE": str(cache / "hfkit")}
    environment.pop("HF_HUB_OFFLINE", None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, encoding="utf-8", timeout=120,
        check=False,
    )  # fmt: skip
    return done.returncode, (done.stdout + done.stderr)[-400:]


DRILLS = {"FD22": unreachable}
