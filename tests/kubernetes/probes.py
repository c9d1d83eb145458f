"""A container's probes: startup first, then readiness and liveness, each at its own pace."""

import http.client
import socket
import ssl
import threading
import time


def port_number(container, port):
    """A port by its number or its name in the container."""
    if isinstance(port, int):
        return port
    return next(known["containerPort"] for known in container.spec["ports"] if known.get("name") == port)


def http_is_well(address, container, asked, timeout_s):
    """A GET as the kubelet's: everything from 200 to 399 is well."""
    host, port = asked.get("host") or address, port_number(container, asked["port"])
    if asked.get("scheme") == "HTTPS":
        # As the kubelet: whoever answers is believed.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        headers = {one["name"]: one["value"] for one in asked.get("httpHeaders", [])}
        connection.request("GET", asked.get("path", "/"), headers={"User-Agent": "kube-probe/stand-in"} | headers)
        return 200 <= connection.getresponse().status < 400
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def is_well(address, container, probe):
    timeout_s = probe.get("timeoutSeconds", 1)
    if "exec" in probe:
        return container.execute(probe["exec"]["command"], timeout_s)
    if "httpGet" in probe:
        return http_is_well(address, container, probe["httpGet"], timeout_s)
    if "tcpSocket" in probe:
        try:
            port = port_number(container, probe["tcpSocket"]["port"])
            socket.create_connection((address, port), timeout_s).close()
            return True
        except OSError:
            return False
    raise ValueError(f"a probe of a kind that is not known here: {sorted(probe)}")


class Prober(threading.Thread):
    """Asks one start of a container until it ends. `on_unwell(why)` is called where it has to be started anew."""

    def __init__(self, address, container, on_change, on_unwell):
        super().__init__(daemon=True)
        self.address, self.container, self.process = address, container, container.process
        self.on_change, self.on_unwell = on_change, on_unwell
        self.start()

    def is_over(self):
        return self.container.process is not self.process or self.process.poll() is not None

    def run(self):
        spec = self.container.spec
        if "startupProbe" in spec and not self._series(spec["startupProbe"], lambda well: well):
            return
        if self.is_over():
            return
        self.container.has_started = True
        if "readinessProbe" not in spec:
            self.container.is_ready = True
        self.on_change()
        others = []
        if "livenessProbe" in spec:
            others.append(threading.Thread(target=self._series, args=(spec["livenessProbe"], lambda well: False),
                                           daemon=True))
            others[0].start()
        if "readinessProbe" in spec:
            self._readiness(spec["readinessProbe"])

    def _series(self, probe, is_enough):
        """Asks until it is enough; False where it was unwell too often, or is over."""
        failures = 0
        time.sleep(probe.get("initialDelaySeconds", 0))
        while not self.is_over():
            well = is_well(self.address, self.container, probe)
            failures = 0 if well else failures + 1
            if is_enough(well):
                return True
            if failures >= probe.get("failureThreshold", 3) and not self.is_over():
                self.on_unwell("a probe failed too often")
                return False
            time.sleep(probe.get("periodSeconds", 10))
        return False

    def _readiness(self, probe):
        series = 0
        time.sleep(probe.get("initialDelaySeconds", 0))
        while not self.is_over():
            well = is_well(self.address, self.container, probe)
            # Above 0 it counts what was well, below what was not.
            series = max(series, 0) + 1 if well else min(series, 0) - 1
            was = self.container.is_ready
            if series >= probe.get("successThreshold", 1):
                self.container.is_ready = not self.is_over()
            elif -series >= probe.get("failureThreshold", 3):
                self.container.is_ready = False
            if self.container.is_ready != was:
                self.on_change()
            time.sleep(probe.get("periodSeconds", 10))
