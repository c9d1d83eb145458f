"""A day of a cluster: tenants asleep are woken, a replica is killed, all are replaced, and all sleep again."""

import os
import signal
import statistics
import subprocess
import sys
import threading
import time

import runtimes
from clients import Client, Connection, total
from images import NODE_DIR
from installed import BASE_DOMAIN, SPACE, is_ready
from node import wait_until

TENANTS = 20
CLIENTS_EACH = 2
# So long must everybody wait at most for the last of all runtimes that start at once on a small machine.
WAKE_S = 240
SLEEP_AFTER_S = 15
SLEEP_S = 240
BACK_S = 60
PATH = "/api/thing"


def say(what):
    print(f"   {what}", flush=True)


def must(is_so, what):
    if not is_so:
        raise SystemExit(f"   this must hold and does not: {what}")


def key_of(username):
    return f"key-of-{username}-0123456789abcdef0123456789abcdef"


class Scenario:
    def __init__(self, plane, node, installed, step):
        self.plane, self.node, self.installed, self.step = plane, node, installed, step
        self.address = installed.address()
        self.usernames = [f"t{number}" for number in range(TENANTS)]
        self.seen = runtimes.Seen(plane.api)
        self.clients = []

    def place(self):
        """Where clients connect to: the Service, as from an Ingress controller."""
        return self.address, 80, BASE_DOMAIN, PATH

    def run(self):
        try:
            self.may_do_no_more()
            self.make_tenants()
            self.strangers_wake_nobody()
            self.wake_all()
            self.kill_a_replica()
            self.replace_all_replicas()
            self.restart_all_runtimes()
        finally:
            for client in self.clients:
                client.is_stopping.set()
        self.all_sleep_again()
        self.one_wakes_again()

    # --- Rights ----------------------------------------------------------------------------------------------------

    def may_do_no_more(self):
        self.step("What flowgate may do in the cluster")
        may = {
            "create statefulsets.apps": True, "patch statefulsets.apps": True, "get pods --subresource=log": True, "list pods": True,
            "create leases.coordination.k8s.io": True, "get secrets": False, "list secrets": False,
            "create pods": False, "delete pods": False, "create pods --subresource=exec": False, "update deployments.apps": False,
            "get configmaps": False, "delete persistentvolumeclaims": False, "create roles.rbac.authorization.k8s.io": False,
            "list statefulsets.apps --all-namespaces": False,
        }
        as_flowgate = ["--namespace", SPACE, "--as", f"system:serviceaccount:{SPACE}:flowgate"]
        for what, expected in may.items():
            told = self.plane.may(*as_flowgate, *what.split())
            must(told == expected, f"{what}: {expected}, and not {told}")
        say(f"{sum(may.values())} things are allowed, {len(may) - sum(may.values())} others are not")

    # --- Tenants ---------------------------------------------------------------------------------------------------

    def make_tenants(self):
        self.step(f"{TENANTS} tenants, and one whose runtime is made by hand")
        self.installed.ask("PUT", "/plans/sleepy", {"sleep_after_seconds": SLEEP_AFTER_S})
        runtimes.by_hand(self.plane, "ana")
        wait_until("ana's runtime is ready", lambda: any(is_ready(pod) for pod in self.seen.now()), WAKE_S, self.node)
        roots = {"node_root": "/api", "admin_root": "/red"}
        self.installed.add_tenant("ana", key_of("ana"), {"address": "http://ana:1880"} | roots, None)
        for username in self.usernames:
            self.installed.add_tenant(username, key_of(username), {"provider": "kubernetes"} | roots, "sleepy")
        self.clients.append(Client(self.place(), "ana", key_of("ana")))
        wait_until("ana's runtime answers", lambda: self.clients[0].seen["echo"], WAKE_S, self.node)
        self.must_all_sleep()
        say(f"{TENANTS} sleep; the one that was made by hand answers")

    def states(self):
        """Of all runtimes that flowgate made, as it tells."""
        return {one["state"] for name, one in self.installed.runtimes().items() if name != "ana"}

    def must_all_sleep(self):
        states = self.states()
        must(states == {"asleep"}, f"all runtimes sleep, and not {states}")
        must(set(self.seen.starts()) == {"ana"}, f"no pod was made: {self.seen.starts()}")

    def strangers_wake_nobody(self):
        self.step("Strangers wake nobody")
        refused = Connection(*self.place(), key_of("nobody"))
        must(refused.status == 401, f"a wrong key is 401, and not {refused.status}")
        asleep = Connection(self.address, 80, BASE_DOMAIN, "/public/t0/data", key_of("t0"))
        must(asleep.status == 503, f"a public row of one that sleeps is 503, and not {asleep.status}")
        self.must_all_sleep()
        say("a wrong key: 401, a public row: 503, and nothing was started")

    def wake_all(self):
        self.step(f"wscat wakes one; {TENANTS * CLIENTS_EACH} clients at once all")
        begin = time.monotonic()
        answer = self.wscat("t0", "hello")
        must('"runtime":"t0"' in answer and '"payload":"hello"' in answer, f"wscat gets its echo: {answer}")
        say(f"wscat's echo came after {time.monotonic() - begin:.1f} s")
        begin = time.monotonic()
        mine = [Client(self.place(), name, key_of(name)) for name in self.usernames for _ in range(CLIENTS_EACH)]
        self.clients += mine
        wait_until("all clients have their echo", lambda: all(client.seen["echo"] for client in mine), WAKE_S, self.node)
        took = sorted(client.first_echo_at - begin for client in mine)
        say(f"first echo: half within {statistics.median(took):.1f} s, all within {took[-1]:.1f} s")
        self.must_be_right()
        self.must_have_started(1)

    def wscat(self, username, message):
        command = [os.path.join(NODE_DIR, "node_modules", ".bin", "wscat"), "--connect", f"ws://{self.address}{PATH}",
                   "--header", f"apikey: {key_of(username)}", "--host", BASE_DOMAIN, "--execute", message, "--wait", "1"]
        # It leaves at the end of its input; that it never comes to.
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        client.wait(WAKE_S)
        return client.stdout.read()

    # --- What must hold all the time -------------------------------------------------------------------------------

    def must_be_right(self):
        wrong = [one for client in self.clients for one in client.wrong]
        must(not wrong, "nobody is refused but with 503, nobody gets another's answer:\n" + "\n".join(wrong[:5]))

    def must_have_started(self, times):
        starts = self.seen.starts()
        must(starts.pop("ana") == 1, "what was made by hand is left alone")
        must(len(starts) == TENANTS and set(starts.values()) == {times},
             f"each runtime was started {times} times, whoever asked on whichever replica: {starts}")

    def wait_until_all_are_back(self, since):
        """Each client has had an echo since then."""
        wait_until("every client is back", lambda: all((client.last_echo_at or 0) > since for client in self.clients),
                   BACK_S, self.node)

    def told(self, before):
        """What clients have seen since."""
        counts = total(self.clients)
        counts.subtract(before)
        for what in sorted(counts):
            if counts[what]:
                say(f"{counts[what]:6} {what}")
        return counts

    # --- A replica dies --------------------------------------------------------------------------------------------

    def kill_a_replica(self):
        self.step("A replica is killed")
        before = total(self.clients)
        pod = self.installed.pods()[0]
        name = pod["metadata"]["name"]
        container = self.node.find(SPACE, name).container("flowgate")
        killed_at, restarts = time.monotonic(), container.restarts
        container.send(signal.SIGKILL)
        wait_until("the replica was started anew", lambda: container.restarts > restarts and container.is_ready, 60, self.node)
        self.wait_until_all_are_back(killed_at + 1)
        self.installed.wait_for_replicas(3)
        say(f"{name} was killed and ready again {time.monotonic() - killed_at:.1f} s later; since then clients have seen")
        counts = self.told(before)
        must(counts["closed without a word"] > 0, "somebody was connected to the replica that was killed")
        self.must_be_right()
        self.must_have_started(1)

    # --- All replicas are replaced ---------------------------------------------------------------------------------

    def replace_all_replicas(self):
        self.step("A rolling update under load")
        before, gone = total(self.clients), {pod["metadata"]["uid"] for pod in self.installed.pods()}
        least, is_over = [3], threading.Event()

        def watch():
            while not is_over.wait(0.05):
                least[0] = min(least[0], sum(is_ready(pod) for pod in self.installed.pods()))

        watching = threading.Thread(target=watch)
        watching.start()
        begin = time.monotonic()
        try:
            # Another template, too, which holds for what is started from then on.
            self.installed.upgrade(runtimes.values(self.plane, "two"))
            wait_until("all replicas are replaced", self.is_replaced, 300, self.node)
            self.installed.wait_for_replicas(3)
        finally:
            is_over.set()
            watching.join()
        took_s = time.monotonic() - begin
        self.wait_until_all_are_back(time.monotonic())
        now = {pod["metadata"]["uid"] for pod in self.installed.pods()}
        must(not now & gone, "no pod of before is left")
        say(f"three replicas were replaced in {took_s:.0f} s, never fewer than {least[0]} ready; clients have seen")
        counts = self.told(before)
        gap_s = max(client.longest_gap_s for client in self.clients)
        say(f"the longest time between two echoes of a client, since all began: {gap_s:.1f} s")
        # On a busy machine a probe may come late; a pod that is taken away too early is away for longer.
        must(least[0] >= 2, "two replicas were ready all the time, and three but for late probes")
        must(counts["closed 1001"] >= len(self.clients), "every client was told 1001 at least once")
        must(not counts["connection refused"] and not counts["handshake cut"], "nobody's handshake was cut")
        must(not counts["closed without a word"], "nobody was cut without a Close frame")
        self.must_be_right()
        self.must_have_started(1)

    def restart_all_runtimes(self):
        self.step("All runtimes are restarted with another template, under load")
        before, begin = total(self.clients), time.monotonic()
        versions = {pod["metadata"]["labels"]["version"] for pod in self.own_pods()}
        must(versions == {"one"}, f"what runs stays as it is until then: {versions}")
        self.installed.ask("POST", "/runtimes/restart", {"at_once": 4, "failures_max": 0})
        progress = lambda: self.installed.ask("GET", "/runtimes/restart")  # noqa: E731
        wait_until("the restart of all has ended", lambda: progress()["stage"] != "running", 300, self.node)
        told = progress()
        must(told["stage"] == "done" and told["restarted"] == TENANTS, f"all are back: {told}")
        versions = {pod["metadata"]["labels"]["version"] for pod in self.own_pods()}
        must(versions == {"two"}, f"all have the other template: {versions}")
        took_s = time.monotonic() - begin
        self.wait_until_all_are_back(time.monotonic())
        say(f"{TENANTS} runtimes were restarted in {took_s:.0f} s, four at a time; clients have seen")
        counts = self.told(before)
        # A replica that does not run it may find it gone before it hears why: 1014, and the client comes again likewise.
        told = counts["closed 1012"] + counts["closed 1014"]
        must(told >= TENANTS * CLIENTS_EACH, "every client was told 1012, or 1014")
        must(counts["closed 1012"] > counts["closed 1014"], "as a rule that is 1012")
        self.must_be_right()
        self.must_have_started(2)

    def own_pods(self):
        """Of the runtimes that flowgate runs, those that are not ending."""
        return [pod for pod in self.seen.now() if pod["metadata"]["name"] != "ana-0"
                and "deletionTimestamp" not in pod["metadata"]]

    def is_replaced(self):
        found = self.installed.deployment()
        status = found["status"]
        return (status.get("observedGeneration") == found["metadata"]["generation"]
                and status.get("updatedReplicas") == status.get("readyReplicas") == status["replicas"] == 3)

    # --- Everybody goes home ---------------------------------------------------------------------------------------

    def sets(self):
        """The StatefulSets of runtimes that flowgate made."""
        found = self.plane.api.get(f"/apis/apps/v1/namespaces/{SPACE}/statefulsets")["items"]
        return [one for one in found if one["metadata"]["name"] not in ("ana", "flowgate-redis")]

    def all_sleep_again(self):
        self.step("Nobody calls; all sleep again")
        ana, *others = self.clients
        for client in others:
            client.stop()
        begin = time.monotonic()
        wait_until("no runtime's pod is left", lambda: len(self.seen.now()) == 1, SLEEP_S, self.node)
        replicas = [one["spec"]["replicas"] for one in self.sets()]
        must(replicas == [0] * TENANTS, f"each has a StatefulSet with no replicas: {replicas}")
        # Whoever ended the last one hears of its pod's end a moment later than the API server.
        wait_until("flowgate says that all sleep", lambda: self.states() == {"asleep"}, SLEEP_S, self.node)
        claims = self.plane.api.get(f"/api/v1/namespaces/{SPACE}/persistentvolumeclaims")["items"]
        must(sum(one["status"]["phase"] == "Bound" for one in claims) == TENANTS + 2, "all keep their volumes")
        say(f"all sleep {time.monotonic() - begin:.1f} s after the last message; their volumes are kept")

    def one_wakes_again(self):
        self.step("One wakes again")
        answer = self.wscat("t7", "again")
        must('"runtime":"t7"' in answer and '"payload":"again"' in answer, f"wscat gets its echo: {answer}")
        starts = self.seen.starts()
        must(sum(starts.values()) == 2 * TENANTS + 2, f"one more start, and only one: {starts}")
        say("with one more start, and only one")


def run(plane, node, installed, step):
    Scenario(plane, node, installed, step).run()
    if node.failures:
        sys.exit(f"the node failed: {node.failures}")
