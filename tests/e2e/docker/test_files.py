"""Files of containers: cp in both directions, diff, commit, export and import."""

from __future__ import annotations

import io
import json
import os
import tarfile

import pytest


@pytest.fixture
def made(docker, image, name):
    """A container that was created and never ran."""
    docker("create", "--name", name, image, "sh", "-c", "find /in -exec ls -ld {} +; cat /in/*")
    return name


def read(docker, name, path):
    """The members of what `docker cp NAME:PATH -` gives."""
    return tarfile.open(fileobj=io.BytesIO(docker("cp", f"{name}:{path}", "-").out))


def test_a_file_out(docker, made, tmp_path):
    docker("cp", f"{made}:/etc/hello", tmp_path / "there")
    assert (tmp_path / "there").read_bytes() == b"hello from the image\n"


def test_a_file_into_a_folder(docker, made, tmp_path):
    docker("cp", f"{made}:etc/hello", tmp_path)
    assert (tmp_path / "hello").read_bytes() == b"hello from the image\n"


def test_a_folder_out(docker, made, tmp_path):
    docker("cp", f"{made}:/etc", tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} >= {"group", "hello", "passwd"}
    docker("cp", f"{made}:/etc", tmp_path)
    assert (tmp_path / "etc" / "hello").exists()
    (tmp_path / "content").mkdir()
    docker("cp", f"{made}:/etc/.", tmp_path / "content")
    assert (tmp_path / "content" / "hello").exists()


def test_in_keeps_modes_and_owners(docker, made, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o750)
    os.chown(source / "run.sh", 1234, 1234)
    docker("cp", source, f"{made}:/in")
    member = read(docker, made, "/in/run.sh").getmembers()[0]
    assert (member.mode & 0o7777, member.uid, member.gid) == (0o750, 1234, 1234)
    docker("cp", "-a", source, f"{made}:/kept")
    member = read(docker, made, "/kept/run.sh").getmembers()[0]
    assert (member.uid, member.gid) == (1234, 1234)


def test_into_and_out_of_a_running_one(docker, image, name, tmp_path):
    docker("run", "-d", "--name", name, "--tmpfs", "/mem", image, "sleep", "60")
    (tmp_path / "file").write_text("content\n")
    docker("cp", tmp_path / "file", f"{name}:/tmp/")
    assert docker("exec", name, "cat", "/tmp/file").text == "content"
    docker("exec", name, "sh", "-c", "echo inside > /made")
    docker("cp", f"{name}:/made", tmp_path / "made")
    assert (tmp_path / "made").read_text() == "inside\n"


def test_into_a_volume(docker, image, name, fresh, tmp_path):
    volume = fresh("volume")
    docker("run", "-d", "--name", name, "-v", f"{volume}:/data", image, "sleep", "60")
    (tmp_path / "file").write_text("content\n")
    docker("cp", tmp_path / "file", f"{name}:/data/file")
    assert docker("run", "--rm", "-v", f"{volume}:/x", image, "cat", "/x/file").text == "content"


def test_a_volume_of_what_does_not_run(docker, image, name, fresh, tmp_path):
    volume = fresh("volume")
    docker("create", "--name", name, "-v", f"{volume}:/data", image)
    (tmp_path / "file").write_text("content\n")
    docker("cp", tmp_path / "file", f"{name}:/data/file")
    assert read(docker, name, "/data/file").getnames() == ["file"]
    assert docker("run", "--rm", "-v", f"{volume}:/x", image, "cat", "/x/file").text == "content"


@pytest.mark.parametrize("path", ["/", "/.", "/etc/.."])
def test_the_whole_root_out(docker, made, tmp_path, path):
    docker("cp", f"{made}:{path}", tmp_path / "new")
    assert {".dockerenv", "bin", "etc"} <= {entry.name for entry in (tmp_path / "new").iterdir()}
    assert (tmp_path / "new" / "etc" / "hello").exists()


def test_a_stream_in_and_out(docker, made):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        member = tarfile.TarInfo("deep/er")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    docker("cp", "-", f"{made}:/tmp", typed=data.getvalue())
    assert read(docker, made, "/tmp/deep").getnames() == ["deep", "deep/er"]


def test_symbolic_links(docker, made, tmp_path):
    (tmp_path / "target").write_text("target\n")
    (tmp_path / "link").symlink_to("target")
    docker("cp", tmp_path / "link", f"{made}:/tmp/as-link")
    assert read(docker, made, "/tmp/as-link").getmembers()[0].issym()
    docker("cp", "-L", tmp_path / "link", f"{made}:/tmp/as-file")
    assert read(docker, made, "/tmp/as-file").getmembers()[0].isfile()
    docker("cp", f"{made}:/bin/sh", tmp_path / "sh")
    assert (tmp_path / "sh").is_symlink()
    docker("cp", "-L", f"{made}:/bin/sh", tmp_path / "program")
    assert (tmp_path / "program").stat().st_size > 100_000


