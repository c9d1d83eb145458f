"""A pod's volumes as folders of this machine, and its containers' environment."""

import base64
import os
import re
import shutil

from api import Failed
from container import WrongSpec
from network import API_ADDRESS, NODE_ADDRESS

# Where the volumes of claims are, below the cluster's folder.
CLAIMS = "claims"


class Missing(WrongSpec):
    """What the pod names is not there yet; it is waited for."""

    def __init__(self, message):
        super().__init__("CreateContainerConfigError", message)


def _fetch(api, kind, namespace, name, is_optional):
    try:
        return api.get(f"/api/v1/namespaces/{namespace}/{kind}/{name}")
    except Failed as error:
        if error.status != 404:
            raise
        if is_optional:
            return None
        raise Missing(f"{kind} {name} is not there") from error


def _values(api, kind, namespace, name, is_optional=False):
    """The bytes of a Secret or a ConfigMap by their keys; None where it is not there and need not be."""
    thing = _fetch(api, kind, namespace, name, is_optional)
    if thing is None:
        return None
    values = {key: base64.b64decode(value) for key, value in (thing.get("binaryData") or {}).items()}
    for key, value in (thing.get("data") or {}).items():
        values[key] = base64.b64decode(value) if kind == "secrets" else value.encode()
    return values


def field(pod, path):
    """A field of the pod, as the downward API names it."""
    found = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
    if found:
        return pod["metadata"].get(found[1], {}).get(found[2], "")
    for part in path.split("."):
        pod = pod[part]
    return str(pod)


def _picked(values, items):
    """Paths and bytes: all by their keys, or those that are named."""
    if items is None:
        return dict(values)
    return {item["path"]: values[item["key"]] for item in items if item["key"] in values}


def _projected(api, pod, sources):
    namespace, files = pod["metadata"]["namespace"], {}
    for source in sources:
        if "serviceAccountToken" in source:
            asked = source["serviceAccountToken"]
            spec = {"expirationSeconds": asked.get("expirationSeconds", 3600), "audiences": (
                [asked["audience"]] if "audience" in asked else None),
                "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": pod["metadata"]["name"],
                                   "uid": pod["metadata"]["uid"]}}
            account = pod["spec"].get("serviceAccountName", "default")
            answer = api.call("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token",
                              {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})
            files[asked["path"]] = answer["status"]["token"].encode()
        elif "downwardAPI" in source:
            for item in source["downwardAPI"]["items"]:
                files[item["path"]] = field(pod, item["fieldRef"]["fieldPath"]).encode()
        elif "configMap" in source or "secret" in source:
            kind = "configMap" if "configMap" in source else "secret"
            named = source[kind]
            values = _values(api, f"{kind.lower()}s", namespace, named["name"], named.get("optional", False))
            files |= _picked(values or {}, named.get("items"))
        else:
            raise WrongSpec("CreateContainerConfigError", f"unknown source: {sorted(source)}")
    return files


