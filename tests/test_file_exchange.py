"""Files that ranks pass to rank 0: whose box is alive, and what ends a wait."""

from __future__ import annotations

import contextlib
import os
import threading
import time

import pytest

from ganzoo_core.distributed import file_exchange
from ganzoo_core.distributed.file_exchange import FileExchange, Outcome
from ganzoo_core.distributed.launchers import Launch
from ganzoo_core.distributed.ranks import Rank, RankError
from ganzoo_core.errors import UsageError


def make_exchange(folder, number, timeout=20.0):
    launch = Launch("srun", Rank(number, 2, number, 2), "here:1")
    return FileExchange(folder, launch, timeout=timeout)


def test_a_box_of_a_process_that_ended_is_not_taken_for_a_living_ones(tmp_path):
    leftover = make_exchange(tmp_path / "ranks", 1)
    (tmp_path / "ranks").mkdir()
    leftover.box.mkdir()
    (leftover.box / "alive").write_bytes(b"7")
    leftover.put("record.json", {"succeeded": False})
    with make_exchange(tmp_path / "ranks", 0) as zero:
        helper = make_exchange(tmp_path / "ranks", 1)
        helper.__enter__()
        helper.put("record.json", {"succeeded": True})
        record, box = zero.take(1, "record.json", Outcome)
        assert record.succeeded
        assert box == helper.box
    helper.__exit__(None, None, None)
    assert list((tmp_path / "ranks").iterdir()) == [leftover.box]


def test_a_rank_that_never_comes_is_told(tmp_path):
    with (
        pytest.raises(RankError, match=r"rank 1 of 2 was not seen in .* within 0\.2 seconds; all machines must see"),
        make_exchange(tmp_path / "ranks", 0, timeout=0.2) as zero,
    ):
        zero.take(1, "record.json", Outcome)


def test_a_rank_hears_that_rank_0_failed(tmp_path):
    helper = make_exchange(tmp_path / "ranks", 1)
    helper.__enter__()
    with pytest.raises(UsageError, match="too few"), make_exchange(tmp_path / "ranks", 0):
        raise UsageError("too few")
    with pytest.raises(RankError, match="rank 0 cannot go on") as caught:
        helper.__exit__(None, None, None)
    assert caught.value.is_shared
    assert not (tmp_path / "ranks").exists()


def test_a_rank_that_comes_after_rank_0_failed_hears_it_too(tmp_path):
    def come_late():
        time.sleep(0.5)
        with contextlib.suppress(RankError), make_exchange(tmp_path / "ranks", 1) as helper:
            heard.append(helper)
            helper.wait_for_rank_zero()

    heard, began = [], time.monotonic()
    late = threading.Thread(target=come_late)
    late.start()
    with pytest.raises(UsageError, match="too few"), make_exchange(tmp_path / "ranks", 0):
        raise UsageError("too few")
    late.join(15)
    assert heard
    assert not late.is_alive(), f"after {time.monotonic() - began:.0f} s it waits for the timeout of 20"


def test_a_rank_that_is_alive_and_gives_nothing_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(file_exchange, "MOST_SILENT_SECONDS", 0.3)
    helper = make_exchange(tmp_path / "ranks", 1)
    helper.__enter__()
    with (
        pytest.raises(RankError, match=r"rank 1 is alive, and gave nothing for 0\.3 seconds"),
        make_exchange(tmp_path / "ranks", 0) as zero,
    ):
        zero.take(1, "record.json", Outcome)
    with pytest.raises(RankError):
        helper.__exit__(None, None, None)


def test_rank_0_that_is_alive_and_does_nothing_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(file_exchange, "MOST_LONG_SECONDS", 1.5)
    told = []

    def help_rank_zero():
        try:
            with make_exchange(tmp_path / "ranks", 1, timeout=1.0):
                pass
        except RankError as error:
            told.append(str(error))

    helper = threading.Thread(target=help_rank_zero)
    with make_exchange(tmp_path / "ranks", 0, timeout=1.0):
        helper.start()
        helper.join(15)  # as long as rank 0 hangs
    helper.join(15)
    assert told == ["rank 0 of 2 gave no sign of life for 1 seconds"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(UsageError, match="the 2 processes pass files to each other there"):
        make_exchange(tmp_path / "missing" / "ranks", 0).__enter__()


def test_leftovers_of_yesterday_are_removed(tmp_path):
    old = tmp_path / "ranks" / "0123-1-ff"
    old.mkdir(parents=True)
    os.utime(old, (1, 1))
    with make_exchange(tmp_path / "ranks", 0, timeout=0.2):
        assert not old.exists()
