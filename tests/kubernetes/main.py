"""Opens the cluster and runs what is asked for in it: scripts/test-kubernetes starts this in namespaces of its own."""

import os
import re
import signal
import subprocess
import sys
import time
import traceback

import manifests
import network
import scenario
from images import ROOT
from installed import Installed
from network import DNS_ADDRESS
from node import Node
from plane import Plane, run


def step(what):
    print(f"\n== {what} ({time.monotonic() - BEGIN:.0f} s)", flush=True)


BEGIN = time.monotonic()


def open_machine(folder):
    """What of the machine has to be another in here: names of networks, and who answers for names."""
    run("mount", "-t", "tmpfs", "run", "/run")
    text = os.path.join(folder, "resolv.conf")
    with open(text, "w") as out:
        out.write(f"nameserver {DNS_ADDRESS}\nsearch svc.cluster.local\n")
    settings = os.path.realpath("/etc/resolv.conf")
    os.makedirs(os.path.dirname(settings), exist_ok=True)
    with open(settings, "a"):
        run("mount", "--bind", text, settings)
    network.open_cluster()


def provider_tests(plane, folder, only):
    """Those of `cargo test` that need a cluster, in here."""
    path = os.path.join(folder, "provider.log")
    with open(path, "w") as log:
        done = subprocess.run(
            [os.environ["FLOWGATE_TESTS"], only, "--ignored", "--test-threads=4"], cwd=ROOT, stdout=log,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env=os.environ | {"FLOWGATE_KUBECONFIG": plane.kubeconfig})
    with open(path) as log:
        said = log.read()
    passed = re.search(r"^test result: ok\. (\d+) passed", said, re.MULTILINE)
    if done.returncode != 0 or not passed or passed[1] == "0":
        raise SystemExit(f"{said[-6000:]}\nthe provider's tests did not pass, or there are none")
    print(f"   {passed[1]} passed", flush=True)


def main():
    mode, folder, only = sys.argv[1:]
    # With this process, the first of its namespace, all others end.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    # By itself, mount, etcd and the rest may not be found where /usr/sbin is not searched.
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    open_machine(folder)
    step("The control plane")
    plane = Plane(os.environ["FLOWGATE_CONTROL_PLANE"], folder)
    print(f"   Kubernetes {plane.api.get('/version')['gitVersion']}", flush=True)
    if mode in ("test", "manifests"):
        step("What the API server says of deploy/")
        manifests.check(plane)
    if mode == "manifests":
        return
    node = Node(plane, folder)
    if mode in ("test", "provider"):
        step("The provider's own tests")
        provider_tests(plane, folder, only)
    if mode == "provider":
        return
    step("The chart, three replicas")
    installed = Installed(plane, node)
    print(f"   ready: http://{installed.address()}/", flush=True)
    if mode == "shell":
        subprocess.run(["bash"], env=os.environ | {"KUBECONFIG": plane.kubeconfig})
        return
    scenario.run(plane, node, installed, step)


if __name__ == "__main__":
    status = 0
    try:
        main()
    except SystemExit as end:
        status = 1
        print(end.code, flush=True)
    except BaseException:  # noqa: BLE001 - the last word, whatever it is
        status = 1
        traceback.print_exc()
    # Threads that still serve others are not waited for.
    sys.stdout.flush()
    os._exit(status)
