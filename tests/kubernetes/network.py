"""The cluster's network: a bridge on which the node, the services and each pod have addresses. It is in the network
namespace in which the test runs, so nothing of it is seen outside and all of it goes with the test."""

import ipaddress
import itertools
import subprocess
import threading

BRIDGE = "cluster0"
NODE_ADDRESS = "10.244.0.1"
POD_RANGE = "10.244.0.0/16"
SERVICE_RANGE = "10.96.0.0/16"
# By convention the first one is the API server's and the tenth one answers for names.
API_ADDRESS = "10.96.0.1"
DNS_ADDRESS = "10.96.0.10"

_pod_numbers = itertools.count(256)
_numbers_lock = threading.Lock()


def ip(*batches, check=True):
    """Commands of ip(8), a line each."""
    done = subprocess.run(["ip", "-batch", "-"], input="\n".join(batches) + "\n", capture_output=True, text=True)
    if check and done.returncode != 0:
        raise OSError(f"ip: {done.stderr.strip()} in {batches}")


def open_cluster():
    """Once, before all else."""
    ip(
        # Without an address of its own it has the lowest of its ports', and pods lose it when ports come and go.
        "link set lo up", f"link add {BRIDGE} address 02:00:0a:f4:00:01 type bridge", f"link set {BRIDGE} up",
        f"addr add {NODE_ADDRESS}/16 dev {BRIDGE}", f"addr add {API_ADDRESS}/32 dev {BRIDGE}",
        f"addr add {DNS_ADDRESS}/32 dev {BRIDGE}",
    )


def add_service_address(address):
    ip(f"addr add {address}/32 dev {BRIDGE}")


def remove_service_address(address):
    ip(f"addr del {address}/32 dev {BRIDGE}", check=False)


class PodNetwork:
    """A network namespace with an address of its own, given away once."""

    def __init__(self):
        with _numbers_lock:
            number = next(_pod_numbers)
        self.name = f"pod{number}"
        self.address = str(ipaddress.ip_network(POD_RANGE)[number])
        ip(
            f"netns add {self.name}", f"link add {self.name} type veth peer name eth0 netns {self.name}",
            f"link set {self.name} master {BRIDGE} up",
        )
        inside = ["link set lo up", "link set eth0 up", f"addr add {self.address}/16 dev eth0",
                  f"route add default via {NODE_ADDRESS}"]
        done = subprocess.run(["ip", "-netns", self.name, "-batch", "-"], input="\n".join(inside) + "\n",
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise OSError(f"ip: {done.stderr.strip()}")

    def enter(self):
        """The words before a command that make it run there."""
        return ["nsenter", f"--net=/run/netns/{self.name}", "--"]

    def close(self):
        # Its end of the pair goes with it.
        ip(f"netns del {self.name}", check=False)
