"""A SLURM cluster of two nodes on this machine, without systemd: started, asked, and gone without a trace.

`python slurm.py` runs it until its standard input ends, which it does however the process that holds it ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

CONF = Path("/etc/slurm")  # commands inside jobs look nowhere else
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue")
GPUS = 2
NODES = ("one", "two")

# slurmctld and each slurmd listen on ports of their own; nothing is accounted, no cgroup is asked for: a job's
# memory is looked at every second.
_CONFIGURATION = """\
ClusterName=tilecasttest
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdSpoolDir={folder}/spool.%n
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SlurmctldPort=16817
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MinJobAge=300
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
JobCompType=jobcomp/none
GresTypes=gpu
KillWait=2
OverTimeLimit=0
NodeName=DEFAULT CPUs={cores} RealMemory=8000 State=UNKNOWN
NodeName=one NodeHostname={host} NodeAddr=127.0.0.1 Port=16818 Gres=gpu:{gpus}
NodeName=two NodeHostname={host} NodeAddr=127.0.0.1 Port=16819
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def reason_not_to() -> str | None:
    """Why no cluster can be had here; None where one can."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        return f"{', '.join(missing)} not installed (Debian: slurm-wlm and munge)"
    if os.geteuid() != 0:
        return "the daemons need root"
    if (CONF / "slurm.conf").exists():
        return f"{CONF}/slurm.conf exists: this machine belongs to a cluster"
    return None


def node() -> str:
    """This machine's name as SLURM knows it."""
    return socket.gethostname().split(".")[0]


def command(*words: str) -> str:
    """What a SLURM command prints."""
    return subprocess.run(words, capture_output=True, text=True, timeout=60).stdout


def jobs() -> list[str]:
    """Every job the controller still knows: `id name state reason`."""
    return command("squeue", "--all", "--states=all", "--noheader", "--format=%i %j %T %r").splitlines()


@contextlib.contextmanager
def cluster() -> Iterator[Path]:
    """The cluster, up; yields the folder with its logs. Afterwards its daemons have ended, its files are gone."""
    words = [sys.executable, __file__]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, text=True
    ) as held:
        assert held.stdin and held.stdout
        folder = held.stdout.readline().strip()
        assert folder, "SLURM did not come up; what the daemons said stands above"
        yield Path(folder)
        held.stdin.close()


@contextlib.contextmanager
def _cluster() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tilecast-slurm-"))
    folder.chmod(0o755)  # munge asks for it
    daemons: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> None:
        with (folder / f"{len(daemons)}-{Path(words[0]).name}.out").open("wb") as output:
            daemons.append(subprocess.Popen(words, stdout=output, stderr=output, start_new_session=True))

    try:
        for name in ("state", *(f"spool.{name}" for name in NODES)):
            (folder / name).mkdir()
        (folder / "munged.key").write_bytes(os.urandom(1024))
        (folder / "munged.key").chmod(0o400)
        for number in range(GPUS):  # stand-ins: as harmless as /dev/null, which they are
            os.mknod(folder / f"gpu{number}", 0o20666, os.makedev(1, 3))
        CONF.mkdir(exist_ok=True)
        cores = os.cpu_count() or 1
        text = _CONFIGURATION.format(host=node(), folder=folder, cores=cores, gpus=GPUS)
        (CONF / "slurm.conf").write_text(text)
        (CONF / "gres.conf").write_text(f"NodeName=one Name=gpu File={folder}/gpu[0-{GPUS - 1}]\n")
        files = {name: f"--{name}-file={folder}/munged.{name}" for name in ("key", "pid", "log", "seed")}
        start("/usr/sbin/munged", "--foreground", f"--socket={folder}/munge.socket", *files.values())
        _wait(lambda: (folder / "munge.socket").exists(), folder)
        start("/usr/sbin/slurmctld", "-D")
        for name in NODES:
            start("/usr/sbin/slurmd", "-D", "-N", name)
        _wait(lambda: command("sinfo", "--noheader", "--Node", "--format=%T").split() == ["idle"] * 2, folder)
        yield folder
    finally:
        if daemons[2:]:
            subprocess.run(["scancel", "--partition=debug"], capture_output=True, timeout=60)
            with contextlib.suppress(AssertionError):
                _wait(lambda: command("squeue", "--noheader").strip() == "", folder, seconds=20)
        for daemon in reversed(daemons):
            daemon.terminate()
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for name in ("slurm.conf", "gres.conf"):
            (CONF / name).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(condition: object, folder: Path, seconds: float = 30) -> None:
    """Return as soon as `condition()` holds; else fail with what the daemons said."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            said = {file.name: file.read_text()[-1500:] for file in sorted(folder.glob("*.out"))}
            raise AssertionError(f"SLURM did not come up: {said}")
        time.sleep(0.1)


if __name__ == "__main__":
    with _cluster() as place:
        print(place, flush=True)
        sys.stdin.read()
