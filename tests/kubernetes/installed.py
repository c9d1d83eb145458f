"""flowgate as the chart installs it, and operated over its admin API."""

import hashlib
import json
import os
import secrets
import urllib.error
import urllib.request

import manifests
import runtimes
from node import wait_until
from runtimes import SPACE

BASE_DOMAIN = "flows.example.org"
ADMIN_PORT = 9180
READY_S = 180
REPLICAS = 3
DRAIN_S = 8
VALUES = {
    "baseDomain": BASE_DOMAIN, "secrets": {"adminTokens": "operators"}, "drainDelaySeconds": 2,
    "drainTimeoutSeconds": DRAIN_S, "redis": {"storage": "100Mi"}, "settings": {"wake_timeout": "5m"},
}


def is_ready(pod):
    """Whether traffic goes to it."""
    conditions = {one["type"]: one["status"] for one in pod.get("status", {}).get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


class Installed:
    def __init__(self, plane, node):
        self.plane, self.node, self.api = plane, node, plane.api
        self.values = VALUES | runtimes.values(plane, "one")
        manifests.namespace(plane, SPACE)
        runtimes.settings(plane, SPACE)
        self.token = self._make_token()
        self._helm("install")
        self.wait_for_replicas(REPLICAS)

    # --- The chart ------------------------------------------------------------------------------------------------

    def _make_token(self):
        """As docs/kubernetes.md has it: the line is kept in a Secret, the token is told on standard error."""
        token = "fga_" + secrets.token_urlsafe(32)
        line = f"ada admin sha256:{hashlib.sha256(token.encode()).hexdigest()}\n"
        path = os.path.join(self.plane.folder, "tokens")
        with open(path, "w") as out:
            out.write(line)
        self.plane.kubectl("--namespace", SPACE, "create", "secret", "generic", "operators", f"--from-file=tokens={path}")
        return token

    def _helm(self, what, *words):
        path = os.path.join(self.plane.folder, "values.json")
        with open(path, "w") as out:
            json.dump(self.values, out)
        return manifests.helm(self.plane, what, "flowgate", manifests.CHART, "--namespace", SPACE, "--timeout", "4m",
                              "--values", path, *words)

    def upgrade(self, more):
        """Returns at once: the pods are replaced by and by."""
        self.values |= more
        self._helm("upgrade")

    def pods(self, component="relay"):
        return [pod for pod in self.node.follower.all()
                if pod["metadata"].get("labels", {}).get("app.kubernetes.io/component") == component]

    def wait_for_replicas(self, count):
        def are_ready():
            pods = self.pods()
            return len(pods) == count and all(is_ready(pod) for pod in pods)

        wait_until(f"{count} replicas are ready, and no more are there", are_ready, READY_S, self.node)

    def deployment(self):
        return self.api.get(f"/apis/apps/v1/namespaces/{SPACE}/deployments/flowgate")

    def address(self):
        """The Service's, for clients."""
        return self.api.get(f"/api/v1/namespaces/{SPACE}/services/flowgate")["spec"]["clusterIP"]

    # --- The admin API --------------------------------------------------------------------------------------------

    def ask(self, method, path, body=None):
        """Of any replica that is ready."""
        address = next(pod["status"]["podIP"] for pod in self.pods() if is_ready(pod))
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://{address}:{ADMIN_PORT}/admin/v1{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{method} {path}: {error.code} {error.read().decode()}") from error

    def add_tenant(self, username, key, instance, plan):
        self.ask("PUT", f"/tenants/{username}", {"api_key": key, "instance": instance, "plan": plan})

    def runtimes(self):
        """What flowgate says of the runtimes that it owns, by their tenants' names."""
        return {one["tenant"]: one for one in self.ask("GET", "/runtimes?limit=100")["runtimes"]}
