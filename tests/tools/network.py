"""Hosts in network namespaces, which may be cut from each other. Needs root.

A cut is one way or both ways. The caller's namespace is on the bridge too, as the host `here`.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from random import Random
from threading import Event
from typing import Any

Cut = tuple[str, str]  # names of a sender, and of a receiver that gets nothing of it

NOWHERE = "02:00:00:00:00:01"  # no host has this address: what is sent there is lost without a word


@dataclass(frozen=True)
class Host:
    """`namespace` is empty for the caller's own."""

    name: str
    namespace: str
    ip: str
    device: str

    @property
    def option(self) -> list[str]:
        """The option of `ip` that names the namespace."""
        return ["-n", self.namespace] if self.namespace else []

    def command(self, command: Sequence[object]) -> list[str]:
        return [*(["ip", "netns", "exec", self.namespace] if self.namespace else []), *map(str, command)]

    def popen(self, command: Sequence[object], **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command(command), start_new_session=True, **options)


class Network(ExitStack):
    """A bridge and its hosts. Leaving its context removes them.

    The bridge is in a namespace too, where no firewall (Docker's, for one) sees what it forwards.
    """

    def __init__(self) -> None:
        super().__init__()
        random = Random(os.urandom(8))
        self._name = f"lt{random.randrange(16**6):06x}"
        self._subnet = f"10.{random.randrange(64, 250)}.{random.randrange(250)}."
        self.hosts: dict[str, Host] = {}
        self._cuts: set[Cut] = set()
        _ip("netns", "add", self._name)
        self.callback(_ip, "netns", "del", self._name)
        _ip("-n", self._name, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self._name, "link", "set", "bridge", "up")
        self.here = self._connect("here", "", self._name)
        self.callback(_ip, "link", "del", self._name)

    def host(self, name: str) -> Host:
        """Add a host."""
        namespace = f"{self._name}-{name}"
        _ip("netns", "add", namespace)
        self.callback(_ip, "netns", "del", namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")
        return self._connect(name, namespace, "eth0")

    def _connect(self, name: str, namespace: str, device: str) -> Host:
        number = len(self.hosts) + 1
        host = self.hosts[name] = Host(name, namespace, f"{self._subnet}{number}", device)
        of_host, of_bridge = host.option, ["-n", self._name]
        port = f"port{number}"
        _ip(
            *of_bridge,
            "link",
            "add",
            port,
            "type",
            "veth",
            "peer",
            "name",
            device,
            "netns",
            namespace or str(os.getpid()),
        )
        _ip(*of_bridge, "link", "set", port, "master", "bridge", "up")
        _ip(*of_host, "addr", "add", f"{host.ip}/24", "dev", device)
        _ip(*of_host, "link", "set", device, "up")
        return host

    def cut(self, one: Host, others: Sequence[Host], *, sends: bool = True, receives: bool = True) -> set[Cut]:
        """Lose all that `one` sends to the others, or they to it, or both. Returns what is lost now, and was not."""
        wanted = {(one.name, other.name) for other in others if sends}
        wanted |= {(other.name, one.name) for other in others if receives}
        new = wanted - self._cuts
        for sender, receiver in new:
            address = self.hosts[receiver].ip
            _neighbour(self.hosts[sender], "replace", address, "lladdr", NOWHERE, "nud", "permanent")
        self._cuts |= new
        return new

    @contextmanager
    def parted(self, one: Host, others: Sequence[Host], *, sends: bool = True, receives: bool = True) -> Iterator[None]:
        """Cut, and heal that alone at the end."""
        cuts = self.cut(one, others, sends=sends, receives=receives)
        try:
            yield
        finally:
            self.heal(cuts)

    def flap(self, one: Host, others: Sequence[Host], until: Callable[[], bool], random: Random) -> None:
        """Lose and delay packets: cut and heal at intervals of a tenth of a second."""
        while not until():
            with self.parted(one, others):
                Event().wait(random.uniform(0.02, 0.2))
            Event().wait(random.uniform(0.02, 0.2))

    def heal(self, cuts: Collection[Cut] | None = None) -> None:
        """End these cuts, or all."""
        for sender, receiver in list(self._cuts if cuts is None else cuts):
            _neighbour(self.hosts[sender], "del", self.hosts[receiver].ip)
            self._cuts.discard((sender, receiver))


def missing() -> str:
    """Return what namespaces lack here, or nothing."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need ip: Debian's package iproute2 has it"
    name = f"lt-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if made.returncode:
        return f"no network namespace can be made here: {made.stderr.strip()}"
    _ip("netns", "del", name)
    return ""


def _neighbour(host: Host, action: str, *arguments: str) -> None:
    _ip(*host.option, "neigh", action, *arguments, "dev", host.device)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
