"""What ranks say to each other: work that every rank does, however long each takes."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core import building
from ganzoo_core.data import fingerprint
from ganzoo_core.distributed import process_group
from ganzoo_core.distributed.process_group import MessageGroup
from ganzoo_core.distributed.ranks import Rank, RankError, SingleProcess
from ganzoo_core.errors import DataError
from ganzoo_core.training import setup

TIMEOUT = 0.4  # seconds that a rank waits for the others in a gather


class ThreadGroup(MessageGroup):
    """Ranks that are threads of this process."""

    def __init__(self, rank, barrier, box):
        super().__init__(rank, timeout=TIMEOUT)
        self.barrier, self.box = barrier, box

    def gather_array(self, array):
        self.box[self.rank.number] = array
        try:
            self.barrier.wait(TIMEOUT)
            gathered = np.stack([self.box[number] for number in range(self.rank.world_size)])
            self.barrier.wait(TIMEOUT)
        except threading.BrokenBarrierError:
            raise RankError("one of them did not answer") from None
        return gathered

    def broadcast_array(self, array):
        return self.gather_array(array)[0]

    def broadcast_network(self, network):
        raise NotImplementedError


def run_ranks(*acts, call=MessageGroup.on_all_ranks):
    """What `on_all_ranks`, or another method, returned or raised in each rank."""
    barrier, box, found = threading.Barrier(len(acts)), {}, {}

    def run(number, act):
        group = ThreadGroup(Rank(number, len(acts), number, len(acts)), barrier, box)
        try:
            found[number] = call(group, act)
        except BaseException as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=(number, act)) for number, act in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    return [found[number] for number in range(len(acts))]


@pytest.mark.parametrize("slow", [0, 1, 2])
def test_a_rank_may_take_longer_than_the_others_wait(slow):
    def act(number):
        time.sleep(3 * TIMEOUT if number == slow else 0)
        return number

    assert run_ranks(*(lambda number=number: act(number) for number in range(3))) == [0, 1, 2]


def test_a_rank_that_never_comes_to_an_end_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr(process_group, "MOST_LONG_SECONDS", 2 * TIMEOUT)
    zero, _ = run_ranks(lambda: 0, lambda: time.sleep(5 * TIMEOUT))
    assert isinstance(zero, RankError)
    _, one = run_ranks(
        lambda: time.sleep(5 * TIMEOUT),
        lambda: pytest.fail("it is rank 0's"),
        call=lambda group, act: group.on_rank_zero(act, long=True),
    )
    assert isinstance(one, RankError)


def test_an_error_is_raised_where_it_is_and_told_to_the_others():
    def fail():
        raise DataError("the disk of this machine is empty")

    zero, one = run_ranks(lambda: 0, fail)
    assert isinstance(one, RankError)
    assert str(one) == "the disk of this machine is empty"
    assert str(zero) == "rank 1 cannot go on, and says why"
    assert zero.is_shared
    zero, one = run_ranks(fail, lambda: 1)
    assert isinstance(zero, DataError)
    assert str(one) == "rank 0 cannot go on, and says why"
    zero, one = run_ranks(fail, fail)
    assert isinstance(zero, DataError)
    assert isinstance(one, DataError)


def test_an_error_of_the_talk_itself_is_not_taken_for_success():
    class DamagedGroup(ThreadGroup):
        def gather_array(self, array):
            raise ValueError("a message that cannot be read")

    with pytest.raises(ValueError, match="a message that cannot be read"):
        DamagedGroup(Rank(0, 2, 0, 2), None, {}).on_all_ranks(lambda: 1)


def test_a_rank_that_is_gone_is_told():
    barrier = threading.Barrier(2)
    alone = ThreadGroup(Rank(0, 2, 0, 2), barrier, {})
    with pytest.raises(RankError, match="did not answer"):
        alone.on_all_ranks(lambda: 1)


def test_ranks_wait_for_each_other_as_long_as_any_reads_its_images(tmp_path, monkeypatch):
    class Group(SingleProcess):
        acts = 0

        def on_all_ranks(self, act):
            self.acts += 1
            try:
                return act()
            finally:
                self.acts -= 1

    def watch(module, name):
        read = getattr(module, name)

        def note(*words, **more):
            reads.append((name, group.acts))
            return read(*words, **more)

        monkeypatch.setattr(module, name, note)

    group, reads = Group(), []
    monkeypatch.setattr(setup, "SINGLE_PROCESS", group)
    watch(building, "prepare_data")
    watch(fingerprint, "compute_fingerprint")
    settings = {"data.size": 16, "train.batch_size": 8, "model.width": 2, "train.sample_every": "off"}
    gz.train("dcgan-torch", images=8, out=tmp_path / "run", device="cpu", settings=settings, quiet=True)
    assert reads == [("prepare_data", 1), ("compute_fingerprint", 1)]
