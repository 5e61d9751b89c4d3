"""Inception: its weights are read without running anything, fetched only as published, and see the published things."""

from __future__ import annotations

import collections
import hashlib
import os
import pickle
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ganzoo_core as gz
from ganzoo_scores import fetch, inception, statedict

OLD = {"_use_new_zipfile_serialization": False}


def small():
    """A dictionary of tensors, one of them a parameter, one not contiguous, two in one storage."""
    base = torch.arange(24.0).reshape(4, 6)
    layer = torch.nn.BatchNorm2d(3)
    table = collections.OrderedDict(layer.state_dict())
    table |= {
        "turned": base.t(),
        "part": base[1:3, 2:],
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "one": base[0, 0],
    }
    table["empty"] = torch.zeros(0, 3)
    return table


@pytest.mark.parametrize("how", [{}, OLD], ids=["zip", "stream"])
def test_tensors_are_what_torch_saved(tmp_path, how):
    torch.save(small(), tmp_path / "file.pth", **how)
    found = statedict.read(tmp_path / "file.pth")
    assert set(found) == set(small())
    for name, tensor in small().items():
        np.testing.assert_array_equal(found[name], tensor.detach().numpy())
        assert found[name].dtype == tensor.detach().numpy().dtype


class Attack:
    def __init__(self, function, *given):
        self.function, self.given = function, given

    def __reduce__(self):
        return self.function, self.given


@pytest.mark.parametrize(
    "value",
    [
        {"w": Attack(os.system, "touch attacked")},
        {"w": Attack(eval, "open('attacked', 'w')")},
        {"w": Attack(print, "attacked")},
        Attack(os.mkdir, "attacked"),
        {"w": [torch.zeros(2)]},
        {"w": 3},
        {3: torch.zeros(2)},
        [torch.zeros(2)],
        {},
        torch.zeros(2),
        torch.nn.Linear(2, 2),
        {"w": torch.zeros(2, dtype=torch.float64)},
    ],
)
@pytest.mark.parametrize("how", [{}, OLD], ids=["zip", "stream"])
def test_anything_else_is_refused_and_nothing_is_run(tmp_path, monkeypatch, value, how):
    monkeypatch.chdir(tmp_path)
    torch.save(value, "file.pth", **how)
    with pytest.raises(statedict.NotTensors):
        statedict.read(tmp_path / "file.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["file.pth"]


@pytest.mark.parametrize("protocol", range(6))
def test_a_bare_pickle_is_refused(tmp_path, protocol):
    (tmp_path / "file.pth").write_bytes(pickle.dumps({"w": Attack(os.mkdir, str(tmp_path / "attacked"))}, protocol))
    with pytest.raises(statedict.NotTensors):
        statedict.read(tmp_path / "file.pth")
    assert not (tmp_path / "attacked").exists()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name, how in (("zip", {}), ("stream", OLD)):
        torch.save(small(), folder / name, **how)
    return folder


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["zip", "stream"]), st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=4))
def test_a_damaged_file_gives_tensors_or_one_kind_of_error(files, name, changes):
    content = bytearray((files / name).read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    damaged = files / "damaged"
    damaged.write_bytes(content)
    try:
        found = statedict.read(damaged)
    except statedict.NotTensors:
        return
    assert all(isinstance(array, np.ndarray) for array in found.values())


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["zip", "stream"]), st.integers(0, 4000))
def test_a_file_that_was_cut_is_refused(files, name, length):
    content = (files / name).read_bytes()
    cut = files / "cut"
    cut.write_bytes(content[: length % len(content)])
    with pytest.raises(statedict.NotTensors):
        statedict.read(cut)


def test_a_tensor_may_not_be_larger_than_its_storage(tmp_path):
    torch.save({"w": torch.zeros(1).expand(10**9)}, tmp_path / "file.pth")
    with pytest.raises(statedict.NotTensors, match="beyond its storage"):
        statedict.read(tmp_path / "file.pth")


# The network


@pytest.fixture(scope="module")
def reference():
    """torch-fidelity's network with random weights, and those weights."""
    from torch_fidelity import feature_extractor_inceptionv3 as theirs

    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        patch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(torch.nn.Module, "load_state_dict", lambda *_, **__: None)
        network = theirs.FeatureExtractorInceptionV3("reference", ["2048", "logits_unbiased"])
    return network, {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def test_it_sees_what_torch_fidelity_sees(reference, tmp_path):
    network, tensors = reference
    lean = {name: array for name, array in tensors.items() if not name.endswith("num_batches_tracked")}
    safetensors.numpy.save_file(lean, tmp_path / "inception.safetensors")
    made = inception.extractor("inception", print, {"weights": str(tmp_path / "inception.safetensors")})
    grey = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 1), dtype=np.uint8)
    features, logits = made.extract(grey)
    with torch.no_grad():
        expected = network(torch.from_numpy(grey).permute(0, 3, 1, 2).repeat(1, 3, 1, 1))
    np.testing.assert_array_equal(features, expected[0].numpy())
    np.testing.assert_array_equal(logits, expected[1].numpy())
    assert made.facts["weights"] == inception._digest(tensors)
    assert "299×299" in made.facts["resizer"]


