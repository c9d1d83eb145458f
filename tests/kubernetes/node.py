"""A small stand-in for kubelet, scheduler, storage and service network: one node that runs pods as local processes.

What is as in a cluster: each pod's own network and address, its mounts and user, probes, restarts, the grace period,
logs, claims, names and addresses of Services. What is not: no limits of memory and processor time, no NetworkPolicy
(the bridge lets everybody through), and backoffs are a tenth of the kubelet's."""

import os
import re
import sys
import threading
import time
import traceback

import volumes
from api import Api, Failed, Follower
from kubelet_api import KubeletApi
from network import NODE_ADDRESS
from pod import Pod
from services import Names, Proxies

NAME = "node-1"
CORES = 64
STORAGE_CLASS = "folders"
PROVISIONER = "flowgate.example/folders"


def _millicores(quantity):
    """A quantity, as the API server writes it."""
    number, unit = re.fullmatch(r"([0-9.]+)([mkMGTPE]?)", str(quantity)).groups()
    return float(number) * 1000.0 ** "m kMGTPE".index(unit or " ")


class Node:
    def __init__(self, plane, folder):
        self.plane, self.folder = plane, folder
        self.log = open(os.path.join(folder, "node.log"), "w", buffering=1)  # noqa: SIM115 - to the end of the process
        self.api = Api(plane.server, plane.authority.certificate, *plane.admin)
        self.claims = os.path.join(folder, volumes.CLAIMS)
        os.makedirs(self.claims)
        self.pods, self.over, self.lock, self.failures = {}, set(), threading.Lock(), []
        # A thread that ends in silence would leave the test waiting for what it does not do any more.
        threading.excepthook = self._thread_failed
        self.kubelet = KubeletApi(self, plane.authority)
        self._register()
        slices = Follower(self.api, "/apis/discovery.k8s.io/v1/endpointslices")
        self.names = Names(Follower(self.api, "/api/v1/services", Proxies(slices).take), slices)
        Follower(self.api, "/api/v1/pods", self._bind, fieldSelector="spec.nodeName=")
        self.follower = Follower(self.api, "/api/v1/pods", self._take, fieldSelector=f"spec.nodeName={NAME}")
        Follower(self.api, "/api/v1/persistentvolumeclaims", self._provide)
        Follower(self.api, "/api/v1/persistentvolumes", self._reclaim)

    # --- What went wrong, and what is told -----------------------------------------------------------------------

    def say(self, what):
        self.log.write(f"{time.strftime('%H:%M:%S')} {what}\n")

    def fail(self, what):
        """A fault of the stand-in itself: the test must not go on as if nothing had been."""
        self.failures.append(what)
        self.say(what)
        print(f"   node: {what}", file=sys.stderr, flush=True)

    def _thread_failed(self, told):
        where = "".join(traceback.format_exception(told.exc_type, told.exc_value, told.exc_traceback))
        self.fail(f"{told.thread.name if told.thread else 'a thread'}: {where}")

    # --- The node -------------------------------------------------------------------------------------------------

    def _register(self):
        self.api.call("POST", "/api/v1/nodes", {
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": NAME, "labels": {
                "kubernetes.io/hostname": NAME, "kubernetes.io/os": "linux", "topology.kubernetes.io/zone": "zone-1"}}})
        room = {"cpu": str(CORES), "memory": "256Gi", "pods": "500", "ephemeral-storage": "100Gi"}
        self.api.patch(f"/api/v1/nodes/{NAME}/status", {"status": {
            "capacity": room, "allocatable": room,
            "addresses": [{"type": "InternalIP", "address": NODE_ADDRESS}, {"type": "Hostname", "address": NAME}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.kubelet.port}},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "a stand-in"}]}})
        self.api.patch(f"/api/v1/nodes/{NAME}", {"spec": {"taints": None}})
        self.api.call("POST", "/apis/storage.k8s.io/v1/storageclasses", {
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": PROVISIONER,
            "metadata": {"name": STORAGE_CLASS,
                         "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}})

    # --- As the scheduler -----------------------------------------------------------------------------------------

    def _bind(self, thing, is_gone):
        """Every pod has room here, but one that asks for more than the node has."""
        if is_gone or "deletionTimestamp" in thing["metadata"]:
            return
        name, namespace = thing["metadata"]["name"], thing["metadata"]["namespace"]
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        asked = sum(_millicores(one.get("resources", {}).get("requests", {}).get("cpu", 0))
                    for one in thing["spec"]["containers"])
        try:
            if asked > CORES * 1000:
                condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                             "message": "0/1 nodes are available: 1 Insufficient cpu."}
                if condition not in thing.get("status", {}).get("conditions", []):
                    self.api.patch(f"{path}/status", {"status": {"conditions": [condition]}})
                return
            self.api.call("POST", f"{path}/binding", {
                "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, "uid": thing["metadata"]["uid"]},
                "target": {"apiVersion": "v1", "kind": "Node", "name": NAME}})
        except Failed as error:
            if error.status not in (404, 409):
                self.fail(f"pod {name} cannot be bound: {error}")

    # --- As the kubelet -------------------------------------------------------------------------------------------

    def _take(self, thing, is_gone):
        uid = thing["metadata"]["uid"]
        with self.lock:
            known = self.pods.get(uid)
            # Of one that has ended here the watch tells for a moment longer.
            if known is None and not is_gone and uid not in self.over:
                self.pods[uid] = Pod(self, thing)
            if is_gone:
                self.over.discard(uid)
        if known is not None:
            known.update(thing)
            if is_gone:
                known.forget()

    def ended(self, pod):
        with self.lock:
            self.pods.pop(pod.uid, None)
            if not pod.is_gone:
                self.over.add(pod.uid)

    def find(self, namespace, name):
        """The pod of that name that runs here; None where there is none."""
        with self.lock:
            return next((pod for pod in self.pods.values() if (pod.namespace, pod.name) == (namespace, name)), None)

    # --- As a driver of storage -----------------------------------------------------------------------------------

    def _provide(self, thing, is_gone):
        """A volume for each claim of our class; the controllers bind the two."""
        spec, metadata = thing["spec"], thing["metadata"]
        if is_gone or spec.get("storageClassName") != STORAGE_CLASS or spec.get("volumeName"):
            return
        name = f"pvc-{metadata['uid']}"
        try:
            self.api.call("POST", "/api/v1/persistentvolumes", {
                "apiVersion": "v1", "kind": "PersistentVolume",
                "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
                "spec": {"capacity": spec["resources"]["requests"], "accessModes": spec["accessModes"],
                         "persistentVolumeReclaimPolicy": "Delete", "storageClassName": STORAGE_CLASS,
                         "hostPath": {"path": os.path.join(self.claims, name)},
                         "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": metadata["name"],
                                      "namespace": metadata["namespace"], "uid": metadata["uid"]}}})
        except Failed as error:
            if error.status != 409:
                self.fail(f"the claim {metadata['name']} gets no volume: {error}")

    def _reclaim(self, thing, is_gone):
        if is_gone or thing.get("status", {}).get("phase") != "Released":
            return
        name = thing["metadata"]["name"]
        volumes.remove(os.path.join(self.claims, name))
        try:
            self.api.call("DELETE", f"/api/v1/persistentvolumes/{name}")
        except Failed as error:
            if error.status != 404:
                self.fail(f"the volume {name} stays: {error}")


def wait_until(what, is_so, seconds, node=None):
    """Until it is so; the test ends where it does not become so in time, or the node has failed."""
    end = time.monotonic() + seconds
    while True:
        found = is_so()
        if found:
            return found
        if node is not None and node.failures:
            raise SystemExit(f"the node failed: {node.failures}")
        if time.monotonic() > end:
            raise SystemExit(f"not within {seconds} s: {what}")
        time.sleep(0.1)