def _write(folder, files, mode, group):
    """As on a volume of the kubelet's: root's, and for the pod's group to read."""
    os.makedirs(folder, exist_ok=True)
    for path, data in files.items():
        target = os.path.join(folder, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as out:
            out.write(data)
        os.chmod(target, mode | (0o440 if group is not None else 0))
        if group is not None:
            os.chown(target, 0, group)


def _own(folder, group):
    """A folder to write in, for the pod's group."""
    if group is None:
        os.chmod(folder, 0o777)
        return
    for path, _, files in os.walk(folder):
        os.chown(path, -1, group)
        os.chmod(path, 0o2775)
        for name in files:
            os.chown(os.path.join(path, name), -1, group, follow_symlinks=False)


def make(api, pod, folder, claims_folder):
    """Folders of the pod's volumes by their names. `Missing` where something has to come first."""
    namespace, made = pod["metadata"]["namespace"], {}
    group = pod["spec"].get("securityContext", {}).get("fsGroup")
    for volume in pod["spec"].get("volumes", []):
        name = volume["name"]
        at = os.path.join(folder, name)
        if "emptyDir" in volume:
            os.makedirs(at, exist_ok=True)
            _own(at, group)
        elif "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]["claimName"]
            thing = _fetch(api, "persistentvolumeclaims", namespace, claim, False)
            if thing.get("status", {}).get("phase") != "Bound":
                raise Missing(f"the claim {claim} is not bound")
            at = os.path.join(claims_folder, thing["spec"]["volumeName"])
            os.makedirs(at, exist_ok=True)
            _own(at, group)
        elif "configMap" in volume:
            said = volume["configMap"]
            values = _values(api, "configmaps", namespace, said["name"], said.get("optional", False))
            _write(at, _picked(values or {}, said.get("items")), said.get("defaultMode", 0o644), group)
        elif "secret" in volume:
            said = volume["secret"]
            values = _values(api, "secrets", namespace, said["secretName"], said.get("optional", False))
            _write(at, _picked(values or {}, said.get("items")), said.get("defaultMode", 0o644), group)
        elif "projected" in volume:
            said = volume["projected"]
            _write(at, _projected(api, pod, said["sources"]), said.get("defaultMode", 0o644), group)
        else:
            raise WrongSpec("CreateContainerConfigError", f"unknown volume: {sorted(volume)}")
        made[name] = at
    return made


def mounts(container, folders):
    """What a container mounts: source, place, whether only to read."""
    found = []
    for mount in container.get("volumeMounts", []):
        source = os.path.join(folders[mount["name"]], mount.get("subPath", "")).rstrip("/")
        if not os.path.exists(source):
            if "subPath" not in mount:
                raise Missing(f"{source} is not there")
            os.makedirs(source)
        found.append((source, mount["mountPath"], mount.get("readOnly", False)))
    return found


def environment(api, pod, container):
    """A container's variables. What is not known here is an error, not left out."""
    namespace = pod["metadata"]["namespace"]
    told = {"HOSTNAME": pod["metadata"]["name"], "KUBERNETES_SERVICE_HOST": API_ADDRESS,
            "KUBERNETES_SERVICE_PORT": "443", "KUBERNETES_SERVICE_PORT_HTTPS": "443"}
    for source in container.get("envFrom", []):
        kind = "configMapRef" if "configMapRef" in source else "secretRef"
        values = _values(api, "configmaps" if kind == "configMapRef" else "secrets", namespace, source[kind]["name"],
                         source[kind].get("optional", False))
        for key, value in (values or {}).items():
            told[source.get("prefix", "") + key] = value.decode()
    for one in container.get("env", []):
        source = one.get("valueFrom")
        if source is None:
            text = re.sub(r"\$\(([A-Za-z0-9_.-]+)\)", lambda it: told.get(it[1], it[0]), one.get("value", ""))
        elif "fieldRef" in source:
            pod_with_status = pod | {"status": pod.get("status", {}) | {"hostIP": NODE_ADDRESS}}
            text = field(pod_with_status, source["fieldRef"]["fieldPath"])
        elif "secretKeyRef" in source or "configMapKeyRef" in source:
            kind = "secretKeyRef" if "secretKeyRef" in source else "configMapKeyRef"
            named = source[kind]
            values = _values(api, "secrets" if kind == "secretKeyRef" else "configmaps", namespace, named["name"],
                             named.get("optional", False)) or {}
            if named["key"] not in values:
                if named.get("optional"):
                    continue
                raise Missing(f"{named['name']} has no key {named['key']}")
            text = values[named["key"]].decode()
        else:
            raise WrongSpec("CreateContainerConfigError", f"unknown source of {one['name']}: {sorted(source)}")
        told[one["name"]] = text
    return told


def remove(folder):
    shutil.rmtree(folder, ignore_errors=True)
