"""What the starters tell each process: torchrun, srun and TF_CONFIG; what makes no sense is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

import ganzoo_core as gz
from ganzoo_core.distributed.host_list import expand_host_list
from ganzoo_core.distributed.launchers import Launch, check_launch, choose_gpu, note_unused_gpus, read_launch
from ganzoo_core.distributed.ranks import Rank

TORCHRUN = {
    "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "first",
    "MASTER_PORT": "65534",
}  # fmt: skip
SRUN = {
    "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_PROCID": "3", "SLURM_LOCALID": "1",
    "SLURM_STEP_NUM_TASKS": "5", "SLURM_STEP_TASKS_PER_NODE": "2(x2),1", "SLURM_STEP_NODELIST": "gpu[08-09],last",
}  # fmt: skip
CLUSTER = {"chief": ["a:1"], "worker": ["b:1", "b:2"]}


def configure(cluster: Mapping[str, Any], job: str = "worker", index: object = 1) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})}


@pytest.mark.parametrize(
    "environment",
    [
        {}, {"TF_CONFIG": ""}, {"TF_CONFIG": "{}"}, configure({"worker": ["a:1"]}, index=0),
        {"SLURM_STEP_NUM_TASKS": "1"}, {"SLURM_NTASKS": "8"}, {"SLURM_STEP_NUM_TASKS": "²"},
        {"RANK": "1", "WORLD_SIZE": "4"},  # a scheduler's, without torchrun
    ],
)  # fmt: skip
def test_one_process_is_started_by_nobody(environment: dict[str, str]) -> None:
    assert read_launch(environment) == Launch()


def test_torchrun_tells_all_addresses_on_one_machine_only() -> None:
    addresses = ("127.0.0.1:65535", "127.0.0.1:1024")  # not its own port, and none above the last
    assert read_launch(TORCHRUN) == Launch("torchrun", Rank(1, 2, 1, 2), "first:65534", addresses)
    assert read_launch({**TORCHRUN, "WORLD_SIZE": "4"}) == Launch("torchrun", Rank(1, 4, 1, 2), "first:65534")
    alone = {**TORCHRUN, "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    assert read_launch({**SRUN, **alone}).rank.is_alone  # srun started torchrun once on each machine


def test_srun_tells_where_each_task_is() -> None:
    launch = read_launch(SRUN)
    assert (launch.starter, launch.rank) == ("srun", Rank(3, 5, 1, 2))
    assert launch.addresses == ("gpu08:10448", "gpu08:10449", "gpu09:10450", "gpu09:10451", "last:10452")
    assert launch.meeting_point == launch.addresses[0]
    ports = {read_launch({**SRUN, "SLURM_JOB_ID": str(job)}).meeting_point for job in range(300)}
    assert len(ports) == 300
    many = {"SLURM_STEP_NUM_TASKS": "100", "SLURM_STEP_TASKS_PER_NODE": "100", "SLURM_STEP_NODELIST": "big"}
    many = {**SRUN, **many, "SLURM_PROCID": "7", "SLURM_LOCALID": "7"}
    one, next_one = (set(read_launch({**many, "SLURM_JOB_ID": job}).addresses) for job in ("500", "501"))
    assert len(one) == 100
    assert not one & next_one
    # Many nodes, each with the same ports: none is above the last, and blocks are as long as those of smaller jobs.
    nodes = {"SLURM_STEP_NUM_TASKS": "80000", "SLURM_STEP_TASKS_PER_NODE": "8(x10000)", "SLURM_LOCALID": "3"}
    largest = {**SRUN, **nodes, "SLURM_STEP_NODELIST": "n[00000-09999]", "SLURM_JOB_ID": "349"}
    ports = {int(address.rpartition(":")[2]) for address in read_launch(largest).addresses}
    assert ports == set(range(10_000 + 349 * 64, 10_000 + 349 * 64 + 8))
    assert read_launch({**SRUN, "SLURM_STEP_ID": "1"}).meeting_point != launch.meeting_point


def test_a_cluster_has_its_chief_first() -> None:
    addresses = ("a:1", "b:1", "b:2")
    assert read_launch(configure(CLUSTER)) == Launch("TF_CONFIG", Rank(2, 3, 1, 2), "a:1", addresses, shares_gpus=False)
    assert read_launch(configure(CLUSTER, "chief", 0)).rank == Rank(0, 3, 0, 1)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({**TORCHRUN, "RANK": "2"}, "RANK=2.*no process of a run; let torchrun set all"),
        ({**TORCHRUN, "RANK": "one"}, "RANK=one"),
        ({"TF_CONFIG": "["}, "no JSON of a cluster"),
        ({"TF_CONFIG": "[]"}, "no JSON of a cluster"),
        ({"TF_CONFIG": '{"cluster": []}'}, "no JSON of a cluster"),
        (configure({"worker": ["a", "b"]}), "no JSON of a cluster"),
        (configure({"worker": [1, 2]}), "no JSON of a cluster"),
        (configure({**CLUSTER, "ps": ["c:1"]}), "TF_CONFIG has tasks of ps"),
        (configure(CLUSTER, index=2), "task 2 of worker, which is not in its cluster"),
        (configure(CLUSTER, index="x"), "task x of worker"),
        (configure(CLUSTER, "evaluator", 0), "task 0 of evaluator"),
        ({**SRUN, "SLURM_STEP_NODELIST": "gpu[1-9]"}, "SLURM_STEP_NODELIST=gpu.*do not fit together"),
        ({**SRUN, "SLURM_STEP_TASKS_PER_NODE": "2(x²)"}, "do not fit together"),
        ({**SRUN, "SLURM_LOCALID": "0"}, "srun --distribution=block"),
        ({**SRUN, "SLURM_PROCID": "5"}, "srun --distribution=block"),
    ],
)
def test_what_makes_no_sense_is_named(environment: dict[str, str], told: str) -> None:
    with pytest.raises(gz.UsageError, match=told):
        read_launch(environment)


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("a", ["a"]),
        ("n[1,3-4],login.example", ["n1", "n3", "n4", "login.example"]),
        ("r[1-2]n[08-09]x", ["r1n08x", "r1n09x", "r2n08x", "r2n09x"]),
        ("", []), ("n[2-1]", []), ("n[", []), ("n[1-999999999]", []), ("a b", []), ("n[a]", []),
    ],
)  # fmt: skip
def test_slurms_short_names(text: str, hosts: list[str]) -> None:
    assert expand_host_list(text) == hosts


def test_tensorflow_needs_all_addresses() -> None:
    launch = read_launch({**TORCHRUN, "WORLD_SIZE": "4"})
    check_launch(launch, framework="torch", batch_size=8)
    with pytest.raises(gz.UsageError, match=r"torchrun started 4 .*TensorFlow needs all of them: .*srun.*TF_CONFIG"):
        check_launch(launch, framework="tensorflow", batch_size=8)
    check_launch(read_launch(SRUN), framework="tensorflow", batch_size=10)


def test_each_process_takes_a_gpu_of_its_own() -> None:
    assert choose_gpu(read_launch(TORCHRUN), 2) == 1
    assert choose_gpu(read_launch(SRUN), 4) == 1
    assert choose_gpu(read_launch(SRUN), 1) == 0  # srun may show each task its own alone
    with pytest.raises(gz.UsageError, match=r"torchrun started 2 processes on .* which has 1 GPUs"):
        choose_gpu(read_launch(TORCHRUN), 1)


def test_a_note_names_the_gpus_that_stay_idle() -> None:
    assert note_unused_gpus("tensorflow", 0) == note_unused_gpus("tensorflow", 1) == ()
    assert "sees 4 GPUs" in note_unused_gpus("tensorflow", 4)[0]
