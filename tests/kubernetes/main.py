"""Opens the cluster and runs what is asked for in it: scripts/test-kubernetes starts this in namespaces of its own."""

import os
import signal
import subprocess
import sys
import time

import manifests
import network
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


def main():
    mode, folder = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # By itself, mount, etcd and the rest may not be found where /usr/sbin is not searched.
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    open_machine(folder)
    step("The control plane")
    plane = Plane(os.environ["FLOWGATE_CONTROL_PLANE"], folder)
    print(f"   Kubernetes {plane.api.get('/version')['gitVersion']}", flush=True)
    if mode != "shell":
        step("What the API server says of deploy/")
        manifests.check(plane)
    if mode == "manifests":
        return
    node = Node(plane, folder, is_loud=mode != "shell")
    step("The chart, three replicas")
    installed = Installed(plane, node, {})
    print(f"   ready: {installed.address()}", flush=True)
    if mode == "shell":
        subprocess.run(["bash"], env=os.environ | {"KUBECONFIG": plane.kubeconfig})


if __name__ == "__main__":
    main()
