"""Machines that are connected by cables and nothing else: processes in network, mount and process namespaces."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil

NAMESPACES = ("--net", "--mount", "--pid", "--mount-proc", "--ipc", "--uts")
# Waits until its cables are there, hides what is the grader's alone, and becomes the program.
_START = """
read ready
mount --make-rprivate /
ip link set lo up
for folder in $HIDDEN; do mount -t tmpfs -o size=1m hidden "$folder"; done
for pair in $CHANGED; do mount --bind "${pair%%=*}" "${pair#*=}"; done
cd "$HOME"
exec "$@"
"""


def why_not():
    """Return why there can be no such machines here; "" if there can."""
    if os.geteuid() != 0:
        return "needs root: network namespaces"
    missing = [name for name in ("unshare", "nsenter", "setpriv", "mount", "ip") if not shutil.which(name)]
    if missing:
        return f"needs {', '.join(missing)}: apt-get install util-linux iproute2"
    tried = subprocess.run(
        ["unshare", *NAMESPACES, "--fork", "ip", "link", "add", "a0", "type", "veth", "peer", "name", "b0"],
        capture_output=True,
        text=True,
    )
    return f"namespaces with cables are not allowed here: {tried.stderr.strip()}" if tried.returncode else ""


class Node:
    """One machine, which runs one program.

    Args:
        folder: Its home, with its log.
        command: The program.
        hidden: Folders that are empty there.
        changed: Files that are others there: {what they are: where}.
        environment: More variables.
    """

    def __init__(self, folder, command, *, hidden=(), changed=None, **environment):
        folder.mkdir()
        self.folder, self.log = folder, folder / "log"
        variables = {
            "PATH": f"{sys.prefix}/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(folder),
            "TMPDIR": str(folder / "tmp"),
            "LANG": "C.UTF-8",
            "HIDDEN": " ".join(map(str, hidden)),
            "CHANGED": " ".join(f"{new}={place}" for new, place in (changed or {}).items()),
            **environment,
        }
        (folder / "tmp").mkdir()
        # It ends with this process, however that ends, and everything in it ends with it.
        whole = ["setpriv", "--pdeathsig", "KILL", "unshare", *NAMESPACES, "--fork", "--kill-child"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*whole, "sh", "-c", _START, "sh", *map(str, command)],
                env=variables,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        while not (children := psutil.Process(self.process.pid).children()):
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.01)
        self.pid = children[0].pid

    def connect(self, hub, number):
        """Lay a cable to another machine, in a network of its own, where the other has the first address."""
        net, name = f"10.77.{number}", f"port{number}"
        cable = ["ip", "link", "add", name, "netns", hub.pid, "type", "veth", "peer", "name", "eth0", "netns", self.pid]
        run(*cable)
        for node, device, last in ((hub, name, 1), (self, "eth0", 2)):
            run(*node.inside("ip", "addr", "add", f"{net}.{last}/24", "dev", device))
            run(*node.inside("ip", "link", "set", device, "up"))

    def inside(self, *command):
        return ["nsenter", f"--target={self.pid}", "--net", *command]

    def begin(self):
        """Start the program."""
        self.process.stdin.write(b"\n")
        self.process.stdin.close()

    def kill(self):
        """End the machine at once, without a word to anybody."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, 9)  # the kernel ends the others with it
        self.process.wait()


def run(*command):
    subprocess.run([*map(str, command)], check=True, capture_output=True)


def write_certificates(folder: Path):
    """Write certificates for a cluster of its own; return Dask's settings that use them, as variables."""
    from distributed.security import Security

    security = Security.temporary()
    files = {}
    for name, text in (
        ("ca-file", security.tls_ca_file),
        ("cert", security.tls_client_cert),
        ("key", security.tls_client_key),
    ):
        files[name] = folder / f"{name}.pem"
        files[name].write_text(text)
        files[name].chmod(0o600)
    prefix = "DASK_DISTRIBUTED__COMM__"
    variables = {f"{prefix}REQUIRE_ENCRYPTION": "True", f"{prefix}TLS__CA_FILE": str(files["ca-file"])}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        variables |= {f"{prefix}TLS__{role}__CERT": str(files["cert"]), f"{prefix}TLS__{role}__KEY": str(files["key"])}
    return variables
