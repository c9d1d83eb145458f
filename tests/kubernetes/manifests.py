"""What the API server says of deploy/: everything is applied with strict validation, and no warning is let pass."""

import os
import subprocess

from images import ROOT
from node import wait_until

CHART = os.path.join(ROOT, "deploy", "helm", "flowgate")
KUSTOMIZATION = os.path.join(ROOT, "deploy", "kustomize")
EVERYTHING = os.path.join(ROOT, "tests", "kubernetes", "everything.yaml")
PYTHON_DIR = os.environ["FLOWGATE_PYTHON_DIR"]
# So strict is Pod Security with pods here; of a Deployment it only warns.
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}


class Refused(Exception):
    """The API server refused it, or warned of it."""


def helm(plane, *words):
    """Helm's output; the test ends where it fails."""
    command = [os.path.join(PYTHON_DIR, "bin", "helm"), *words]
    done = subprocess.run(command, capture_output=True, text=True,
                          env=os.environ | {"KUBECONFIG": plane.kubeconfig, "HELM_CACHE_HOME": plane.folder,
                                            "HELM_CONFIG_HOME": plane.folder, "HELM_DATA_HOME": plane.folder})
    if done.returncode != 0 or "WARNING" in done.stderr or "Warning" in done.stderr:
        raise SystemExit(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def namespace(plane, name):
    plane.api.call("POST", "/api/v1/namespaces", {
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}})
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    wait_until(f"the controllers make {name}'s account", lambda: plane.finds(account), 60)


def apply(plane, space, source, text=None, *more):
    """What was applied, a line for each; `Refused` where anything was not taken without a word."""
    command = [os.path.join(plane.programs, "kubectl"), "--kubeconfig", plane.kubeconfig, "--namespace", space, "apply",
               "--server-side", "--validate=strict", *source, *more]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode != 0 or "Warning" in done.stderr:
        raise Refused(done.stderr.strip())
    return done.stdout.splitlines()


def _both(plane, space, what, source, text=None):
    """First only said, then done."""
    try:
        said = apply(plane, space, source, text, "--dry-run=server")
        done = apply(plane, space, source, text)
    except Refused as error:
        raise SystemExit(f"{what}: {error}") from error
    if not done or len(said) != len(done):
        raise SystemExit(f"{what}: {len(said)} were said and {len(done)} applied")
    print(f"   {what}: {len(done)} objects", flush=True)


def _bad_ones_are_refused(plane, space, text):
    """That the check can fail: the same chart with one fault each."""
    faults = {
        "an unknown field": ("maxUnavailable: 1\n", "maxUnavailable: 1\n  maxUnavailible: 1\n"),
        "a wrong type": ("  replicas: 3\n", '  replicas: "three"\n'),
        "a selector that does not fit": ("  selector:\n    matchLabels:\n", "  selector:\n    matchLabels:\n      other: one\n"),
        "a mount of no volume": ("- { name: configuration, mountPath", "- { name: configurations, mountPath"),
        "a pod that may become root": ("allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true"),
        "a wrong address": ("cidr: 0.0.0.0/0", "cidr: 0.0.0.0/99"),
    }
    for fault, (before, after) in faults.items():
        if before not in text:
            raise SystemExit(f"{fault}: the chart has no {before!r} any more; change this test")
        try:
            apply(plane, space, ["-f", "-"], text.replace(before, after), "--dry-run=server")
        except Refused as error:
            print(f"   {fault} is refused: {str(error).splitlines()[0][:150]}", flush=True)
        else:
            raise SystemExit(f"{fault} was let pass")


def check(plane):
    plane.kubectl("apply", "--server-side", "-f", os.path.join(ROOT, "tests", "kubernetes", "servicemonitors.yaml"))
    plane.kubectl("wait", "--for=condition=Established", "crd/servicemonitors.monitoring.coreos.com", "--timeout=60s")
    for name, values in (("defaults", []), ("everything", ["--values", EVERYTHING])):
        namespace(plane, name)
        text = helm(plane, "template", "flowgate", CHART, "--namespace", name, *values)
        if name == "defaults":
            _bad_ones_are_refused(plane, name, text)
        _both(plane, name, f"the chart, {name}", ["-f", "-"], text)
        plane.kubectl("delete", "namespace", name, "--wait=false")
    namespace(plane, "flowgate")
    _both(plane, "flowgate", "the kustomization", ["-k", KUSTOMIZATION])
    plane.kubectl("delete", "-k", KUSTOMIZATION, "--namespace", "flowgate")
    plane.kubectl("delete", "namespace", "flowgate", "--wait=false")
    for name in ("defaults", "everything", "flowgate"):
        wait_until(f"the namespace {name} is gone", lambda: not plane.finds(f"/api/v1/namespaces/{name}"), 180)
