"""What runs in place of images: this machine's own programs, in a root of each container's own."""

import os
import shutil
from dataclasses import dataclass, field

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NODE_DIR = os.environ.get("FLOWGATE_NODE_DIR", os.path.join(ROOT, "scripts", "node"))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
FLOWGATE = os.environ.get("FLOWGATE_PROGRAM", os.path.join(TARGET, "debug", "flowgate"))
NODE_MODULES = "/usr/src/node-red/node_modules"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class NoImage(Exception):
    """There is no such image."""


@dataclass
class Image:
    """Paths of this machine by where the container has them; and what an image says of itself."""

    files: dict = field(default_factory=dict)
    entrypoint: list = field(default_factory=list)
    arguments: list = field(default_factory=list)
    environment: dict = field(default_factory=dict)
    folder: str = "/"
    user: int = 0
    group: int = 0


def _node():
    """Node.js, which may be outside of /usr."""
    program = os.path.realpath(shutil.which("node") or "/usr/bin/node")
    if program.startswith("/usr/"):
        return program, {}
    return "/opt/node", {"/opt/node": program}


def _node_red():
    """As the image of the project: Node-RED with its user's folder in /data."""
    node, files = _node()
    files |= {NODE_MODULES: os.path.join(NODE_DIR, "node_modules")}
    start = [node, f"{NODE_MODULES}/node-red/red.js", "--userDir", "/data"]
    return Image(files, start, [], {}, "/usr/src/node-red", 1000, 1000)


def _small():
    node, files = _node()
    files |= {
        "/ends.cjs": os.path.join(ROOT, "tests", "kubernetes", "ends.cjs"),
        "/small.cjs": os.path.join(ROOT, "tests", "all", "runtimes", "small.cjs"),
        NODE_MODULES: os.path.join(NODE_DIR, "node_modules"),
    }
    # A first process whose program handles no SIGTERM has none; images that are well made bring something that does.
    start = [node, "--require", "/ends.cjs", "/small.cjs", "echo", f"{NODE_MODULES}/ws"]
    return Image(files, start, [], {"PORT": "1880", "LISTEN_HOST": "0.0.0.0"}, "/data", 1000, 1000)


def find(name):
    """The image of this name; `NoImage` where none stands for it."""
    repository = name.split("@")[0]
    if ":" in repository.rpartition("/")[2]:
        repository = repository.rpartition(":")[0]
    last = repository.rpartition("/")[2]
    if last == "flowgate":
        return Image({"/flowgate": FLOWGATE}, ["/flowgate"], ["serve"], {"FLOWGATE_LISTEN": "0.0.0.0:8080"}, "/",
                     65532, 65532)
    if last == "redis":
        return Image({}, [], ["redis-server"], {}, "/data", 999, 1000)
    if last == "node-red":
        return _node_red()
    if last == "small":
        return _small()
    if last == "crashes":
        return Image({}, ["/bin/sh", "-c", "echo no flows here; exit 3"], [], {}, "/", 1000, 1000)
    raise NoImage(f"there is no image {name}")