def test_other_weights_are_refused_in_words(tmp_path):
    torch.save(small(), tmp_path / "file.pth")
    with pytest.raises(gz.DataError, match="these are not Inception's weights"):
        inception.extractor("inception", print, {"weights": str(tmp_path / "file.pth")})


@pytest.mark.parametrize("name", ["file.pth", "file.safetensors", "missing.pth", "missing.safetensors"])
def test_a_file_that_is_none_is_refused_in_words(tmp_path, name):
    (tmp_path / "file.pth").write_bytes(b"no weights")
    (tmp_path / "file.safetensors").write_bytes(b"no weights")
    with pytest.raises(gz.DataError, match=r"cannot be read as inception's weights: .*; expected torch-fidelity's"):
        inception.read(tmp_path / name)


# The download, from this machine's own loopback


class Server(BaseHTTPRequestHandler):
    content, location = b"the weights", None

    def do_GET(self):
        type(self).asked.append(self.path)
        if self.location:
            self.send_response(302)
            self.send_header("Location", self.location)
            self.end_headers()
            return
        self.send_response(200 if self.content is not None else 404)
        self.end_headers()
        self.wfile.write(self.content or b"")

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    class Handler(Server):
        asked: list[str] = []  # noqa: RUF012

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever, args=(0.02,))
    thread.start()
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GANZOO_MIRROR_INCEPTION", f"http://127.0.0.1:{served.server_port}/files")
    monkeypatch.delenv("GANZOO_OFFLINE", raising=False)
    monkeypatch.setattr(fetch, "SIZE", len(Server.content))
    monkeypatch.setattr(fetch, "SHA256", hashlib.sha256(Server.content).hexdigest())
    monkeypatch.setattr(fetch, "torch_home", lambda: tmp_path / "torch")
    yield Handler
    served.shutdown()
    thread.join()
    served.server_close()


def kept(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_the_published_file_is_fetched_once(server, tmp_path):
    said = []
    path = fetch.weights(said.append)
    assert path.read_bytes() == Server.content
    assert fetch.weights(said.append) == path
    assert server.asked == [f"/files/{fetch.NAME}"]
    assert len(said) == 1


def test_a_file_that_torch_fidelity_left_is_taken(server, tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / fetch.NAME).write_bytes(Server.content)
    assert fetch.weights(print).parent.name == "torch"
    assert server.asked == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"the wEights", "another SHA-256 than the published"),
        (b"the weights, and more", "longer than the 11 bytes published"),
        (b"the wei", "ended after 7 of 11 bytes"),
        (None, "the server answered 404"),
    ],
)
def test_anything_but_the_published_file_is_refused_and_not_kept(server, tmp_path, content, words):
    server.content = content
    with pytest.raises(gz.DataError, match=words) as error:
        fetch.weights(print)
    assert "--extractor classifier, which needs no download" in str(error.value)
    assert kept(tmp_path) == []


def test_a_damaged_file_is_fetched_anew(server):
    path = fetch.weights(print)
    path.write_bytes(b"the wEights")
    assert fetch.weights(print).read_bytes() == Server.content


def test_a_redirection_to_plain_http_is_refused(server):
    server.location = "http://example.invalid/weights"
    with pytest.raises(gz.DataError, match=r"leads to http://example.invalid/weights, which is not https"):
        fetch.weights(print)


def test_no_network_is_told_in_words(server, monkeypatch):
    monkeypatch.setenv("GANZOO_MIRROR_INCEPTION", "http://127.0.0.1:9")  # where nobody listens
    with pytest.raises(gz.DataError, match=r"there is no network, or the host does not answer .*put the file there"):
        fetch.weights(print)


def test_offline_never_tries(server, monkeypatch):
    monkeypatch.setenv("GANZOO_OFFLINE", "1")
    with pytest.raises(gz.DataError, match="GANZOO_OFFLINE forbids a download"):
        fetch.weights(print)
    assert server.asked == []


@pytest.mark.parametrize("address", ["http://example.invalid", "ftp://example.invalid", "file:///etc", "nonsense"])
def test_a_mirror_must_be_https(server, monkeypatch, address):
    monkeypatch.setenv("GANZOO_MIRROR_INCEPTION", address)
    with pytest.raises(gz.UsageError, match="expected an address that starts with https"):
        fetch.weights(print)


def test_the_pin_is_the_published_one():
    """As torch.hub has it, the file's name holds the first eight digits of its sum."""
    monkeypatched = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
    assert monkeypatched == fetch.SHA256
    assert fetch.NAME.rpartition("-")[2] == f"{fetch.SHA256[:8]}.pth"
    assert fetch.BASE.startswith("https://")


def test_a_zip_that_is_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "file.pth", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
    with pytest.raises(statedict.NotTensors, match="instead of a dictionary"):
        statedict.read(tmp_path / "file.pth")
