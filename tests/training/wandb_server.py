"""A W&B server for tests: enough of its API for a run, and ways to be unreachable."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Mode = Literal["healthy", "dies", "errors", "silent", "nonsense"]
USER = {"id": "VTox", "entity": "team", "username": "user", "flags": "{}"}
BUCKET = {
    "id": "UnVuOjE=",
    "displayName": "run",
    "sweepName": None,
    "historyLineCount": 0,
    "project": {"id": "UDox", "name": "project", "entity": {"id": "RTox", "name": "team"}},
}


class Server(ThreadingHTTPServer):
    """Serve on a port of this host, in threads. `history` collects the rows of uploaded steps.

    Args:
        mode: healthy; dies: no longer reachable once a run has started; errors: status 500 to
            everything; silent: accepts connections and never answers; nonsense: answers without
            the content that wandb's own process expects, which crashes.
    """

    daemon_threads = True

    def __init__(self, port: int, mode: Mode) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.mode = mode
        self.history: list[dict] = []
        self.exit_code: int | None = None
        self.url = f"http://127.0.0.1:{port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()

    def environment(self) -> dict[str, str]:
        """Environment variables for a run that logs to this server."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": "a" * 40}


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        server = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if server.mode == "silent":
            time.sleep(600)
        elif server.mode == "errors":
            self.answer({"error": "out of order"}, 500)
        elif self.path == "/graphql":
            request = json.loads(body)
            data = _data(request["query"], request.get("variables") or {}, server.history)
            if server.mode == "nonsense" and "createRunFiles" in data:
                data = {"createRunFiles": None}
            self.answer({"data": data})
            if server.mode == "dies" and "upsertBucket" in request["query"]:
                threading.Thread(target=server.stop, daemon=True).start()
        elif self.path.endswith("/file_stream"):
            self.receive_rows(json.loads(body))
            self.answer({"limits": {}})
        else:
            self.answer({})

    do_GET = do_PUT = do_POST

    def receive_rows(self, content: dict) -> None:
        uploaded = content.get("files", {}).get("wandb-history.jsonl", {"content": []})
        for number, line in enumerate(uploaded["content"], uploaded.get("offset", 0)):
            self.server.history[number : number + 1] = [json.loads(line)]
        if content.get("complete"):
            self.server.exit_code = content["exitcode"]

    def answer(self, content: dict, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args) -> None:
        pass


def _data(query: str, variables: dict, history: list[dict]) -> dict:
    """The answer to a GraphQL query; null for what a run does not need."""
    if "RunResumeStatus" in query and history:
        return {
            "model": {"id": "UDox", "name": "project", "bucket": _resumable(variables, history)}
        }
    if "upsertBucket" in query:
        bucket = BUCKET | {"name": variables["name"]}
        return {"upsertBucket": {"bucket": bucket, "inserted": True}}
    if "createRunFiles" in query:
        names = [str(name) for name in variables.get("files", [])]
        files = [{"name": name, "uploadUrl": "/upload"} for name in names]
        return {"createRunFiles": {"runID": "UnVuOjE=", "uploadHeaders": [], "files": files}}
    if "viewer" in query:
        return {"viewer": USER, "serverInfo": None}
    return {"model": None, "serverInfo": None}


def _resumable(variables: dict, history: list[dict]) -> dict:
    """The state of a run that has `history`, for its next session."""
    return BUCKET | {
        "name": variables["name"],
        "summaryMetrics": json.dumps(history[-1]),
        "logLineCount": 0,
        "historyLineCount": len(history),
        "eventsLineCount": 0,
        "historyTail": json.dumps([json.dumps(history[-1])]),
        "eventsTail": "[]",
        "config": "{}",
        "tags": [],
        "notes": None,
        "wandbConfig": "{}",
    }