@pytest.mark.parametrize("link", ["/", "/etc", "../../../../../../../../etc"])
def test_a_link_leads_nowhere_outside(docker, image, name, tmp_path, link):
    """A link in the container is followed from the container's root, never from the host's."""
    docker("run", "--name", name, image, "ln", "-s", link, "/way")
    (tmp_path / "planted-by-gasang").write_text("x")
    docker("cp", tmp_path / "planted-by-gasang", f"{name}:/way/planted-by-gasang")
    assert not os.path.exists(os.path.join("/", link.lstrip("./"), "planted-by-gasang"))
    names = [change.split()[1] for change in docker("diff", name).lines]
    assert any(path.endswith("/planted-by-gasang") for path in names)


@pytest.mark.parametrize(
    ("source", "target", "sentence"),
    [
        ("NAME:/no/such", "HERE", "Could not find the file /no/such in container"),
        ("NAME:/etc/hello/", "HERE", "not a directory"),
        ("HERE", "NAME:/no/such/folder/file", "Could not find the file /no/such/folder in container"),
        ("nobody:/etc", "HERE", "No such container: nobody"),
    ],
)
def test_what_cannot_be_copied(docker, made, tmp_path, source, target, sentence):
    (tmp_path / "file").write_text("x")
    words = [word.replace("NAME", made).replace("HERE", str(tmp_path / "file")) for word in (source, target)]
    assert sentence.lower() in docker("cp", *words, code=1).said.lower()


def test_what_every_container_has_is_no_change(docker, image, name, fresh):
    """Places for mounts and marks are in a layer beneath: neither `diff` nor an image made of the container has them."""
    tag = fresh("image")
    docker("run", "--name", name, "--tmpfs", "/mem/ory", image, "sh", "-c", "test -e /.dockerenv && readlink /etc/mtab && echo x > /file")
    assert docker("logs", name).text == "/proc/mounts"
    assert sorted(docker("diff", name).lines) == ["A /file", "A /mem", "A /mem/ory"]
    docker("commit", name, tag)
    assert sorted(member.split("/")[0] for member in last_layer(docker, tag)) == ["file", "mem", "mem"]


def last_layer(docker, tag):
    """The names in an image's uppermost layer."""
    with tarfile.open(fileobj=io.BytesIO(docker("save", tag).out)) as archive:
        layers = json.load(archive.extractfile("manifest.json"))[0]["Layers"]
        with tarfile.open(fileobj=archive.extractfile(layers[-1])) as layer:
            return layer.getnames()


def test_diff(docker, image, name):
    docker("run", "--name", name, image, "sh", "-c", "rm /etc/hello; echo x >> /etc/group; mkdir /new; touch /new/file")
    assert sorted(docker("diff", name).lines) == ["A /new", "A /new/file", "C /etc", "C /etc/group", "D /etc/hello"]


def test_commit(docker, image, name, fresh):
    tag = fresh("image")
    docker("run", "--name", name, "-e", "KEPT=1", image, "sh", "-c", "echo new > /new; rm /etc/hello")
    options = ("-m", "a message", "-a", "An Author <a@example.org>", "-c", 'CMD ["cat", "/new"]', "-c", "EXPOSE 80", "-c", "LABEL x=y")
    assert docker("commit", *options, name, tag).text.startswith("sha256:")
    shown = docker.inspect("image", tag)
    assert (shown["Comment"], shown["Author"]) == ("a message", "An Author <a@example.org>")
    assert shown["Config"]["Cmd"] == ["cat", "/new"]
    assert "KEPT=1" in shown["Config"]["Env"]
    assert shown["Config"]["ExposedPorts"] == {"80/tcp": {}}
    assert docker("run", "--rm", tag).text == "new"
    docker("run", "--rm", tag, "test", "-e", "/etc/hello", code=1)
    assert len(shown["RootFS"]["Layers"]) == 2


def test_commit_of_a_running_one(docker, image, name, fresh):
    tag = fresh("image")
    docker("run", "-d", "--name", name, image, "sh", "-c", "echo x > /x; sleep 60")
    docker("exec", name, "sh", "-c", "until [ -s /x ]; do :; done")
    docker("commit", name, tag)
    assert docker.format(name, "{{.State.Status}}") == "running"
    assert docker("run", "--rm", tag, "cat", "/x").text == "x"


def test_export_and_import(docker, image, name, fresh, tmp_path):
    tag = fresh("image")
    docker("run", "--name", name, image, "sh", "-c", "echo new > /new; chown 1000:2000 /new; rm /etc/hello")
    docker("export", "-o", tmp_path / "root.tar", name)
    with tarfile.open(tmp_path / "root.tar") as archive:
        names = archive.getnames()
        assert {"new", "bin/busybox", "etc/passwd"} <= set(names)
        assert "etc/hello" not in names
        assert (archive.getmember("new").uid, archive.getmember("new").gid) == (1000, 2000)
        assert archive.getmember("bin/sh").linkname == "busybox"
    assert docker("export", name).out == (tmp_path / "root.tar").read_bytes()
    docker("import", "-c", 'CMD ["/bin/cat", "/new"]', tmp_path / "root.tar", tag)
    assert docker("run", "--rm", tag).text == "new"
    assert len(docker.inspect("image", tag)["RootFS"]["Layers"]) == 1
