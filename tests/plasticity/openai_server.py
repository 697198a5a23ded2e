"""A small OpenAI-compatible server on a real socket, which can misbehave. Its responses depend on prompt and seed only."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(kw_only=True)
class Behaviour:
    """What the server does; `asked` collects the requests."""

    honours_n: bool = True
    refuses_n: bool = False
    knows: frozenset[str] | None = None  # other fields are refused with status 422 and `refusal`
    refusal: str = "Unexpected fields in the request: {fields}"
    fails: int = 0  # so many requests first get `status`
    status: int = 503
    hangs: bool = False
    garbage: bytes | None = None
    identical: str | None = None
    extra_prompt_tokens: int = 0
    drops: int = 0  # so many requests first get a closed connection
    pause: float = 0.0
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def answer(behaviour: Behaviour, body: dict[str, Any]) -> dict[str, Any]:
    """The completion of a request."""
    texts = []
    for i in range(body["n"] if behaviour.honours_n else 1):
        digest = hashlib.sha256(f"{body['prompt']} {body['seed']} {i}".encode()).hexdigest()
        texts.append(behaviour.identical or digest)
    choices = [{"index": i, "text": text, "finish_reason": "length"} for i, text in enumerate(texts)]
    usage = {
        "prompt_tokens": len(body["prompt"].split()) + behaviour.extra_prompt_tokens,
        "completion_tokens": 7 * len(texts),
    }
    return {"object": "text_completion", "choices": choices, "usage": usage}


def handler(behaviour: Behaviour) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
            pass

        def reply(self, status: int, data: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with behaviour.lock:
                behaviour.asked.append(body)
                behaviour.headers.append(dict(self.headers))
                behaviour.at_once += 1
                behaviour.most_at_once = max(behaviour.most_at_once, behaviour.at_once)
                drop, fail = behaviour.drops > 0, behaviour.fails > 0
                behaviour.drops -= drop
                behaviour.fails -= fail and not drop
            try:
                time.sleep(30 if behaviour.hangs else behaviour.pause)
                if drop:
                    return
                if fail:
                    self.reply(behaviour.status, b'{"error": "overloaded"}')
                elif behaviour.refuses_n and body["n"] > 1:
                    self.reply(400, b'{"error": "only n=1 is served"}')
                elif behaviour.knows is not None and (unknown := sorted(set(body) - behaviour.knows)):
                    self.reply(422, json.dumps({"detail": behaviour.refusal.format(fields=unknown)}).encode())
                elif self.path != "/v1/completions":
                    self.reply(404, b"no such path")
                else:
                    self.reply(200, behaviour.garbage or json.dumps(answer(behaviour, body)).encode())
            except OSError:  # the client left
                pass
            finally:
                with behaviour.lock:
                    behaviour.at_once -= 1

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[str]:
    """The address of a server that runs for the length of the block."""
    server = _Server(("127.0.0.1", 0), handler(behaviour))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
