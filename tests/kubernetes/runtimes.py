"""Runtimes of the scenario: Node-RED with the sample flows; how many were started, and one that is made by hand."""

import os
import threading

import yaml

import manifests
from api import Follower
from images import ROOT

SPACE = "flowgate"
SAMPLES = os.path.join(ROOT, "scripts", "runtimes")
COMPOSE = os.path.join(ROOT, "deploy", "compose")
COMPONENT = "flowgate-runtime"


def settings(plane, space):
    """The ConfigMap with what Node-RED reads at its start, as in deploy/compose."""
    files = [os.path.join(SAMPLES, "settings.js"), os.path.join(SAMPLES, "flows.json"),
             os.path.join(COMPOSE, "container.js")]
    plane.kubectl("--namespace", space, "create", "configmap", "samples", *(f"--from-file={file}" for file in files))


def values(plane, version):
    """The chart's own template with the sample flows in the place of none, and a label that tells which one it is."""
    made = manifests.helm(plane, "template", "flowgate", manifests.CHART, "--set", "runtimes.kubernetes.enabled=true",
                          "--show-only", "templates/runtimes.yaml")
    config = next(one for one in yaml.safe_load_all(made) if one["kind"] == "ConfigMap")
    said = yaml.safe_load(config["data"]["template.yaml"])
    said["spec"]["template"]["metadata"]["labels"]["version"] = version
    pod = said["spec"]["template"]["spec"]
    pod.setdefault("volumes", []).append({"name": "samples", "configMap": {"name": "samples"}})
    pod["containers"][0]["volumeMounts"].append(
        {"name": "samples", "mountPath": "/data/flows.json", "subPath": "flows.json"})
    return {"runtimes": {"kubernetes": {"enabled": True, "template": yaml.safe_dump(said)}}}


def by_hand(plane, username):
    """A runtime of the provider `static`, as docs/kubernetes.md has an operator make it."""
    labels = {"app.kubernetes.io/component": COMPONENT, "tenant": username}
    plane.api.call("POST", f"/api/v1/namespaces/{SPACE}/services", {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": username},
        "spec": {"clusterIP": "None", "selector": labels, "ports": [{"port": 1880}]}})
    plane.api.call("POST", f"/apis/apps/v1/namespaces/{SPACE}/statefulsets", {
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": username},
        "spec": {"serviceName": username, "replicas": 1, "selector": {"matchLabels": labels},
                 "template": {"metadata": {"labels": labels}, "spec": pod_spec(username)},
                 "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                     "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Mi"}}}}]}})


def pod_spec(username):
    return {
        "automountServiceAccountToken": False, "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000,
                            "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "runtime", "image": "nodered/node-red:4.1", "args": ["--settings", "/runtime/container.js"],
            "env": [{"name": "RUNTIME_NAME", "value": username}],
            "ports": [{"containerPort": 1880}],
            "readinessProbe": {"httpGet": {"path": "/api/public/hello", "port": 1880}, "periodSeconds": 1},
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [{"name": "data", "mountPath": "/data"},
                             {"name": "samples", "mountPath": "/runtime", "readOnly": True}]}],
        "volumes": [{"name": "samples", "configMap": {"name": "samples"}}]}


class Seen:
    """All pods of runtimes that there ever were, by the StatefulSet that made them."""

    def __init__(self, api):
        self.lock, self.pods = threading.Lock(), {}
        self.follower = Follower(api, f"/api/v1/namespaces/{SPACE}/pods", self._take,
                                 labelSelector=f"app.kubernetes.io/component={COMPONENT}")
        self.follower.has_listed.wait()

    def _take(self, thing, is_gone):
        owner = thing["metadata"]["ownerReferences"][0]["name"]
        with self.lock:
            self.pods.setdefault(owner, {})[thing["metadata"]["uid"]] = thing

    def starts(self):
        """How often each was started: its pods, and restarts of their containers."""
        with self.lock:
            return {owner: sum(1 + max((one["restartCount"] for one in pod.get("status", {}).get(
                "containerStatuses", [])), default=0) for pod in pods.values()) for owner, pods in self.pods.items()}

    def now(self):
        return self.follower.all()
