"""What the scripts that measure share: where programs are, and processes that end with the script."""

import os
import signal
import socket
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
FLOWGATE = os.path.join(TARGET, "release", "flowgate")
BENCH = os.path.join(TARGET, "release", "flowgate-bench")

processes = []


def say(what):
    print(f"== {what}", file=sys.stderr, flush=True)


def build(*packages):
    """In release mode."""
    say("building")
    named = [word for package in packages for word in ("-p", package)]
    subprocess.run(["cargo", "build", "--release", "--locked", "-q", *named], cwd=ROOT, check=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(command, **more):
    """A process that end_all ends."""
    process = subprocess.Popen(command, **more)
    processes.append(process)
    return process


def wait_for_port(port, process):
    while True:
        if process.poll() is not None:
            sys.exit(f"{process.args[0]} has ended")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.01)


def pss_kib(pid):
    """What a process takes of memory, its part of what it shares with others included."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))


def end_all():
    for process in processes:
        process.send_signal(signal.SIGKILL)
    for process in processes:
        process.wait()
