"""Services: their names, and their addresses, from each of which connections go on to one of the pods that are ready."""

import asyncio
import random
import socket
import struct
import threading

from network import API_ADDRESS, DNS_ADDRESS, add_service_address, remove_service_address

DOMAIN = ["cluster", "local"]
A, AAAA = 1, 28
NAME_IS_UNKNOWN = 3
TTL_S = 1
CHUNK = 1 << 16


def endpoints(slices, namespace, name, with_unready=False):
    """Slice and endpoint of each pod of a Service."""
    for found in slices.all():
        metadata = found["metadata"]
        if metadata["namespace"] == namespace and metadata["labels"].get("kubernetes.io/service-name") == name:
            for endpoint in found.get("endpoints") or []:
                # The controllers say "ready" of all, where the Service publishes those that are not.
                if with_unready or endpoint["conditions"].get("ready", True):
                    yield found, endpoint


class Names:
    """Answers for `{service}.{namespace}.svc.cluster.local`, and for pods of headless ones by their names before it."""

    def __init__(self, services, slices):
        self.services, self.slices = services, slices
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((DNS_ADDRESS, 53))
        threading.Thread(target=self._answer, name="names", daemon=True).start()

    def addresses(self, name):
        """None where there is no such name."""
        parts = name.lower().rstrip(".").split(".")
        if parts[-2:] != DOMAIN or parts[-3:-2] != ["svc"] or len(parts) not in (5, 6):
            return None
        namespace, service = parts[-4], parts[-5]
        thing = self.services.get(namespace, service)
        if thing is None:
            return None
        host = parts[0] if len(parts) == 6 else None
        address = thing["spec"].get("clusterIP")
        if address != "None":
            return [address] if host is None else None
        found = [one for _, endpoint in endpoints(self.slices, namespace, service)
                 if host in (None, endpoint.get("hostname")) for one in endpoint["addresses"]]
        random.shuffle(found)
        return found or None

    def _answer(self):
        while True:
            query, sender = self.socket.recvfrom(4096)
            try:
                answer = self._answer_to(query)
            except (IndexError, struct.error, UnicodeDecodeError):
                continue
            self.socket.sendto(answer, sender)

    def _answer_to(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode("ascii"))
            at += 1 + query[at]
        (kind,) = struct.unpack_from(">H", query, at + 1)
        found = self.addresses(".".join(labels))
        records = found or [] if kind == A else []
        flags = 0x8580 | (NAME_IS_UNKNOWN if found is None else 0)
        # The question as it came, then the records, each with a pointer to its name.
        head = query[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0)
        said = b"".join(struct.pack(">HHHIH", 0xC00C, A, 1, TTL_S, 4) + socket.inet_aton(one) for one in records)
        return head + query[12:at + 5] + said


class Proxies:
    """Listens on the addresses of Services, as kube-proxy did before it left this to the kernel. A connection that
    is open stays so when its pod is no longer ready."""

    def __init__(self, slices):
        self.slices, self.servers = slices, {}
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="proxies", daemon=True).start()

    def take(self, service, is_gone):
        asyncio.run_coroutine_threadsafe(self._take(service, is_gone), self.loop).result()

    async def _take(self, service, is_gone):
        metadata, spec = service["metadata"], service["spec"]
        address = spec.get("clusterIP")
        if address in (None, "", "None", API_ADDRESS, DNS_ADDRESS):
            return
        known = self.servers.pop(metadata["uid"], None)
        if known is None and not is_gone:
            add_service_address(address)
        for server in known or []:
            server.close()
        if is_gone:
            remove_service_address(address)
            return
        self.servers[metadata["uid"]] = [
            await asyncio.start_server(self._handler(metadata, port), address, port["port"], reuse_address=True)
            for port in spec.get("ports", []) if port.get("protocol", "TCP") == "TCP"
        ]

    def _handler(self, metadata, port):
        async def handle(reader, writer):
            try:
                other_reader, other_writer = await self._dial(metadata, port)
            except OSError:
                writer.transport.abort()
                return
            try:
                await asyncio.gather(self._carry(reader, other_writer), self._carry(other_reader, writer))
            finally:
                writer.close()
                other_writer.close()

        return handle

    async def _dial(self, metadata, port):
        places = []
        for found, endpoint in endpoints(self.slices, metadata["namespace"], metadata["name"]):
            for known in found.get("ports") or []:
                if known.get("name", "") == port.get("name", ""):
                    places += [(address, known["port"]) for address in endpoint["addresses"]]
        random.shuffle(places)
        for place in places:
            try:
                return await asyncio.wait_for(asyncio.open_connection(*place), 5)
            except (OSError, asyncio.TimeoutError):
                continue
        raise OSError("nobody is ready")

    async def _carry(self, reader, writer):
        """One direction, to its end; an end that is no proper one is told to the other side as such."""
        try:
            while data := await reader.read(CHUNK):
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except OSError:
            writer.transport.abort()
