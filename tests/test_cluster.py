"""Several tasks and several GPUs, where the framework is TensorFlow: refused, or said."""

import json

import pytest

import ganzoo_core as gz
from ganzoo_core.distributed.launchers import check_cluster, note_unused_gpus

WORKERS = {"cluster": {"worker": ["a:1", "b:1"], "ps": ["c:1"]}, "task": {"type": "worker", "index": 0}}
ALONE = {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"TF_CONFIG": json.dumps(WORKERS)}, "TF_CONFIG tells of 3 tasks"),
        ({"SLURM_STEP_NUM_TASKS": "4"}, "SLURM_STEP_NUM_TASKS tells of 4 tasks"),
    ],
)
def test_several_tasks_are_refused_in_tensorflow_alone(environment: dict[str, str], told: str) -> None:
    with pytest.raises(gz.UsageError, match=told) as refused:
        check_cluster("tensorflow", environment)
    assert "torchrun" in str(refused.value)
    assert "ganzoo sweep" in str(refused.value)
    check_cluster("torch", environment)


@pytest.mark.parametrize(
    "environment",
    [{}, {"TF_CONFIG": ""}, {"TF_CONFIG": "{}"}, {"TF_CONFIG": json.dumps(ALONE)}, {"SLURM_STEP_NUM_TASKS": "1"},
     {"SLURM_NTASKS": "8"}],
)  # fmt: skip
def test_one_task_is_none_of_our_business(environment: dict[str, str]) -> None:
    check_cluster("tensorflow", environment)


@pytest.mark.parametrize("text", ["[", "[]", '{"cluster": []}'])
def test_a_damaged_config_is_named(text: str) -> None:
    with pytest.raises(gz.UsageError, match="TF_CONFIG"):
        check_cluster("tensorflow", {"TF_CONFIG": text})


def test_a_run_is_refused_before_its_data_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", json.dumps(WORKERS))
    with pytest.raises(gz.UsageError, match=r"\b3 tasks"):
        gz.train("dcgan-tf", data="folder:nowhere", images=64)


def test_a_note_names_the_gpus_that_stay_idle() -> None:
    assert note_unused_gpus("tensorflow", 0) == note_unused_gpus("tensorflow", 1) == ()
    assert "sees 4 GPUs" in note_unused_gpus("tensorflow", 4)[0]
