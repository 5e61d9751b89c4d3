"""Inception: only the published weights are unpickled, fetched only as published, and see the published things."""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import safetensors.numpy
import torch
from PIL import Image

import ganzoo_core as gz
from ganzoo_core.evaluation import Scorer, client, make_request
from ganzoo_scores import inception, inception_weights

OLD = {"_use_new_zipfile_serialization": False}
NAMED = "name the published file, or its tensors as safetensors, with --set extractor.inception.weights=FILE"


def open_weights(path):
    """What the hook makes of a file that the user names."""
    return inception.extractor("inception", print, {"weights": str(path)})


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
    assert made.facts["weights"] == inception._hash_tensors(tensors)
    assert "299×299" in made.facts["resizer"]


def test_whole_batches_have_the_features_of_all_images_at_once(reference):
    made = inception._Extractor(reference[1])
    assert made.batch == inception.BATCHES[made.device.type]
    made.batch = 2
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)
    parts = [made.extract(images[first : first + 4]) for first in (0, 4)]
    for part, whole in zip(zip(*parts, strict=True), made.extract(images), strict=True):
        np.testing.assert_array_equal(np.concatenate(part), whole)


def pin(monkeypatch, content):
    """From now on, this is the published file."""
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(
        inception_weights, "WEIGHTS", replace(inception_weights.WEIGHTS, size=len(content), sha256=digest)
    )


@pytest.fixture(scope="module")
def published(reference, tmp_path_factory):
    """Files as `torch.save` writes them, in both of its formats, with the weights of `reference`."""
    folder = tmp_path_factory.mktemp("published")
    for name, how in (("zip", {}), ("stream", OLD)):
        torch.save(reference[0].state_dict(), folder / f"{name}.pth", **how)
    return folder


@pytest.mark.parametrize("name", ["zip", "stream"])
def test_the_published_file_is_read(reference, published, monkeypatch, name):
    network, tensors = reference
    path = published / f"{name}.pth"
    pin(monkeypatch, path.read_bytes())
    made = open_weights(path)
    for key, tensor in made.network.state_dict().items():
        np.testing.assert_array_equal(tensor.cpu().numpy(), tensors[key])
    grey = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = network(torch.from_numpy(grey).permute(0, 3, 1, 2))
    np.testing.assert_array_equal(made.extract(grey)[0], expected[0].numpy())


@pytest.mark.slow
def test_the_published_file_is_read_in_the_scoring_process(reference, published, monkeypatch, tmp_path):
    """This process keeps the real pin, so whatever opened the file was the other one."""
    tensors, content = reference[1], (published / "zip.pth").read_bytes()
    random = np.random.default_rng(0)
    for number in range(12):
        picture = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        (tmp_path / "data" / "all").mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "data" / "all" / f"{number}.png")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "scoring_of_a_fixture.py").write_text(f"""
from dataclasses import replace
from ganzoo_core.processes import serve
from ganzoo_core.evaluation.worker import handle_request
from ganzoo_scores import inception_weights
inception_weights.WEIGHTS = replace(
    inception_weights.WEIGHTS, size={len(content)}, sha256={hashlib.sha256(content).hexdigest()!r}
)
serve(handle_request)
""")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))
    started = client.Child

    def start(module, task):
        assert module == "ganzoo_core.evaluation.worker"
        return started("scoring_of_a_fixture", task)

    def refuse(*_, **__):
        raise AssertionError("the file was opened in the wrong process")

    monkeypatch.setattr(torch, "load", refuse)
    question = make_request(
        data=f"folder:{tmp_path / 'data'}",
        data_settings={"data.size": 8},
        extractor="inception",
        metrics=["is"],
        settings={"extractor.inception.weights": str(published / "zip.pth"), "metric.is.splits": 1},
        reference="all",
        score_real_images=False,
    )
    monkeypatch.setattr(client, "Child", start)
    with Scorer(question) as scorer:
        assert scorer.facts["weights"] == inception._hash_tensors(tensors)
        pictures = random.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
        assert scorer.score(pictures).scores["is"] == pytest.approx(1, abs=1e-3)  # of random weights


class Attack:
    def __init__(self, function, *given):
        self.function, self.given = function, given

    def __reduce__(self):
        return self.function, self.given


