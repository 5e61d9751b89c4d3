"""Downloads, from a server on this machine."""

from __future__ import annotations

import errno
import gzip
import hashlib
import stat
from dataclasses import replace

import pytest

import ganzoo_core as gz
from ganzoo_datasets import mnist
from ganzoo_datasets.remote import fetch

BODY = b"what was published" * 1000


def published(body, name="file.gz", base_url="https://example.org/", variable="GANZOO_MIRROR_MNIST"):
    return gz.RemoteFile(name, len(body), hashlib.sha256(body).hexdigest(), base_url, variable)


REMOTE = published(BODY)


@pytest.fixture
def get(tmp_path, server, monkeypatch):
    """Download REMOTE from the server as a mirror; whatever happens, nothing half-done may stay."""
    monkeypatch.setenv("GANZOO_MIRROR_MNIST", f"{server.url}/data/")

    def attempt(remote=REMOTE):
        try:
            return fetch(remote, dataset="mnist", folder=tmp_path / "raw", advice="fill it")
        finally:
            left = {path.name for path in (tmp_path / "raw").glob("*")} if (tmp_path / "raw").is_dir() else set()
            assert left <= {remote.name}

    return attempt


def test_what_was_published_arrives(get, server):
    server.files["/data/file.gz"] = BODY
    path = get()
    assert path.read_bytes() == BODY
    assert server.asked == ["/data/file.gz"]
    assert stat.S_IMODE(path.stat().st_mode) & 0o044 == 0o044  # others may read a shared data root


def test_a_transfer_that_calls_itself_gzipped_is_kept_as_sent(get, server):
    body = gzip.compress(BODY, mtime=0)
    server.files["/data/file.gz"] = body
    server.headers["/data/file.gz"] = {"Content-Encoding": "gzip"}
    assert get(published(body)).read_bytes() == body


def test_redirections_are_followed(get, server):
    server.redirects["/data/file.gz"] = "/elsewhere/file.gz"
    server.files["/elsewhere/file.gz"] = BODY
    assert get().read_bytes() == BODY


def refused(get, words):
    with pytest.raises(gz.DataError, match=words) as caught:
        get()
    message = str(caught.value)
    assert "fill it" in message
    assert "--data digits" in message
    assert "\n" not in message


def test_another_content_of_the_same_length(get, server, tmp_path):
    server.files["/data/file.gz"] = b"x" * len(BODY)
    refused(get, "another SHA-256")
    assert not (tmp_path / "raw" / "file.gz").exists()


def test_a_length_that_is_not_the_published_one(get, server):
    server.files["/data/file.gz"] = BODY + b"more"
    refused(get, "18,004 bytes and the published file 18,000")


def test_a_body_without_an_end(get, server):
    server.files["/data/file.gz"] = BODY
    server.endless.add("/data/file.gz")
    refused(get, "longer than the 18,000 bytes")


def test_a_body_that_ends_early(get, server):
    server.files["/data/file.gz"] = BODY[:-1]
    server.headers["/data/file.gz"] = {"Content-Length": str(len(BODY))}
    refused(get, "connection broke|ended after")


def test_a_body_without_a_length_that_ends_early(get, server):
    server.files["/data/file.gz"] = BODY[:-1]
    server.headers["/data/file.gz"] = {"Content-Length": ""}
    refused(get, "ended after 17,999 of 18,000")


def test_no_such_file(get):
    refused(get, "404")


def test_a_redirection_to_another_machine_without_https(get, server):
    server.redirects["/data/file.gz"] = "http://example.org/file.gz"
    refused(get, "not https")


def test_redirections_in_a_circle(get, server):
    server.redirects["/data/file.gz"] = "/data/file.gz"
    refused(get, "more than 5 times")
    assert len(server.asked) == 6


def test_no_network(get, server, monkeypatch):
    monkeypatch.setenv("GANZOO_MIRROR_MNIST", "http://127.0.0.1:9")  # the discard port: nobody listens
    refused(get, "there is no network")


@pytest.mark.parametrize("address", ["http://example.org/", "ftp://127.0.0.1/", "file:///etc/", "127.0.0.1:80"])
def test_mirrors_must_be_https(get, monkeypatch, address):
    monkeypatch.setenv("GANZOO_MIRROR_MNIST", address)
    with pytest.raises(gz.UsageError, match=r"GANZOO_MIRROR_MNIST is .*https://"):
        get()


def test_offline_never_tries(get, server, monkeypatch):
    monkeypatch.setenv("GANZOO_OFFLINE", "1")
    server.files["/data/file.gz"] = BODY
    refused(get, "GANZOO_OFFLINE")
    assert server.asked == []
    monkeypatch.setenv("GANZOO_OFFLINE", "0")
    assert get().read_bytes() == BODY


def test_a_folder_that_cannot_be_made(server, tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_MIRROR_MNIST", server.url)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(gz.DataError, match="cannot be written"):
        fetch(REMOTE, dataset="mnist", folder=tmp_path / "file" / "raw", advice="fill it")


@pytest.mark.parametrize(
    ("raised", "expected", "words"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt, None),
        (OSError(errno.ENOSPC, "No space left on device"), gz.DataError, "cannot be written: No space left on device"),
    ],
)
def test_an_interrupted_download_leaves_nothing(server, tmp_path, monkeypatch, raised, expected, words):
    monkeypatch.setenv("GANZOO_MIRROR_MNIST", server.url)
    server.files["/file.gz"] = BODY

    def stop(amount):
        assert amount > 0
        raise raised

    with pytest.raises(expected, match=words):
        gz.download(REMOTE, tmp_path, missing="it is not there", advice="make room", advance=stop)
    assert list(tmp_path.iterdir()) == []


def test_pins_are_the_published_ones():
    """Sizes and sums as in url_checksums of TensorFlow Datasets, checked here by their first digits."""
    sums = {name: about.remotes["train-images-idx3-ubyte"].sha256[:8] for name, about in mnist.SETS.items()}
    assert sums == {"mnist": "440fcabf", "fashion_mnist": "3aede38d"}
    for about in mnist.SETS.values():
        for remote in about.remotes.values():
            assert remote.base_url.startswith("https://")
            assert len(remote.sha256) == 64


def test_the_whole_way_to_images(tmp_path, server, write_set, monkeypatch):
    made = write_set(tmp_path / "served" / "fashion", ending=".gz")
    remotes = {}
    for file in (tmp_path / "served" / "fashion").iterdir():
        body = file.read_bytes()
        server.files[f"/{file.name}"] = body
        remotes[file.stem] = published(body, file.name, variable="GANZOO_MIRROR_FASHION_MNIST")
    monkeypatch.setitem(mnist.SETS, "fashion_mnist", replace(mnist.SETS["fashion_mnist"], remotes=remotes))
    monkeypatch.setenv("GANZOO_MIRROR_FASHION_MNIST", server.url)
    source = mnist.dataset(name="fashion_mnist", root=tmp_path / "root", split="train")
    assert (source.images[..., 0] == made["train-images"]).all()
    assert sorted(server.asked) == ["/train-images-idx3-ubyte.gz", "/train-labels-idx1-ubyte.gz"]  # not the test part
    monkeypatch.setenv("GANZOO_OFFLINE", "1")
    assert len(mnist.dataset(name="fashion_mnist", root=tmp_path / "root", split="train").images) == 12
    with pytest.raises(gz.DataError, match="t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte"):
        mnist.dataset(name="fashion_mnist", root=tmp_path / "root", split="test")
