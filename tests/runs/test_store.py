"""The store: completed runs, damaged records, and locks of processes that died."""

import json
import math

import pytest
from small_runs import small_identity, train_small

from clr.config import load
from clr.errors import UserError
from clr.runs.record import decode_record, encode_record
from clr.runs.store import Store, has_measurements


def record(name="run", every=None, **summary):
    config = {"diagnostics": {"every": every}, "optimizer": {"name": "clr", "max_lr": math.inf}}
    return {
        "run_id": name,
        "status": "finished",
        "config": config,
        "data": {},
        "summary": summary,
        "device": "cpu",
        "provenance": {},
    }


@pytest.fixture
def store(tmp_path):
    (tmp_path / "runs" / "run").mkdir(parents=True)
    return Store(tmp_path / "runs")


def config(every):
    return load([f"diagnostics.every={'null' if every is None else every}"])


@pytest.mark.parametrize(
    ("recorded", "requested", "enough"),
    [
        (None, None, True),
        (6, None, True),
        (6, 6, True),
        (6, 12, True),
        (None, 6, False),
        (6, 3, False),
        (6, 9, False),
    ],
)
def test_a_run_is_completed_if_it_has_the_measurements(store, recorded, requested, enough):
    assert has_measurements(recorded, requested) == enough
    store.finish("run", record(every=recorded))
    assert (store.completed("run", config(requested)) is not None) == enough
    assert store.finished("run") is not None


DAMAGED = {
    "empty": "",
    "truncated": json.dumps(record())[:40],
    "not an object": "[]",
    "without keys": "{}",
    "config is not an object": json.dumps({**record(), "config": None}),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_record_is_reported_once_and_counts_as_not_completed(store, content, capfd):
    (store.root / "good").mkdir()
    store.finish("good", record("good"))
    path = store.folder("run") / "run.json"
    path.write_text(content)
    assert store.finished("run") is None
    assert store.completed("run", config(None)) is None
    assert [run["run_id"] for run in store.all_finished()] == ["good"]
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"warning: {path} is damaged (")
    assert line.endswith("it counts as not completed")


def test_bytes_that_are_not_text_are_damage(store):
    (store.folder("run") / "run.json").write_bytes(b"\xff\x00")
    assert store.finished("run") is None


@pytest.mark.slow
def test_a_run_with_a_damaged_record_is_trained_again(tmp_path):
    store, name = train_small(tmp_path)
    before = store.finished(name)["summary"]["final_train_loss"]
    (store.folder(name) / "run.json").write_text("")
    train_small(tmp_path)
    assert store.finished(name)["summary"]["final_train_loss"] == before


def test_records_are_strict_json_and_are_read_back(store):
    original = record(loss=math.nan, steps=3)
    store.finish("run", original)
    text = (store.folder("run") / "run.json").read_text()
    strict = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert strict["summary"] == {"loss": None, "steps": 3}
    decoded = store.finished("run")
    assert math.isnan(decoded["summary"]["loss"])
    assert decoded["config"] == original["config"]


def test_records_with_pythons_nan_are_read():
    decoded = decode_record(json.dumps(record(loss=math.nan, steps=3)))
    assert math.isnan(decoded["summary"]["loss"])
    assert decoded["config"]["optimizer"]["max_lr"] == math.inf
    assert decode_record(encode_record(decoded))["config"] == decoded["config"]


def test_a_diverged_run_has_strict_records(tmp_path):
    store, name = train_small(tmp_path, "optimizer=sgd", "optimizer.lr=1e30", "epochs=9")
    text = (store.folder(name) / "run.json").read_text()
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    run = store.finished(name)
    assert run["status"] == "diverged"
    assert math.isnan(run["summary"]["final_train_loss"])


@pytest.mark.parametrize("below", ["", "below"])
def test_a_store_that_is_a_file_is_named(tmp_path, below):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="/file is a file; the store must be a folder"):
        Store(tmp_path / "file" / below).finished("run")


@pytest.mark.parametrize("content", ["", "[1]", "epochs: many", "store: [", "model: {name: vgg}"])
def test_a_damaged_config_is_one_line(store, content):
    (store.folder("run") / "config.yaml").write_text(content)
    with pytest.raises(UserError, match=r"config\.yaml is damaged .*; delete the folder") as error:
        store.stored_config("run")
    assert "\n" not in str(error.value)


def test_a_changed_config_is_refused(tmp_path):
    cfg, info, store, name = small_identity(tmp_path)
    path = store.begin(name, cfg, info.fingerprint) / "config.yaml"
    path.write_text(path.read_text().replace("epochs: 1", "epochs: 2"))
    with pytest.raises(UserError, match=r"epochs was 2, is 1.*; delete the folder"):
        store.begin(name, cfg, info.fingerprint)


def test_another_spelling_of_the_config_resumes_the_run(tmp_path):
    cfg, info, store, name = small_identity(tmp_path, "optimizer.max_lr=10")
    same, _, _, same_name = small_identity(tmp_path, "optimizer.max_lr=10.0", "optimizer.f_star=0")
    assert same_name == name
    store.begin(name, cfg, info.fingerprint)
    store.begin(name, same, info.fingerprint)
