"""A Slurm cluster of four nodes on this machine, for tests: its daemons speak on the loopback address alone.

It has a configuration, a key and sockets of its own in a temporary folder, and takes nothing from `/etc/slurm`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "sinfo", "setpriv")
NODES = tuple(f"127.0.0.{number}" for number in range(1, 5))  # addresses, since jobs look each other up by these names
START_SECONDS, COMMAND_SECONDS, JOB_SECONDS = 60, 30, 420  # seconds that each may take
OVER = {"COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL"}  # states of a job that does not go on
CONFIG = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A job that is queued again waits for cred_expire seconds.
AuthInfo=socket={place}/munge,cred_expire=5
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool-%n
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobRequeue=1
ReturnToService=2
SlurmdTimeout=15
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=8\n"


def describe_missing() -> str:
    """What this machine lacks for a cluster, and what to type; "" for nothing."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]
    if missing:
        return f"Slurm is not installed ({', '.join(missing)} not found): apt install slurm-wlm munge"
    if os.getuid() != 0:
        return "Slurm's daemons are started by root: sudo .venv/bin/pytest -m slurm"
    return ""


def search_path() -> str:
    return os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


class Cluster:
    """The daemons and the commands of a cluster; `log` keeps what the commands said."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.log: list[str] = []
        self.daemons: list[subprocess.Popen[bytes]] = []
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "SRUN"))}
        self.environment = {**kept, "PATH": search_path(), "SLURM_CONF": str(place / "slurm.conf")}

    def start(self) -> None:
        """Start all daemons, and wait until all nodes are idle."""
        for folder in ("state", *(f"spool-{node}" for node in NODES)):
            (self.place / folder).mkdir()
        host, (port, *ports) = socket.gethostname().partition(".")[0], find_free_ports(1 + len(NODES))
        nodes = [NODE.format(name=name, host=host, port=port) for name, port in zip(NODES, ports, strict=True)]
        (self.place / "slurm.conf").write_text("".join((*nodes, CONFIG.format(place=self.place, host=host, port=port))))
        key = self.place / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = {"key-file": "key", "socket": "munge", "pid-file": "munged.pid", "seed-file": "seed"}
        options = [f"--{name}={self.place / file}" for name, file in files.items()]
        self._start_daemon("munged", "--foreground", "--force", *options)
        self.wait_until((self.place / "munge").is_socket, "munged has a socket", START_SECONDS)
        self._start_daemon("slurmctld", "-D", "-i")
        for node in NODES:
            self._start_daemon("slurmd", "-D", "-N", node, TESTS_NODE=node)
        self.wait_until(lambda: self._states() == {"idle"}, "all nodes are idle", START_SECONDS)

    def kill_node(self, name: str) -> None:
        """Kill a node's slurmd and all that runs on it, as a loss of power does."""
        for wanted in (f"TESTS_NODE={name}", f"SLURMD_NODENAME={name}"):
            self._kill(wanted)

    def stop(self) -> None:
        """End the daemons and all jobs."""
        self._kill()

    def run(self, *words: str | Path, environment: Mapping[str, str] | None = None) -> str:
        """What one of Slurm's commands prints."""
        command = [str(word) for word in words]
        done = subprocess.run(
            command, env={**self.environment, **(environment or {})}, cwd=self.place, capture_output=True, text=True,
            timeout=COMMAND_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stderr}\n{self.read_logs()}"
        return done.stdout

    def submit(self, script: Path, *options: str, environment: Mapping[str, str] | None = None) -> str:
        """Queue a script; its job's number."""
        job = self.run("sbatch", "--parsable", *options, script, environment=environment).strip()
        self.log.append(f"$ sbatch {' '.join(options)} {script.name}\nSubmitted batch job {job}")
        return job

    def show(self, job: str) -> list[dict[str, str]]:
        """What `scontrol show job` says of a job, or of each task of an array."""
        shown = self.run("scontrol", "show", "job", "--oneliner", job)
        return [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in shown.splitlines()]

    def list_nodes(self, job: str) -> list[str]:
        """The names of the nodes that a job has."""
        return self.run("scontrol", "show", "hostnames", self.show(job)[0]["NodeList"]).split()

    def wait_for(self, job: str) -> list[dict[str, str]]:
        """Wait until a job, or each task of an array, is over for good; what Slurm says of it."""
        self.wait_until(lambda: self.states(job) <= OVER, f"job {job} ends")
        self.log.append(f"$ scontrol show job {job}\n{self.run('scontrol', 'show', 'job', job)}")
        return self.show(job)

    def states(self, job: str) -> set[str]:
        return {shown["JobState"] for shown in self.show(job)}

    def wait_until(self, is_so: Callable[[], bool], what: str, seconds: float = JOB_SECONDS) -> None:
        """Look again and again; fails the test when it takes longer."""
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, f"not within {seconds} seconds: {what}\n{self.read_logs()}"
            time.sleep(0.25)

    def read_logs(self) -> str:
        """The last lines of each daemon and of each job."""
        return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.place.glob("*.log")))

    def _states(self) -> set[str]:
        """The nodes' states; empty while the controller does not answer."""
        done = subprocess.run(
            ["sinfo", "-h", "-N", "-o", "%T"], env=self.environment, capture_output=True, text=True,
            timeout=COMMAND_SECONDS, check=False,
        )  # fmt: skip
        return set(done.stdout.split()) if done.returncode == 0 else set()

    def _start_daemon(self, *words: str, **environment: str) -> None:
        """Start a daemon that ends with this process."""
        with (self.place / f"{words[0]}{environment.get('TESTS_NODE', '')}.log").open("ab") as log:
            daemon = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *words], env={**self.environment, **environment}, cwd=self.place,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self.daemons.append(daemon)

    def _kill(self, wanted: str = "") -> None:
        """Kill each process of this cluster that has `wanted` in its environment."""
        deadline = time.monotonic() + START_SECONDS
        while found := [pid for pid in self._processes() if not wanted or wanted in read_environment(pid)]:
            assert time.monotonic() < deadline, f"processes {found} cannot be killed"
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
            for daemon in self.daemons:
                daemon.poll()  # a child that has ended stays in /proc until then

    def _processes(self) -> Iterator[int]:
        for path in Path("/proc").glob("[0-9]*"):
            if f"SLURM_CONF={self.place / 'slurm.conf'}" in read_environment(int(path.name)):
                yield int(path.name)


def read_environment(pid: int) -> list[str]:
    """A process's environment; empty for one that has ended."""
    try:
        return Path(f"/proc/{pid}/environ").read_text(errors="replace").split("\0")
    except OSError:
        return []


def find_free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def run_cluster() -> Iterator[Cluster]:
    """A cluster that runs until the block ends."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as place:  # sockets want a short path
        cluster = Cluster(Path(place))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()
