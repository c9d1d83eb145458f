"""The life of one pod on the node: its volumes, network and containers, told to the API server, to its end."""

import os
import shlex
import signal
import threading
import time

import images
import volumes
from api import Failed
from container import Container, WrongSpec, stamp
from network import DNS_ADDRESS, NODE_ADDRESS, PodNetwork
from probes import Prober, http_is_well

# Between two starts of a container that ended: as the kubelet's, but a tenth of its time.
BACKOFF_S = [0, 1, 2, 4, 5]
# Who ran so long begins with the first again.
STEADY_S = 60
RETRY_S = 0.3


class Deleted(Exception):
    """Somebody wants it gone."""


class Pod:
    def __init__(self, node, thing):
        self.node, self.api, self.thing = node, node.api, thing
        self.uid, self.name = thing["metadata"]["uid"], thing["metadata"]["name"]
        self.namespace = thing["metadata"]["namespace"]
        self.path = f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"
        self.folder = os.path.join(node.folder, "pods", self.uid)
        self.spec = thing["spec"]
        self.changed, self.is_gone = threading.Event(), False
        self.network, self.containers, self.first = None, [], []
        self.told, self.since, self.started_at = None, {}, stamp(time.time())
        threading.Thread(target=self._live, name=self.name, daemon=True).start()

    def update(self, thing):
        self.thing = thing
        self.changed.set()

    def forget(self):
        """It was taken from the API server without waiting for us."""
        self.is_gone = True
        self.changed.set()

    def container(self, name):
        return next((one for one in self.first + self.containers if one.name == name), None)

    # --- Its life ----------------------------------------------------------------------------------------------

    def _live(self):
        phase = "Pending"
        try:
            self._make()
            for container in self.first:
                self._until_done(container)
            phase = self._run()
            # What has ended stays until somebody wants it gone.
            self._tell(phase)
            while True:
                self._pause(10)
        except Deleted:
            self._end(phase)

    def _pause(self, seconds):
        """Until something changed; `Deleted` where that is the pod's end."""
        self.changed.wait(seconds)
        self.changed.clear()
        if self.is_gone or "deletionTimestamp" in self.thing["metadata"]:
            raise Deleted

    def _make(self):
        os.makedirs(self.folder)
        make = lambda spec: Container(spec, os.path.join(self.folder, spec["name"]), self.changed.set)  # noqa: E731
        self.first = [make(spec) for spec in self.spec.get("initContainers", [])]
        self.containers = [make(spec) for spec in self.spec["containers"]]
        self.network = PodNetwork()
        self._write_settings()
        while True:
            try:
                self.folders = volumes.make(self.api, self.thing, os.path.join(self.folder, "volumes"),
                                            self.node.claims)
                return
            except volumes.Missing:
                self._tell("Pending")
            self._pause(RETRY_S)

    def _write_settings(self):
        """What the kubelet writes into /etc."""
        self.etc = os.path.join(self.folder, "etc")
        os.makedirs(self.etc)
        own = self.spec.get("dnsConfig", {})
        options = {"ndots": "5"} | {one["name"]: one.get("value", "") for one in own.get("options", [])}
        words = " ".join(f"{name}:{value}" if value else name for name, value in options.items())
        search = " ".join([f"{self.namespace}.svc.cluster.local", "svc.cluster.local", "cluster.local",
                           *own.get("searches", [])])
        texts = {"hostname": self.name, "hosts": f"127.0.0.1 localhost\n{self.network.address} {self.name}",
                 "resolv.conf": f"nameserver {DNS_ADDRESS}\nsearch {search}\noptions {words}"}
        for name, text in texts.items():
            with open(os.path.join(self.etc, name), "w") as out:
                out.write(text + "\n")

    def _until_done(self, container):
        while True:
            self._tend(container, "Never" if self.spec.get("restartPolicy") == "Never" else "OnFailure")
            ended = container.state.get("terminated")
            if ended and ended["exitCode"] == 0:
                container.is_ready = True
                return
            self._tell("Pending")
            self._pause(RETRY_S)

    def _run(self):
        """Until all containers have ended for good; how."""
        policy = self.spec.get("restartPolicy", "Always")
        while True:
            for container in self.containers:
                self._tend(container, policy)
            ends = [container.state.get("terminated") for container in self.containers]
            if all(ends) and policy != "Always":
                if all(end["exitCode"] == 0 for end in ends):
                    return "Succeeded"
                if policy == "Never":
                    return "Failed"
            has_run = any(one.process is not None or one.ends for one in self.containers)
            self._tell("Running" if has_run else "Pending")
            self._pause(RETRY_S)

    def _tend(self, container, policy):
        """Starts it if it is due, and notes its end."""
        if container.has_ended():
            ran_s = time.time() - container.started_at
            code = container.take_end()
            self.node.say(f"{self.name}/{container.name}: has ended with {code}")
            if policy == "Never" or (policy == "OnFailure" and code == 0):
                return
            container.series = 0 if ran_s > STEADY_S else getattr(container, "series", -1) + 1
            delay_s = BACKOFF_S[min(container.series, len(BACKOFF_S) - 1)]
            container.next_start = time.monotonic() + delay_s
            container.last_state = container.state
            if delay_s:
                container.state = {"waiting": {"reason": "CrashLoopBackOff", "message":
                                               f"back-off {delay_s}s restarting failed container={container.name}"}}
        is_over = "terminated" in container.state and container.state is not container.last_state
        if container.process is None and not is_over and time.monotonic() >= container.next_start:
            self._start(container)

    def _start(self, container):
        pod = self.thing | {"status": self.thing.get("status", {}) | {"podIP": self.network.address}}
        try:
            container.start(
                self.network, self.spec.get("securityContext", {}), volumes.mounts(container.spec, self.folders),
                volumes.environment(self.api, pod, container.spec), self.etc)
        except images.NoImage as error:
            was = container.state.get("waiting", {}).get("reason")
            reason = "ImagePullBackOff" if was in ("ErrImagePull", "ImagePullBackOff") else "ErrImagePull"
            container.state = {"waiting": {"reason": reason, "message": str(error)}}
            container.next_start = time.monotonic() + 1
            return
        except WrongSpec as error:
            container.state = {"waiting": {"reason": error.reason, "message": str(error)}}
            container.next_start = time.monotonic() + 1
            return
        container.restarts = container.ends
        self.node.say(f"{self.name}/{container.name}: started")
        Prober(self.network.address, container, self.changed.set, lambda why: self._stop(container, why))

    # --- Its end -----------------------------------------------------------------------------------------------

    def _end(self, phase):
        grace_s = self.thing["metadata"].get("deletionGracePeriodSeconds", 30)
        if not self.is_gone:
            self._tell(phase)
        stops = [threading.Thread(target=self._stop, args=(container, "deleted", grace_s), daemon=True)
                 for container in self.containers + self.first if container.process is not None]
        for stop in stops:
            stop.start()
        for stop in stops:
            stop.join()
        if self.network is not None:
            self.network.close()
        volumes.remove(os.path.join(self.folder, "volumes"))
        if not self.is_gone:
            self._delete()
        self.node.ended(self)

    def _delete(self):
        """Says that nothing of it is left."""
        while True:
            try:
                self.api.call("DELETE", self.path, {"apiVersion": "v1", "kind": "DeleteOptions",
                                                    "gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}})
                return
            except Failed as error:
                if error.status in (404, 409):
                    return
                time.sleep(RETRY_S)

    def _stop(self, container, why, grace_s=None):
        """Asks, waits for the grace period, insists."""
        process = container.process
        if process is None:
            return
        end = time.monotonic() + (self.spec.get("terminationGracePeriodSeconds", 30) if grace_s is None else grace_s)
        self.node.say(f"{self.name}/{container.name}: to be ended ({why})")
        hook = container.spec.get("lifecycle", {}).get("preStop")
        if hook and time.monotonic() < end:
            self._run_hook(container, hook, end - time.monotonic())
        container.send(signal.SIGTERM)
        while process.poll() is None and time.monotonic() < end and not (self.is_gone and why != "deleted"):
            time.sleep(0.05)
        if process.poll() is None:
            self.node.say(f"{self.name}/{container.name}: killed, its grace period is over")
            container.send(signal.SIGKILL)
            process.wait()

    def _run_hook(self, container, hook, left_s):
        if "exec" in hook:
            container.execute(hook["exec"]["command"], left_s)
        elif "sleep" in hook:
            time.sleep(min(hook["sleep"]["seconds"], left_s))
        elif "httpGet" in hook:
            http_is_well(self.network.address, container, hook["httpGet"], left_s)
        else:
            self.node.fail(f"pod {self.name}: unknown hook {shlex.join(hook)}")

    # --- What the API server is told -----------------------------------------------------------------------------

    def _conditions(self, phase):
        is_initialized = all(one.state.get("terminated", {}).get("exitCode") == 0 for one in self.first)
        is_ready = phase == "Running" and all(one.is_ready for one in self.containers)
        states = {"PodReadyToStartContainers": self.network is not None, "Initialized": is_initialized,
                  "ContainersReady": is_ready, "Ready": is_ready, "PodScheduled": True}
        said = []
        for kind, is_so in states.items():
            was, since = self.since.get(kind, (None, None))
            if was != is_so:
                since = stamp(time.time())
                self.since[kind] = (is_so, since)
            condition = {"type": kind, "status": str(is_so), "lastTransitionTime": since}
            if not is_so and kind in ("ContainersReady", "Ready"):
                condition["reason"] = "PodCompleted" if phase == "Succeeded" else "ContainersNotReady"
            said.append(condition)
        return said

    def _tell(self, phase):
        """The status, if it is another than what was told last. Others' conditions are kept."""
        own = self._conditions(phase)
        kinds = {one["type"] for one in own}
        others = [one for one in self.thing.get("status", {}).get("conditions", []) if one["type"] not in kinds]
        status = {
            "phase": phase, "conditions": own + others, "hostIP": NODE_ADDRESS, "hostIPs": [{"ip": NODE_ADDRESS}],
            "startTime": self.started_at, "containerStatuses": [one.status() for one in self.containers],
            "initContainerStatuses": [one.status() for one in self.first],
        }
        if self.network is not None and phase not in ("Succeeded", "Failed"):
            status |= {"podIP": self.network.address, "podIPs": [{"ip": self.network.address}]}
        if status == self.told:
            return
        try:
            self.api.patch(f"{self.path}/status", {"metadata": {"uid": self.uid}, "status": status})
            self.told = status
        except Failed as error:
            # 404 and 409: it is gone, or another has its name by now; the watch will tell.
            if error.status not in (0, 404, 409, 429, 500, 503, 504):
                raise
