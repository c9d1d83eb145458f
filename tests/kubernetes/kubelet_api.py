"""What the API server asks of a kubelet: the logs of containers."""

import http.server
import os
import ssl
import threading
import urllib.parse

from network import NODE_ADDRESS


def _end_of(path, lines, limit_bytes):
    """The last lines, and of these at most so many bytes from the first on, as a kubelet does it."""
    with open(path, "rb") as log:
        data = log.read()
    if lines is not None:
        kept = data.splitlines(keepends=True)
        data = b"".join(kept[len(kept) - lines:] if lines < len(kept) else kept)
    return data if limit_bytes is None else data[:limit_bytes]


class KubeletApi:
    def __init__(self, node, authority):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                path, _, query = self.path.partition("?")
                status, data = _answer(node, path.strip("/").split("/"), dict(urllib.parse.parse_qsl(query)))
                self.send_response(status)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *said):
                pass

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.certificate)
        context.load_cert_chain(*authority.issue("kubelet", "/O=system:nodes/CN=system:node", f"IP:{NODE_ADDRESS}"))
        # As a kubelet that trusts the API server's certificate and nobody else.
        context.verify_mode = ssl.CERT_REQUIRED
        server = http.server.ThreadingHTTPServer((NODE_ADDRESS, 0), Handler)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.daemon_threads = True
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()


def _answer(node, parts, query):
    if len(parts) != 4 or parts[0] != "containerLogs":
        return 404, b"not known here\n"
    pod = node.find(parts[1], parts[2])
    container = pod and pod.container(parts[3])
    if not container:
        return 404, b"no such container\n"
    is_previous = query.get("previous") == "true"
    path = container.log_path(is_previous)
    if not os.path.exists(path) and not is_previous:
        # It has ended and is not started anew yet: what it said last.
        path = container.log_path(True)
    if not os.path.exists(path):
        return 400, b"it has not been started\n"
    number = lambda name: int(query[name]) if name in query else None  # noqa: E731
    return 200, _end_of(path, number("tailLines"), number("limitBytes"))
