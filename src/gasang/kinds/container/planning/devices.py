"""Operations for /dev: the devices every program may expect, those of the configuration, the links, and the container's terminal."""

from __future__ import annotations

import errno
import os
import stat
import struct
from typing import Final

from gasang.host.mounts import AT_EMPTY_PATH, AT_FDCWD, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS
from gasang.host.processes import TIOCGPTPEER, TIOCSCTTY, TIOCSPTLCK, TIOCSWINSZ
from gasang.kinds.container import target
from gasang.kinds.container.config.config import Config
from gasang.kinds.container.config.linux import Device
from gasang.kinds.container.layout import STORE, TARGET
from gasang.kinds.container.plan import Offset, Plan, Slot
from gasang.kinds.container.planning.mounting import CLONE, MOVE, attach, open_place, sort_options
from gasang.kinds.container.planning.order import Order

DEFAULT: Final = tuple(
    Device(f"/dev/{name}", "c", major, minor)
    for name, major, minor in (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
)
LINKS: Final = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
_KINDS: Final = {"c": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
_SOL_SOCKET: Final = 1
_SCM_RIGHTS: Final = 1
_MASTER_NAME: Final = b"/dev/pts/ptmx"


def has_own_dev(config: Config) -> bool:
    """Whether /dev is the container's; one that is bound from the host is left as it is."""
    for mount in config.mounts:
        if os.path.normpath(mount.destination) == "/dev":
            return not (sort_options(mount.options).is_bind or mount.kind == "bind")
    return True


def add_devices(plan: Plan, order: Order, root: Slot) -> None:
    """Device nodes and links. A node that the kernel does not let us make is the host's, bound."""
    given = {device.path: device for device in order.config.linux.devices}
    devices = [*(device for device in DEFAULT if device.path not in given), *given.values()]
    folders: dict[str, Slot] = {}
    for device in devices:
        folder, _, _ = os.path.normpath(device.path).rpartition("/")
        if folder not in folders:
            folders[folder] = open_place(plan, root, folder or "/", target.FOLDER, f"make {folder or '/'}")
        _add_node(plan, root, folders[folder], device)
    dev = folders["/dev"]
    for name, to in LINKS.items():
        plan.child.call("symlinkat", plan.text(to), dev, plan.text(name), ignore=[errno.EEXIST], what=f"make /dev/{name}")
    if os.path.exists("/proc/kcore"):
        plan.child.call("symlinkat", plan.text("/proc/kcore"), dev, plan.text("core"), ignore=[errno.EEXIST], what="make /dev/core")
    plan.child.call("unlinkat", dev, plan.text("ptmx"), 0, ignore=[errno.ENOENT], what="make /dev/ptmx")
    plan.child.call("symlinkat", plan.text("pts/ptmx"), dev, plan.text("ptmx"), what="make /dev/ptmx")


def _add_node(plan: Plan, root: Slot, folder: Slot, device: Device) -> None:
    what = f"make the device {device.path}"
    name = plan.text(os.path.basename(os.path.normpath(device.path)))
    owned = device.uid or device.gid
    place, mount, empty = plan.slot(), plan.slot(), plan.text("")
    call = plan.child.call
    numbers = os.makedev(device.major, device.minor)
    mode = _KINDS[device.kind] | device.mode
    # A node that is there already stays; EPERM comes from a user namespace, where the host's node is bound in its place.
    call("mknodat", folder, name, mode, numbers, ignore=[errno.EEXIST, errno.EPERM], skip_done=4, what=what)
    plan.child.do(TARGET, root, plan.text(device.path), target.FILE, 0o644, into=place, what=what)
    source = plan.text(device.path)
    call("open_tree", AT_FDCWD, source, CLONE, into=mount, ignore=[errno.ENOENT], skip_ignored=2, what=what)
    call("move_mount", mount, empty, place, empty, MOVE, what=what)
    call("close", mount, what=what)
    if owned:
        call("fchownat", folder, name, device.uid, device.gid, 0, ignore=[errno.EPERM, errno.EINVAL], what=what)


def add_terminal(plan: Plan, order: Order, root: Slot, user: int, socket: int) -> None:
    """A terminal of the container's own devpts as its standard input, output and error; the other end goes to the console socket."""
    what = "make the terminal"
    call = plan.child.call
    master, slave, mount = plan.slot(), plan.slot(), plan.slot()
    how = plan.blob(struct.pack("<QQQ", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS))
    call("openat2", root, plan.text("/dev/pts/ptmx"), how, 24, into=master, what=what)
    call("ioctl", master, TIOCSPTLCK, plan.blob(bytes(8)), what=what)
    call("ioctl", master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC, into=slave, what=what)
    if order.config.process is not None and order.config.process.console_size is not None:
        rows, columns = order.config.process.console_size
        call("ioctl", slave, TIOCSWINSZ, plan.blob(struct.pack("<HHHH", rows, columns, 0, 0)), what=what)
    if user:
        call("fchown", slave, user, (1 << 32) - 1, ignore=[errno.EPERM, errno.EINVAL], what=what)
    place = open_place(plan, root, "/dev/console", target.FILE, "make /dev/console")
    call("open_tree", slave, plan.text(""), CLONE | AT_EMPTY_PATH, into=mount, what="make /dev/console")
    attach(plan, mount, place, "make /dev/console")
    take_terminal(plan, slave, what)
    send_master(plan, master, socket)


def take_terminal(plan: Plan, slave: Slot, what: str) -> None:
    """Have the terminal control this session and be the standard descriptors."""
    plan.child.call("ioctl", slave, TIOCSCTTY, 0, what=what)
    for number in range(3):
        plan.child.call("dup3", slave, number, 0, what=what)


def send_master(plan: Plan, master: Slot, socket: int) -> None:
    """Send the terminal's other end over the console socket."""
    control = plan.blob(struct.pack("<QiiiI", 20, _SOL_SOCKET, _SCM_RIGHTS, -1, 0))
    text = plan.blob(_MASTER_NAME)
    vector = plan.blob(struct.pack("<QQ", 0, len(_MASTER_NAME)))
    message = plan.blob(struct.pack("<QQQQQQQ", 0, 0, 0, 1, 0, 24, 0))
    plan.address(vector, text)
    plan.address(Offset(message + 16), vector)
    plan.address(Offset(message + 32), control)
    plan.child.do(STORE, master, Offset(control + 16), what="send the terminal to the console socket")
    plan.child.call("sendmsg", socket, message, 0, what="send the terminal to the console socket")
