"""Clients that hold a WebSocket connection, and connect again whenever it ends: what they see is counted."""

import collections
import random
import socket
import struct
import threading
import time

PATIENCE_S = 300
ECHO_S = 15
BETWEEN_S = 0.2
CLOSE, TEXT = 8, 1
HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\napikey: {key}\r\n\r\n"
)


class Ended(Exception):
    """The connection is over: a close code, or None where it was cut."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


class Connection:
    """One WebSocket. `status` is what the handshake was answered; 0 where it was cut."""

    def __init__(self, address, port, host, path, key):
        self.socket = socket.create_connection((address, port), 10)
        self.socket.settimeout(PATIENCE_S)
        self.rest, self.status, self.head = b"", 0, b""
        self.socket.sendall(HANDSHAKE.format(path=path, host=host, key=key).encode())
        while b"\r\n\r\n" not in self.rest:
            try:
                data = self.socket.recv(4096)
            except OSError:
                data = b""
            if not data:
                return
            self.rest += data
        self.head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        self.status = int(self.head.split(b" ", 2)[1])

    def send(self, kind, data):
        """Masked with zeros: what is sent is short."""
        try:
            self.socket.sendall(bytes([0x80 | kind, 0x80 | len(data)]) + b"\0\0\0\0" + data)
        except OSError:
            raise Ended(None) from None

    def _take(self, count):
        while len(self.rest) < count:
            try:
                data = self.socket.recv(4096)
            except OSError:
                data = b""
            if not data:
                raise Ended(None)
            self.rest += data
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def receive(self):
        """The next message; `Ended` after a Close frame, which is answered, or an end without one."""
        while True:
            first, length = self._take(2)
            if length == 126:
                (length,) = struct.unpack(">H", self._take(2))
            data = self._take(length)
            if first & 15 == TEXT:
                return data
            if first & 15 == CLOSE:
                code = struct.unpack(">H", data[:2])[0] if len(data) >= 2 else 1005
                try:
                    self.send(CLOSE, data[:2])
                except Ended:
                    pass
                raise Ended(code)

    def close(self):
        self.socket.close()


class Client(threading.Thread):
    """Sends a number, waits for its echo, and so on; connects again when the connection ends."""

    def __init__(self, place, tenant, key):
        super().__init__(daemon=True)
        self.place, self.tenant, self.key = place, tenant, key
        self.is_stopping = threading.Event()
        self.seen, self.wrong = collections.Counter(), []
        self.first_echo_at, self.last_echo_at, self.longest_gap_s = None, None, 0.0
        self.start()

    def run(self):
        while not self.is_stopping.is_set():
            try:
                connection = Connection(*self.place, self.key)
            except OSError:
                self.seen["connection refused"] += 1
                self.is_stopping.wait(0.3)
                continue
            try:
                self._hold(connection)
            finally:
                connection.close()

    def _hold(self, connection):
        if connection.status != 101:
            self.seen[f"handshake {connection.status or 'cut'}"] += 1
            if connection.status not in (0, 503):
                self.wrong.append(connection.head.decode(errors="replace") + connection.rest.decode(errors="replace"))
            self.is_stopping.wait(0.5)
            return
        self.seen["handshake 101"] += 1
        connection.socket.settimeout(ECHO_S)
        try:
            while not self.is_stopping.wait(BETWEEN_S):
                self._echo(connection)
        except Ended as end:
            self.seen[f"closed {end.code or 'without a word'}"] += 1
            # As clients should: not all at once.
            self.is_stopping.wait(random.uniform(0.05, 0.5))

    def _echo(self, connection):
        number = str(self.seen["echo"])
        connection.send(TEXT, number.encode())
        answer = connection.receive().decode()
        if f'"runtime":"{self.tenant}"' not in answer or f'"payload":"{number}"' not in answer:
            self.wrong.append(f"{self.tenant} sent {number} and got {answer}")
        now = time.monotonic()
        self.first_echo_at = self.first_echo_at or now
        self.longest_gap_s = max(self.longest_gap_s, now - (self.last_echo_at or now))
        self.last_echo_at = now
        self.seen["echo"] += 1

    def stop(self):
        self.is_stopping.set()
        self.join()


def total(clients):
    """What all of them saw."""
    counts = collections.Counter()
    for client in clients:
        counts += client.seen
    return counts
