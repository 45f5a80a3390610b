"""CIFAR-10: the official batches, their download, and image folders of the same images."""

import hashlib
import os
import pickle
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_cases import start_prepare, wait_until
from torchvision.datasets import CIFAR10

from clr.config import DatasetConfig
from clr.data import find_prepared, prepare
from clr.data.sources import open_source
from clr.errors import UserError

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
TRAIN = [f"data_batch_{i}" for i in range(1, 6)]


def cifar_config(path: Path) -> DatasetConfig:
    return DatasetConfig(name="cifar10", source="cifar10", path=str(path))


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_batches(root: Path, each: int = 10) -> dict[str, Any]:
    """Write small batches in CIFAR-10's format; return torchvision's constants for them."""
    rng = np.random.default_rng(0)
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in [*TRAIN, "test_batch"]:
        pixels = rng.integers(0, 256, (each, 3072), dtype=np.uint8)
        content = {"data": pixels, "labels": list(range(10))[:each]}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": CLASSES}))
    return {
        "train_list": [[name, md5(folder / name)] for name in TRAIN],
        "test_list": [["test_batch", md5(folder / "test_batch")]],
        "meta": {**CIFAR10.meta, "md5": md5(folder / "batches.meta")},
    }


def use(constants: dict[str, Any], monkeypatch) -> None:
    """Let torchvision accept the small batches in place of the real ones."""
    for name, value in constants.items():
        monkeypatch.setattr(CIFAR10, name, value)


def test_official_batches_are_read_in_order(tmp_path, monkeypatch):
    use(write_batches(tmp_path), monkeypatch)
    source = open_source(cifar_config(tmp_path))
    assert (source.label, source.classes) == ("CIFAR-10", CLASSES)
    train = source.split("train")
    assert (len(train), len(source.split("test"))) == (50, 10)
    second = pickle.loads((tmp_path / "cifar-10-batches-py" / "data_batch_2").read_bytes())
    assert (train[13].transpose(2, 0, 1).reshape(-1) == second["data"][3]).all()
    assert train.labels[13] == second["labels"][3]


def test_batches_with_wrong_checksums_are_refused(tmp_path):
    write_batches(tmp_path)  # well-formed, but not the real ones
    with pytest.raises(UserError, match="cifar-10-batches-py is incomplete or damaged") as caught:
        open_source(cifar_config(tmp_path)).split("train")
    assert "if no other program is still unpacking it, delete it" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_label_says_whether_the_images_are_the_originals(data_folder):
    assert open_source(cifar_config(data_folder)).label == "CIFAR-10 (image folder)"
    for path in data_folder.glob("*/*/*.png"):
        path.rename(path.with_suffix(".JPEG"))
    source = open_source(cifar_config(data_folder))
    assert source.label == "CIFAR-10 (JPEG copy)"
    source.dataset.train_samples = 5000
    assert source.label == "CIFAR-10 (JPEG copy), 5,000 images"


# The download, from a server on this machine


@dataclass
class Server:
    """A server of one archive. `gate` holds back the second half of each response."""

    content: bytes
    gate: threading.Event = field(default_factory=threading.Event)
    downloads: int = 0

    def respond(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(self.content)))
        handler.end_headers()
        # torchvision looks for redirections first, by a GET with this header.
        if handler.headers.get("Method") != "HEAD":
            self.downloads += 1
            half = len(self.content) // 2
            handler.wfile.write(self.content[:half])
            handler.wfile.flush()
            self.gate.wait(60)
            handler.wfile.write(self.content[half:])


@contextmanager
def serving(server: Server) -> Iterator[str]:
    """Run the server; yields the URL of the archive."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.respond(self)

        def log_message(self, *args) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.handle_error = lambda *args: None  # a client that was killed
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}/cifar.tar.gz"
        finally:
            server.gate.set()
            http.shutdown()
            thread.join()


@pytest.fixture
def archive(tmp_path) -> tuple[bytes, dict[str, Any]]:
    """A small archive in the layout of the real one, and torchvision's constants for it."""
    constants = write_batches(tmp_path / "origin")
    path = tmp_path / "origin" / "cifar.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(tmp_path / "origin" / "cifar-10-batches-py", "cifar-10-batches-py")
    return path.read_bytes(), {**constants, "tgz_md5": md5(path)}


