"""Known ways out of a container that lead through the engine: links that are exchanged, archives, leaked descriptors, devices in images.

What the runtime alone withstands is in tests/kinds/container/test_escapes.py.
"""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from support.engines.client import until
from support.engines.http import call
from support.engines.rootfs import add

SECRET = "the host's own"


@pytest.fixture
def outside(tmp_path):
    """A folder of the host with a file, which no container may see or change; checked afterwards."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text(SECRET)
    (folder / "secret").chmod(0o600)
    yield folder
    assert sorted(path.name for path in folder.iterdir()) == ["secret"]
    assert (folder / "secret").read_text() == SECRET
    assert (folder / "secret").stat().st_mode & 0o7777 == 0o600
    assert (folder / "secret").stat().st_uid == 0


def archive(*members):
    """A tar of (name, type, data or link)."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as made:
        for name, kind, content in members:
            data = {"link": content} if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else {"data": content}
            add(made, name, kind, mode=0o755, **data)
    return output.getvalue()


@pytest.mark.parametrize("running", [True, False])
def test_copying_through_links(docker, engine, image, name, outside, tmp_path, running):
    """A container's links mean its own root: CVE-2018-15664, CVE-2019-14271."""
    links = f"ln -s {outside} /w/out; ln -s {outside}/secret /w/file; ln -s /proc/self/root{outside} /w/magic"
    script = f"mkdir -p /w; {links}; echo made; sleep 1000"
    docker("run", "-d", "--name", name, image, "sh", "-c", script)
    until(lambda: docker("logs", name).text == "made")
    if not running:
        docker("kill", name)
    for path in ("/w/out/secret", "/w/out/../w/out/secret", f"/proc/1/root{outside}/secret", "/w/magic/secret"):
        done = docker("cp", f"{name}:{path}", tmp_path / "stolen", code=None)
        assert not (tmp_path / "stolen").exists() or (tmp_path / "stolen").read_text() != SECRET, done
    docker("cp", "-L", f"{name}:/w/file", tmp_path / "stolen", code=None)
    assert not (tmp_path / "stolen").exists()
    (tmp_path / "new").write_text("new")
    for path in ("/w/out/", "/w/file", "/w/magic/"):
        docker("cp", tmp_path / "new", f"{name}:{path}", code=None)


@pytest.mark.parametrize(
    "members",
    [
        [("../../../../../../../../{outside}/x", tarfile.REGTYPE, b"x")],
        [("{outside}/x", tarfile.REGTYPE, b"x")],
        [("out", tarfile.SYMTYPE, "{outside}"), ("out/x", tarfile.REGTYPE, b"x")],
        [("out", tarfile.SYMTYPE, "/proc/self/root{outside}"), ("out/x", tarfile.REGTYPE, b"x")],
        [("out", tarfile.SYMTYPE, "{outside}/secret"), ("out", tarfile.REGTYPE, b"x")],
        [("hard", tarfile.LNKTYPE, "{outside}/secret"), ("hard", tarfile.REGTYPE, b"x")],
        [("out", tarfile.SYMTYPE, "{outside}"), ("hard", tarfile.LNKTYPE, "out/secret"), ("hard", tarfile.REGTYPE, b"x")],
        [("out", tarfile.SYMTYPE, "{outside}"), ("out", tarfile.DIRTYPE, b"")],
    ],
    ids=["climbs", "absolute", "link", "magic", "overwrites", "hard", "hard-through-link", "folder-over-link"],
)
def test_archives(docker, engine, image, name, fresh, outside, members):
    """The same archives to cp, build as context and as ADD, import and load."""
    data = archive(
        *(
            (path.format(outside=outside).lstrip("/" if path[0] == "." else ""), kind, place(content, outside))
            for path, kind, content in members
        )
    )
    docker("run", "-d", "--name", name, image, "sleep", "1000")
    call(engine, "PUT", f"/containers/{name}/archive?path=/tmp", data)
    docker("kill", name)
    call(engine, "PUT", f"/containers/{name}/archive?path=/tmp", data)
    tag = fresh("image")
    docker("import", "-", tag, typed=data, code=None)
    docker("load", typed=data, code=None)
    context = archive(
        ("Dockerfile", tarfile.REGTYPE, f"FROM {image}\nADD x.tar /y/\nCOPY . /z/\n".encode()), ("x.tar", tarfile.REGTYPE, data)
    )
    docker("build", "-q", "-", typed=context, code=None)
    docker("build", "-q", "-", typed=data + context, code=None)