@pytest.mark.parametrize("how", [{}, OLD], ids=["zip", "stream"])
def test_any_other_pickle_is_refused_unopened(tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was opened"))
    torch.save({"w": Attack(os.mkdir, "attacked")}, "file.pth", **how)
    content = (tmp_path / "file.pth").read_bytes()
    with pytest.raises(gz.DataError) as error:
        open_weights(tmp_path / "file.pth")
    for words in (
        hashlib.sha256(content).hexdigest(),
        inception_weights.WEIGHTS.sha256,
        f"{len(content):,} bytes",
        "95,628,359",
        NAMED,
    ):
        assert words in str(error.value)
    assert not (tmp_path / "attacked").exists()


def test_a_pickle_under_another_suffix_is_refused_unopened(tmp_path):
    for name in ("file", "file.pt", "file.bin", "file.SAFETENSORS", "file.safetensors"):
        path = tmp_path / name
        path.write_bytes(pickle.dumps({"w": Attack(os.mkdir, str(tmp_path / "attacked"))}))
        with pytest.raises(gz.DataError, match="cannot be read as inception's weights"):
            open_weights(path)
    assert not (tmp_path / "attacked").exists()


def test_one_changed_byte_is_refused(published, monkeypatch, tmp_path):
    content = bytearray((published / "zip.pth").read_bytes())
    pin(monkeypatch, bytes(content))
    content[len(content) // 2] ^= 1
    (tmp_path / "file.pth").write_bytes(content)
    with pytest.raises(gz.DataError, match=hashlib.sha256(content).hexdigest()):
        open_weights(tmp_path / "file.pth")


def test_a_larger_file_is_refused_by_its_size(tmp_path):
    with (tmp_path / "file.pth").open("wb") as file:
        file.truncate(2**40)  # a hole: it takes no disk, and reading it would take all memory
    with pytest.raises(gz.DataError, match=r"it has 1,099,511,627,776 bytes; expected 95,628,359 bytes"):
        open_weights(tmp_path / "file.pth")


def test_what_is_loaded_is_what_was_checked(published, monkeypatch):
    """The file is exchanged as soon as its sum is known."""
    path = published / "exchanged.pth"
    content = (published / "zip.pth").read_bytes()
    path.write_bytes(content)
    pin(monkeypatch, content)
    sha256 = hashlib.sha256

    def exchange(given=b"", **more):
        path.unlink(missing_ok=True)
        path.write_bytes(pickle.dumps(Attack(os.mkdir, str(published / "attacked"))))
        return sha256(given, **more)

    monkeypatch.setattr(hashlib, "sha256", exchange)
    assert open_weights(path).network.fc.weight.shape == (1008, 2048)
    assert not (published / "attacked").exists()


@pytest.mark.parametrize("name", ["pipe.pth", "pipe.safetensors"])
def test_a_pipe_is_refused_at_once(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(gz.DataError, match="cannot be read as inception's weights"):
        open_weights(tmp_path / name)


@pytest.mark.parametrize("place", ["~nobody-of-this-name/file.pth", "a\0b.pth", "a\0b.safetensors", "/dev/zero"])
def test_a_name_that_is_no_file_is_refused_in_words(place):
    with pytest.raises(gz.DataError, match="cannot be read as inception's weights"):
        open_weights(place)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"fc.weight": np.zeros((2, 2), np.float32)},
            r"fc.weight is float32 \[2, 2\]; the network has float32 \[1008, 2048\]",
        ),
        ({"fc.bias": np.zeros(1008, np.float64)}, r"fc.bias is float64 \[1008\]; the network has float32 \[1008\]"),
        ({"other": np.zeros(1, np.float32)}, "holds a tensor 'other', which the network has not"),
        ({"fc.bias": None}, "holds no tensor 'fc.bias', which the network has"),
    ],
)
def test_other_tensors_are_refused_in_words(reference, tmp_path, change, words):
    tensors = {name: array for name, array in (reference[1] | change).items() if array is not None}
    safetensors.numpy.save_file(tensors, tmp_path / "file.safetensors")
    with pytest.raises(gz.DataError, match=words) as error:
        open_weights(tmp_path / "file.safetensors")
    assert NAMED in str(error.value)


