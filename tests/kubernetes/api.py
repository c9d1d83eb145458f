"""The API server as the tests need it: calls with a client certificate, and watches that go on."""

import json
import ssl
import threading
import time
import urllib.parse

import urllib3

CALL_TIMEOUT_S = 30
# The server ends a watch after so long; the next one goes on where it ended.
WATCH_S = 300
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


class Failed(Exception):
    """The API server's no."""

    def __init__(self, status, message):
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    def __init__(self, server, authority, certificate, key):
        context = ssl.create_default_context(cafile=authority)
        context.load_cert_chain(certificate, key)
        self.server = server
        self.pool = urllib3.PoolManager(ssl_context=context, maxsize=64, retries=False)

    def call(self, method, path, body=None, content_type="application/json", **query):
        """The object that is answered; `Failed` where the answer is a no or there is none."""
        answer = self._ask(method, path, body, content_type, query, CALL_TIMEOUT_S)
        if answer.status >= 300:
            raise Failed(answer.status, answer.data.decode(errors="replace")[:2000])
        return json.loads(answer.data)

    def text(self, path, **query):
        """An answer that is no object: logs, health."""
        answer = self._ask("GET", path, None, None, query, CALL_TIMEOUT_S)
        if answer.status >= 300:
            raise Failed(answer.status, answer.data.decode(errors="replace")[:2000])
        return answer.data.decode(errors="replace")

    def get(self, path, **query):
        return self.call("GET", path, **query)

    def patch(self, path, body, **query):
        return self.call("PATCH", path, body, MERGE, **query)

    def events(self, path, **query):
        """What a watch tells, as pairs of its kind and the object, until the server ends it."""
        query |= {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH_S)}
        answer = self._ask("GET", path, None, None, query, WATCH_S + 60, preload_content=False)
        try:
            if answer.status >= 300:
                raise Failed(answer.status, answer.read(2000).decode(errors="replace"))
            rest = b""
            for data in answer.stream(1 << 16, decode_content=True):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    yield event["type"], event["object"]
        finally:
            answer.close()

    def _ask(self, method, path, body, content_type, query, timeout_s, **more):
        address = self.server + path
        if query:
            address += "?" + urllib.parse.urlencode(query)
        headers = {"Content-Type": content_type} if body is not None else {}
        data = json.dumps(body).encode() if body is not None else None
        timeout = urllib3.Timeout(connect=5, read=timeout_s)
        try:
            return self.pool.request(method, address, body=data, headers=headers, timeout=timeout, **more)
        except urllib3.exceptions.HTTPError as error:
            raise Failed(0, f"{method} {path}: {error}") from error


def name_of(thing):
    """Namespace and name."""
    return thing["metadata"].get("namespace", ""), thing["metadata"]["name"]


class Follower:
    """Knows all objects of a path, from a thread of its own: lists, watches, lists anew where the watch has lost
    its place. `on_change(thing, is_gone)` is called in that thread, one after the other."""

    def __init__(self, api, path, on_change=lambda thing, is_gone: None, **query):
        self.api, self.path, self.query, self.on_change = api, path, query, on_change
        self.things = {}
        self.has_listed = threading.Event()
        threading.Thread(target=self._follow, name=f"follow {path}", daemon=True).start()

    def all(self):
        return list(self.things.values())

    def get(self, namespace, name):
        return self.things.get((namespace, name))

    def _follow(self):
        version = None
        while True:
            try:
                if version is None:
                    version = self._list()
                for kind, thing in self.api.events(self.path, resourceVersion=version, **self.query):
                    if kind == "ERROR":
                        version = None
                        break
                    version = thing["metadata"]["resourceVersion"]
                    if kind != "BOOKMARK":
                        self._take(thing, kind == "DELETED")
            except Failed as error:
                # 410: what came since is forgotten. 0: it is not there, or the connection broke.
                if error.status != 0:
                    version = None
                time.sleep(0.2)
            except (urllib3.exceptions.HTTPError, ValueError):
                time.sleep(0.2)

    def _list(self):
        listed = self.api.get(self.path, **self.query)
        present = {name_of(thing): thing for thing in listed["items"]}
        for name in [name for name in self.things if name not in present]:
            self._take(self.things[name], True)
        for thing in present.values():
            self._take(thing, False)
        self.has_listed.set()
        return listed["metadata"]["resourceVersion"]

    def _take(self, thing, is_gone):
        if is_gone:
            self.things.pop(name_of(thing), None)
        else:
            self.things[name_of(thing)] = thing
        self.on_change(thing, is_gone)