def place(content, outside):
    return content.format(outside=outside) if isinstance(content, str) else content


def test_a_build_whose_target_is_a_link(docker, image, outside):
    """COPY, ADD and WORKDIR to a link of the image stay in the image."""
    links = f"RUN ln -s {outside} /out && ln -s /proc/self/root{outside} /magic"
    steps = "COPY Dockerfile /out/\nADD Dockerfile /out/y\nWORKDIR /out/z\nCOPY Dockerfile /magic/x\n"
    file = f"FROM {image}\n{links}\n{steps}"
    docker("build", "-q", "-", typed=file.encode(), code=None)


@pytest.mark.parametrize("source", ["link", "link/secret", "l*k/secret", "link/*", "file"])
def test_a_build_whose_source_is_a_link(docker, image, outside, source):
    """Links of a context do not lead out of it."""
    file = f"FROM {image}\nCOPY {source} /stolen/\nRUN cat /stolen/* || true\n".encode()
    context = archive(
        ("Dockerfile", tarfile.REGTYPE, file), ("link", tarfile.SYMTYPE, str(outside)), ("file", tarfile.SYMTYPE, f"{outside}/secret")
    )
    done = docker("build", "-", typed=context, code=None)
    assert SECRET not in done.text + done.said


def test_a_dockerfile_behind_a_link(docker, engine, image, outside):
    context = archive(("link", tarfile.SYMTYPE, str(outside)), ("file", tarfile.SYMTYPE, f"{outside}/secret"))
    for name in ("link/secret", "file", "../../../../../../etc/hostname"):
        status, _, data = call(engine, "POST", f"/build?dockerfile={name}", context)
        assert status == 400
        assert b"Cannot locate specified Dockerfile" in data


def test_nodes_of_the_hosts_disk(docker, engine, image, fresh):
    """An image, a context or a stage with a node of a disk does not show the disk, neither to a container nor to a build."""
    disk = next((Path(f"/dev/{line.split()[3]}") for line in Path("/proc/partitions").read_text().splitlines()[2:]), None)
    if disk is None or not disk.exists():
        pytest.skip("this host has no disk")
    number = disk.stat().st_rdev
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as made:
        member = tarfile.TarInfo("disk")
        member.type, member.mode, member.devmajor, member.devminor = tarfile.BLKTYPE, 0o666, os.major(number), os.minor(number)
        made.addfile(member)
        add(made, "Dockerfile", data=f"FROM {image}\nCOPY disk /stolen\n".encode())
    tag = fresh("image")
    docker("import", "-", tag, typed=output.getvalue())
    docker("build", "-", typed=output.getvalue(), code=1)
    docker("build", "-", typed=f"FROM {tag} AS other\nFROM {image}\nCOPY --from=other /disk /stolen\n".encode(), code=1)
    both = f"FROM {image}\nRUN mknod /disk b {os.major(number)} {os.minor(number)}\nRUN ! dd if=/disk of=/x bs=512 count=1\n"
    docker("build", "-q", "-", typed=both.encode())


@pytest.mark.parametrize("descriptor", [3, 5, 7, 8, 9, 10, 12])
def test_a_working_folder_that_is_a_descriptor_of_ours(docker, image, name, descriptor):
    """CVE-2024-21626, in run, exec and build."""
    path = f"/proc/self/fd/{descriptor}"
    look = "cd ../../../../../../../..; ls; cat etc/shadow"
    host = {entry for entry in os.listdir("/") if entry not in {"proc", "sys", "dev", "etc", "bin", "home", "root", "tmp", "var"}}
    done = docker("run", "--rm", "-w", path, image, "sh", "-c", look, code=None)
    assert not host & set(done.lines)
    docker("run", "-d", "--name", name, image, "sleep", "1000")
    done = docker("exec", "-w", path, name, "sh", "-c", look, code=None)
    assert not host & set(done.lines)
    done = docker("build", "-", typed=f"FROM {image}\nWORKDIR {path}\nRUN {look}\n".encode(), code=None)
    assert not host & set(done.lines)


