"""The live page and those who would keep others from it: silent, slow, deaf, talkative, and very many clients."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
import time

import pytest

from ganzoo_core.report import live

SOON, MOST = 0.4, 4  # seconds and clients, in place of the real bounds
END = 30.0  # seconds after which a wait is given up


@pytest.fixture
def address(runs, monkeypatch):
    monkeypatch.setattr(live, "CLIENT_TIMEOUT", SOON)
    monkeypatch.setattr(live, "MAX_CLIENTS", MOST)
    with live.make_server(runs(finished=False), 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server.server_address
        server.shutdown()
        thread.join(END)


@pytest.fixture
def clients(address):
    """Connections, closed at the end."""
    with contextlib.ExitStack() as stack:

        def connect(said=b"", room=None):
            client = stack.enter_context(socket.socket())
            if room is not None:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
            client.settimeout(END)
            client.connect(address)
            if said:
                client.sendall(said)
            return client

        yield connect


def ask(address, path="/version"):
    connection = http.client.HTTPConnection(*address, timeout=END)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def ask_until_answered(address):
    """Others may be served first, with an end."""
    until = time.monotonic() + END
    while time.monotonic() < until:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if ask(address)[0] == 200:
                return
        time.sleep(0.05)
    raise AssertionError("nobody else was served")


def read_to_end(client):
    """What the server says until it closes; a reset closes as well."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(65536):
            found += piece
    return found


def threads():
    return [thread for thread in threading.enumerate() if "process_request_thread" in thread.name]


def wait_for_no_thread():
    until = time.monotonic() + END
    while threads() and time.monotonic() < until:
        time.sleep(0.02)
    assert threads() == []


@pytest.mark.parametrize(
    "said", [b"", b"GET", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: 127.0.0.1:1\r\nX: "], ids=len
)
def test_a_client_that_stops_talking_is_let_go(clients, said):
    assert read_to_end(clients(said)) == b""
    wait_for_no_thread()


def test_a_client_that_says_a_letter_now_and_then_is_let_go(clients):
    """Each letter comes in time, and all of them would take for ever."""
    client = clients()
    said = 0
    with contextlib.suppress(OSError):
        for _ in range(int(END / (SOON / 4))):
            client.sendall(b"G")
            said += 1
            time.sleep(SOON / 4)
    assert said < 40
    wait_for_no_thread()


def test_a_client_that_reads_nothing_is_let_go(clients, address, monkeypatch):
    monkeypatch.setattr(live.LiveReport, "make_page", lambda self: bytes(30_000_000))
    host = f"Host: {address[0]}:{address[1]}"
    deaf = clients(f"GET / HTTP/1.0\r\n{host}\r\n\r\n".encode(), room=4096)
    assert deaf.recv(15) == b"HTTP/1.0 200 OK"
    wait_for_no_thread()
    assert len(read_to_end(deaf)) < 30_000_000


@pytest.mark.parametrize(
    "said",
    [
        b"GET /" + b"a" * 10_000_000,
        b"GET / HTTP/1.0\r\n" + b"X: a\r\n" * 1_000_000,
        b"GET / HTTP/1.0\r\nX: " + b"a" * 10_000_000,
    ],
    ids=["line", "many headers", "long header"],
)
def test_a_request_without_end_is_not_kept(clients, said):
    client = clients()
    sent = 0
    with contextlib.suppress(ConnectionError):
        for start in range(0, len(said), 4096):
            client.sendall(said[start : start + 4096])
            sent += 4096
    assert sent < len(said)  # the connection was closed, and no more was taken than what lies on the way
    wait_for_no_thread()


def test_no_more_threads_than_are_allowed_and_the_others_are_told(clients, address):
    silent = [clients() for _ in range(MOST)]
    until = time.monotonic() + END
    while len(threads()) < MOST and time.monotonic() < until:
        time.sleep(0.01)
    status = 503
    with contextlib.suppress(ConnectionError):
        status = ask(address)[0]
    assert status in (503, 200)  # 200 where the silent ones were let go meanwhile
    assert len(threads()) <= 2 * len(silent)
    ask_until_answered(address)


def test_one_client_too_many_is_told_so(clients, address, monkeypatch):
    monkeypatch.setattr(live, "CLIENT_TIMEOUT", END)  # nobody is let go while this looks
    for _ in range(MOST):
        clients(b"GET")
    until = time.monotonic() + END
    while len(threads()) < MOST and time.monotonic() < until:
        time.sleep(0.01)
    told = read_to_end(clients())
    assert told.startswith(b"HTTP/1.0 503 ")
    assert b"Retry-After: " in told
    assert len(threads()) == MOST


def test_a_thousand_clients_do_not_keep_others_out(clients, address):
    most = 0
    for number in range(1000):
        with contextlib.suppress(OSError):
            clients(b"GET / HTTP" if number % 2 else b"")
        most = max(most, len(threads()))
    assert most <= 2 * MOST  # those that are just ending are among them
    ask_until_answered(address)


def test_those_who_come_and_leave_cost_nothing(address, capfd):
    for _ in range(50):
        with contextlib.suppress(OSError), socket.create_connection(address, timeout=END) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # leave with a reset
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
    ask_until_answered(address)
    wait_for_no_thread()
    assert capfd.readouterr() == ("", "")


def test_what_fails_inside_is_told_clean_and_the_next_is_served(address, capfd, monkeypatch):
    def fail(self):
        raise ValueError("a\x1b[2Jb")

    monkeypatch.setattr(live.LiveReport, "make_page", fail)
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(address, "/")
    wait_for_no_thread()
    ask_until_answered(address)
    assert "ValueError: a [2Jb" in capfd.readouterr().err


def test_the_real_bounds_are_those_of_a_person_with_a_browser():
    assert 8 <= live.MAX_CLIENTS <= 64
    assert 2 <= live.CLIENT_TIMEOUT <= 60