def test_two_processes_download_once(tmp_path, archive, monkeypatch):
    content, constants = archive
    server = Server(content)
    path, outputs = tmp_path / "cifar10", [tmp_path / "output0", tmp_path / "output1"]
    with serving(server) as url:
        use({**constants, "url": url}, monkeypatch)
        first = start_prepare(cifar_config(path), tmp_path / "data", outputs[0])
        wait_until(lambda: server.downloads == 1, first)
        second = start_prepare(cifar_config(path), tmp_path / "data", outputs[1])
        waiting = "CIFAR-10: another process is downloading it; waiting"
        wait_until(lambda: outputs[1].exists() and waiting in outputs[1].read_text(), second)
        assert not open_source(cifar_config(path)).is_available()
        server.gate.set()
        for process in (first, second):
            process.join(60)
    texts = [output.read_text() for output in outputs]
    assert [first.exitcode, second.exitcode] == [0, 0], texts
    assert server.downloads == 1
    fingerprints = {text.splitlines()[-1] for text in texts}
    assert fingerprints == {
        prepare(cifar_config(path), str(tmp_path / "data"), "torch").fingerprint
    }
    names = [".download.lock", "cifar-10-batches-py", "cifar-10-python.tar.gz"]
    assert sorted(os.listdir(path)) == names


def test_killed_download_is_repeated(tmp_path, archive, monkeypatch):
    content, constants = archive
    server = Server(content)
    path = tmp_path / "cifar10"
    with serving(server) as url:
        use({**constants, "url": url}, monkeypatch)
        process = start_prepare(cifar_config(path), tmp_path / "data", tmp_path / "output")
        wait_until(lambda: (path / "cifar-10-python.tar.gz").exists(), process)
        process.kill()
        process.join()
        assert not open_source(cifar_config(path)).is_available()
        server.gate.set()
        open_source(cifar_config(path)).fetch()
    assert server.downloads == 2
    assert len(open_source(cifar_config(path)).split("train")) == 50


def test_killed_unpacking_is_repeated_from_the_archive(tmp_path, archive, monkeypatch):
    content, constants = archive
    use({**constants, "url": "http://127.0.0.1:9/nothing listens here"}, monkeypatch)
    path = tmp_path / "cifar10"
    partial = path / ".download.partial" / "cifar-10-batches-py"
    partial.mkdir(parents=True)
    (partial / "data_batch_1").write_bytes(b"half")
    (path / "cifar-10-python.tar.gz").write_bytes(content)
    source = open_source(cifar_config(path))
    assert not source.is_available()
    source.fetch()
    assert len(source.split("train")) == 50
    assert not partial.parent.exists()


@pytest.mark.parametrize("wrong", ["tgz_md5", "test_list"])
def test_download_with_a_wrong_checksum_is_refused(tmp_path, archive, monkeypatch, wrong):
    content, constants = archive
    server = Server(content)
    server.gate.set()
    path = tmp_path / "cifar10"
    with serving(server) as url:
        use({**constants, "url": url, wrong: getattr(CIFAR10, wrong)}, monkeypatch)
        with pytest.raises(UserError, match="downloading it failed"):
            prepare(cifar_config(path), str(tmp_path / "data"), "torch")
    assert not (path / "cifar-10-batches-py").exists()


def test_failed_download_says_where_to_put_the_data(tmp_path, monkeypatch):
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(UserError, match="put cifar-10-batches-py") as caught:
        prepare(cifar_config(tmp_path / "cifar10"), str(tmp_path / "data"), "torch")
    assert str(tmp_path / "cifar10") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_find_prepared_does_not_download(tmp_path):
    path, data_dir = tmp_path / "cifar10", tmp_path / "data"
    assert find_prepared(cifar_config(path), str(data_dir), "torch") is None
    assert os.listdir(tmp_path) == []