def test_mount_targets_that_are_exchanged(docker, image, name, fresh, outside):
    """CVE-2021-30465: while a container exchanges a folder of a volume for a link, another mounts something there."""
    volume = fresh("volume")
    swap = f"mkdir -p /v/a; while :; do rm -rf /v/a; ln -s {outside} /v/a; rm -f /v/a; mkdir -p /v/a; done"
    docker("run", "-d", "--name", name, "-v", f"{volume}:/v", image, "sh", "-c", swap)
    for _ in range(8):
        script = "cat /v/a/deep/secret /v/a/secret 2>/dev/null; touch /v/a/x 2>/dev/null; true"
        done = docker("run", "--rm", "-v", f"{volume}:/v", "--tmpfs", "/v/a/deep", image, "sh", "-c", script, code=None)
        assert SECRET not in done.text


def test_copying_into_what_is_exchanged(docker, engine, image, name, outside):
    """Files that are made by cp are exchanged for links to the host's while their rights are set."""
    swap = f"mkdir -p /t; while :; do rm -rf /t/f /t/d; ln -s {outside}/secret /t/f; ln -s {outside} /t/d; done"
    docker("run", "-d", "--name", name, image, "sh", "-c", swap)
    data = archive(("f", tarfile.REGTYPE, b"x"), ("d", tarfile.DIRTYPE, b""), ("d/new", tarfile.REGTYPE, b"x"))
    for _ in range(60):
        call(engine, "PUT", f"/containers/{name}/archive?path=/t", data)


def test_what_an_exec_shows_to_the_container(docker, image, name):
    """A process that joins cannot be traced, nor its descriptors and memory be opened, before it is the container's own."""
    watch = (
        "while :; do for p in /proc/[0-9]*; do [ $p = /proc/1 ] && continue; "
        "for f in $p/fd/*; do t=$(readlink $f) && echo $t; done; readlink $p/exe; done 2>/dev/null; done"
    )
    docker("run", "-d", "--name", name, "--cap-add", "SYS_PTRACE", image, "sh", "-c", watch)
    for _ in range(10):
        docker("exec", name, "true")
    seen = set(docker("logs", name).lines)
    docker("kill", name)
    leaked = {line for line in seen if line.startswith("/") and not line.startswith(("/bin/", "/dev/", "/proc", "/memfd:gasang"))}
    assert not leaked


def test_the_terminal_of_the_client_takes_no_input_from_the_container(docker, image):
    """TIOCSTI reaches the container's own terminal alone, which is a new one."""
    with docker.terminal("run", "--rm", "-it", image, "sh", "-c", "readlink /proc/self/fd/0; tty") as terminal:
        assert terminal.end() == 0
        assert b"/dev/pts/0" in terminal.seen or b"/dev/console" in terminal.seen


def test_mounting_without_the_filter(docker, image):
    """Without seccomp it is the capabilities that keep a container from mounting, also in a user namespace of its own."""
    script = (
        "mount -t tmpfs x /tmp && echo mounted; mount -o remount,rw /proc/sys && echo mounted; umount /proc/sys && echo mounted;"
        "unshare -Urm sh -c 'mount -o remount,rw,bind /proc/sys && echo 1 >/proc/sys/kernel/sysrq && echo written;"
        " umount /proc/sys && echo unmounted; umount /proc/kcore && echo unmasked'"
    )
    done = docker("run", "--rm", "--security-opt", "seccomp=unconfined", image, "sh", "-c", script, code=None)
    assert done.text == ""


def test_masked_paths(docker, image):
    """What is masked cannot be seen through another name either, and what is read-only cannot be written."""
    look = "head -c1 /proc/kcore; cat /proc/keys /proc/1/root/proc/keys /proc/timer_list; ls /proc/scsi/ /sys/firmware/; true"
    done = docker("run", "--rm", image, "sh", "-c", f"({look}) 2>/dev/null")
    assert {line for line in done.lines if line} <= {"/proc/scsi/:", "/sys/firmware/:"}
    write = "echo x >/proc/sys/kernel/core_pattern; echo 1 >/sys/kernel/profiling"
    done = docker("run", "--rm", image, "sh", "-c", write, code=1)
    assert done.said.count("ead-only") == 2
