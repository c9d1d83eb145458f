"""A container: a process with a root, mounts, process numbers and a name of its own, on its pod's network."""

import os
import shlex
import signal
import subprocess
import threading
import time

import images

# What of this machine every root has, to read.
SYSTEM = ["bin", "sbin", "lib", "lib32", "lib64", "libx32", *(f"usr/{name}" for name in (
    "bin", "sbin", "lib", "lib32", "lib64", "libx32", "libexec", "local", "share"))]
SETTINGS = ["ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "ssl/certs", "ssl/openssl.cnf",
            "nsswitch.conf", "passwd", "group", "localtime"]


class WrongSpec(Exception):
    """A container cannot be made as its pod says: reason, as a status has it, and message."""

    def __init__(self, reason, message):
        super().__init__(message)
        self.reason = reason


def _user(image, pod_context, context):
    """User and group, judged as the kubelet does."""
    both = pod_context | context
    user, group = both.get("runAsUser", image.user), both.get("runAsGroup", image.group)
    if both.get("runAsNonRoot") and user == 0:
        raise WrongSpec("CreateContainerConfigError", "container has runAsNonRoot and image will run as root")
    return user, group


def _root_script(root, image, mounts, etc, is_read_only):
    """Shell commands that make a root: programs, devices, a few settings, and the volumes in their places."""
    quoted = shlex.quote(root)
    lines = ["set -e", f"mount -t tmpfs -o mode=755,size=64m root {quoted}", f"mkdir {quoted}/usr"]

    def place(source, at, is_file, reads_only):
        target = shlex.quote(root + at)
        make = f"mkdir -p {shlex.quote(os.path.dirname(root + at))} && touch {target}" if is_file else f"mkdir -p {target}"
        lines.append(f"{make} && mount --bind {shlex.quote(source)} {target}")
        if reads_only:
            lines.append(f"mount -o remount,bind,ro {target}")

    for name in SYSTEM:
        if os.path.islink(f"/{name}"):
            lines.append(f"cp -P /{name} {quoted}/{name}")
        elif os.path.isdir(f"/{name}"):
            place(f"/{name}", f"/{name}", False, True)
    lines += [f"mkdir -p {quoted}/proc {quoted}/dev {quoted}/etc/ssl {quoted}/data {quoted}/run", f"mkdir -m 1777 {quoted}/tmp",
              f"mount -t proc proc {quoted}/proc", f"mount --rbind /dev {quoted}/dev"]
    for name in SETTINGS:
        if os.path.exists(f"/etc/{name}"):
            lines.append(f"cp -a /etc/{name} {quoted}/etc/{name}")
    lines += [f"cp {shlex.quote(etc)}/* {quoted}/etc/", f"hostname -F {shlex.quote(etc)}/hostname"]
    for at, source in image.files.items():
        place(source, at, os.path.isfile(source), True)
    for source, at, reads_only in mounts:
        place(source, at, os.path.isfile(source), reads_only)
    if is_read_only:
        lines.append(f"mount -o remount,ro {quoted}")
    return "\n".join(lines) + "\n"


class Container:
    """One that the pod's loop starts again and again. `on_change` is called from other threads."""

    def __init__(self, spec, folder, on_change):
        self.spec, self.name, self.folder, self.on_change = spec, spec["name"], folder, on_change
        self.process, self.image = None, None
        self.restarts, self.ends = 0, 0
        self.state = {"waiting": {"reason": "ContainerCreating"}}
        self.last_state = {}
        self.is_ready = self.has_started = self.is_killed = False
        self.next_start = 0.0
        os.makedirs(os.path.join(folder, "root"))

    def log_path(self, is_previous=False):
        return os.path.join(self.folder, f"log.{self.ends - 1 if is_previous else self.ends}")

    def start(self, network, context, mounts, environment, etc):
        """Runs it. `WrongSpec` where that cannot be; `NoImage` where nothing stands for its image."""
        self.image = image = images.find(self.spec["image"])
        own = self.spec.get("securityContext", {})
        user, group = _user(image, context, own)
        command = self.spec.get("command") or image.entrypoint
        words = command + (self.spec.get("args") or ([] if self.spec.get("command") else image.arguments))
        script = _root_script(os.path.join(self.folder, "root"), image, mounts, etc,
                              own.get("readOnlyRootFilesystem", False))
        groups = ",".join(str(one) for one in [*context.get("supplementalGroups", []), context.get("fsGroup", group)])
        told = {"PATH": images.PATH, "HOME": "/"} | image.environment | environment
        # The pods' sandboxes are rough: users may gain no right, and see no more than their root.
        privileges = [] if own.get("allowPrivilegeEscalation", True) else ["setpriv", "--no-new-privs"]
        enter = [*privileges, "chroot", f"--userspec={user}:{group}", f"--groups={groups}",
                 os.path.join(self.folder, "root"), "/usr/bin/env", "-i", "-C",
                 self.spec.get("workingDir") or image.folder,
                 *(f"{name}={value}" for name, value in told.items()), *words]
        path = os.path.join(self.folder, "start.sh")
        with open(path, "w") as out:
            out.write(script + "exec " + shlex.join(enter) + "\n")
        os.chmod(path, 0o700)
        with open(self.log_path(), "ab") as log:
            self.process = subprocess.Popen(
                [*network.enter(), "unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--", "bash", path],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        self.started_at = time.time()
        self.state = {"running": {"startedAt": stamp(self.started_at)}}
        threading.Thread(target=self._watch, args=(self.process,), daemon=True).start()

    def _watch(self, process):
        process.wait()
        self.on_change()

    def has_ended(self):
        return self.process is not None and self.process.poll() is not None

    def take_end(self):
        """Notes how it ended; the exit code."""
        code = self.process.returncode
        # What is between tells of signals in its own way.
        code = 128 + signal.SIGKILL if self.is_killed else 128 - code if code < 0 else code
        ended = {"exitCode": code, "reason": "Completed" if code == 0 else "Error",
                 "startedAt": stamp(self.started_at), "finishedAt": stamp(time.time())}
        self.process, self.is_ready, self.has_started, self.is_killed = None, False, False, False
        self.state = {"terminated": ended}
        self.ends += 1
        return code

    def pid(self):
        """Its first process, as this namespace numbers it; None while there is none."""
        if self.process is None:
            return None
        try:
            with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as children:
                return next((int(pid) for pid in children.read().split()), None)
        except OSError:
            return None

    def send(self, which):
        """A signal to its first process. With SIGKILL all others go with it."""
        pid = self.pid()
        self.is_killed |= which == signal.SIGKILL
        try:
            if pid is not None:
                os.kill(pid, which)
            elif self.process is not None and which == signal.SIGKILL:
                self.process.kill()
        except ProcessLookupError:
            pass

    def execute(self, words, timeout_s):
        """Runs a command in it; whether it ended well in time."""
        pid = self.pid()
        if pid is None:
            return False
        inside = ["nsenter", "--target", str(pid), "--mount", "--net", "--pid", "--uts", "--root", "--wd", "--", *words]
        try:
            return subprocess.run(inside, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def status(self):
        said = {
            "name": self.name, "image": self.spec["image"], "imageID": self.spec["image"], "ready": self.is_ready,
            "started": self.has_started, "restartCount": self.restarts, "state": self.state,
            "lastState": self.last_state,
        }
        if self.process is not None:
            said["containerID"] = f"process://{self.process.pid}"
        return said


def stamp(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