@pytest.mark.parametrize("name", ["file.pth", "file.safetensors", "missing.pth", "missing.safetensors", "folder.pth"])
def test_a_file_that_is_none_is_refused_in_words(tmp_path, name):
    (tmp_path / "file.pth").write_bytes(b"no weights")
    (tmp_path / "file.safetensors").write_bytes(b"no weights")
    (tmp_path / "folder.pth").mkdir()
    with pytest.raises(gz.DataError, match=r"cannot be read as inception's weights: .*; name the published file"):
        open_weights(tmp_path / name)


def test_a_link_that_the_user_names_is_followed(reference, tmp_path):
    safetensors.numpy.save_file(reference[1], tmp_path / "blob")
    (tmp_path / "file.safetensors").symlink_to(tmp_path / "blob")
    assert open_weights(tmp_path / "file.safetensors").network.fc.bias.shape == (1008,)


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
    thread = threading.Thread(target=served.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GANZOO_MIRROR_INCEPTION", f"http://127.0.0.1:{served.server_port}/files")
    monkeypatch.delenv("GANZOO_OFFLINE", raising=False)
    pin(monkeypatch, Server.content)
    monkeypatch.setattr(inception_weights, "find_torch_cache", lambda: tmp_path / "torch")
    yield Handler
    served.shutdown()
    thread.join(timeout=60)
    served.server_close()


def kept(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_the_published_file_is_fetched_once(server, tmp_path):
    said = []
    assert inception_weights.fetch_weights(said.append) == Server.content
    assert inception_weights.fetch_weights(said.append) == Server.content
    assert kept(tmp_path) == [inception_weights.WEIGHTS.name]
    assert server.asked == [f"/files/{inception_weights.WEIGHTS.name}"]
    assert len(said) == 1


def test_a_file_that_torch_fidelity_left_is_taken(server, tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / inception_weights.WEIGHTS.name).write_bytes(Server.content)
    assert inception_weights.fetch_weights(print) == Server.content
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
        inception_weights.fetch_weights(print)
    assert str(error.value).endswith("or name it with --set extractor.inception.weights=FILE")
    assert kept(tmp_path) == []


def test_a_damaged_file_is_fetched_anew(server, tmp_path):
    inception_weights.fetch_weights(print)
    path = tmp_path / "cache" / "weights" / inception_weights.WEIGHTS.name
    path.write_bytes(b"the wEights")
    assert inception_weights.fetch_weights(print) == Server.content
    assert path.read_bytes() == Server.content


def test_a_redirection_to_plain_http_is_refused(server):
    server.location = "http://example.invalid/weights"
    with pytest.raises(gz.DataError, match=r"leads to http://example.invalid/weights, which is not https"):
        inception_weights.fetch_weights(print)


def test_no_network_is_told_in_words(server, monkeypatch):
    monkeypatch.setenv("GANZOO_MIRROR_INCEPTION", "http://127.0.0.1:9")  # where nobody listens
    with pytest.raises(gz.DataError, match=r"there is no network, or the host does not answer .*put the file there"):
        inception_weights.fetch_weights(print)


def test_offline_never_tries(server, monkeypatch):
    monkeypatch.setenv("GANZOO_OFFLINE", "1")
    with pytest.raises(gz.DataError, match="GANZOO_OFFLINE forbids a download"):
        inception_weights.fetch_weights(print)
    assert server.asked == []


@pytest.mark.parametrize("address", ["http://example.invalid", "ftp://example.invalid", "file:///etc", "nonsense"])
def test_a_mirror_must_be_https(server, monkeypatch, address):
    monkeypatch.setenv("GANZOO_MIRROR_INCEPTION", address)
    with pytest.raises(gz.UsageError, match="expected an address that starts with https"):
        inception_weights.fetch_weights(print)


def test_the_pin_is_the_published_one():
    """As torch.hub has it, the file's name holds the first eight digits of its sum."""
    monkeypatched = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
    assert monkeypatched == inception_weights.WEIGHTS.sha256
    assert inception_weights.WEIGHTS.name.rpartition("-")[2] == f"{inception_weights.WEIGHTS.sha256[:8]}.pth"
    assert inception_weights.WEIGHTS.base_url.startswith("https://")
