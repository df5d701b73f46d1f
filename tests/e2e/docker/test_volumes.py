"""Volumes and binds: what is mounted where, who fills and who keeps it."""

from __future__ import annotations

import os

import pytest

from support.engines.http import call


def test_life_of_a_volume(docker, fresh):
    volume = fresh("volume")
    assert docker("volume", "create", "--label", "x=y", volume).text == volume
    shown = docker.inspect("volume", volume)
    assert (shown["Name"], shown["Driver"], shown["Scope"], shown["Labels"]) == (volume, "local", "local", {"x": "y"})
    assert volume in docker("volume", "ls", "-q").lines
    assert docker("volume", "ls", "-q", "--filter", "label=x=y").lines == [volume]
    assert docker("volume", "rm", volume).text == volume
    assert "no such volume" in docker("volume", "inspect", volume, code=1).said.lower()


def test_a_volume_keeps(docker, image, fresh):
    volume = fresh("volume")
    docker("run", "--rm", "-v", f"{volume}:/data", image, "sh", "-c", "echo kept > /data/file")
    assert docker("run", "--rm", "-v", f"{volume}:/else:ro", image, "cat", "/else/file").text == "kept"
    done = docker("run", "--rm", "-v", f"{volume}:/data:ro", image, "touch", "/data/x", code=1)
    assert "Read-only file system" in done.said
    assert os.path.isdir(docker.inspect("volume", volume)["Mountpoint"])


def test_a_new_volume_gets_what_the_image_has(docker, image, fresh):
    volume = fresh("volume")
    assert "hello" in docker("run", "--rm", "-v", f"{volume}:/etc", image, "ls", "/etc").lines
    other = fresh("volume")
    assert "passwd" not in docker("run", "--rm", "-v", f"{other}:/etc:nocopy", image, "ls", "/etc").lines
    third = fresh("volume")
    assert docker("run", "--rm", "-v", f"{third}:/home/worker", image, "stat", "-c", "%u", "/home/worker").text == "1000"


def test_a_volume_in_use(docker, image, name, fresh):
    volume = fresh("volume")
    docker("create", "--name", name, "-v", f"{volume}:/data", image)
    assert "volume is in use" in docker("volume", "rm", volume, code=1).said


def test_a_volume_without_a_name_goes_with_rm(docker, image, name):
    def volumes():
        return set(docker("volume", "ls", "-q").lines)

    before = volumes()
    docker("run", "--rm", "-v", "/data", image, "touch", "/data/x")
    assert volumes() == before
    docker("run", "--name", name, "-v", "/data", image, "true")
    (made,) = volumes() - before
    assert len(made) == 64
    docker("rm", "-v", name)
    assert volumes() == before


def test_volumes_from(docker, image, name):
    docker("run", "--name", name, "-v", "/data", image, "sh", "-c", "echo x > /data/x")
    assert docker("run", "--rm", "--volumes-from", f"{name}:ro", image, "cat", "/data/x").text == "x"


def test_a_bind(docker, image, name, tmp_path):
    (tmp_path / "file").write_text("from the host\n")
    done = docker("run", "--name", name, "-v", f"{tmp_path}:/here", image, "sh", "-c", "cat /here/file; echo back > /here/answer")
    assert done.text == "from the host"
    assert (tmp_path / "answer").read_text() == "back\n"
    (mount,) = docker.inspect(name)["Mounts"]
    assert (mount["Type"], mount["Source"], mount["Destination"], mount["RW"]) == ("bind", str(tmp_path), "/here", True)


def test_a_bind_of_one_file_read_only(docker, image, tmp_path):
    (tmp_path / "file").write_text("x\n")
    done = docker("run", "--rm", "-v", f"{tmp_path}/file:/etc/one:ro", image, "sh", "-c", "cat /etc/one; echo y > /etc/one", code=1)
    assert done.text == "x"
    assert (tmp_path / "file").read_text() == "x\n"


def test_a_bind_makes_its_folder_and_a_mount_does_not(docker, image, tmp_path):
    docker("run", "--rm", "-v", f"{tmp_path}/made:/x", image, "touch", "/x/y")
    assert (tmp_path / "made" / "y").exists()
    said = docker("run", "--rm", "--mount", f"type=bind,src={tmp_path}/missing,dst=/x", image, "true", code=125).said
    assert "bind source path does not exist" in said


def test_mounts_in_words(docker, image, fresh):
    volume = fresh("volume")
    options = ("--mount", f"type=volume,src={volume},dst=/v", "--mount", "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700")
    lines = docker("run", "--rm", *options, image, "sh", "-c", "touch /v/x /t/x; df -k /t | tail -1; stat -c %a /t").lines
    assert lines[0].split()[1] == "1024"
    assert lines[1] == "700"


@pytest.fixture
def parted(docker, image, fresh):
    """A volume with folders, a file and links in it."""
    volume = fresh("volume")
    script = "mkdir -p a/b empty && echo deep > a/b/deep && echo one > file && ln -s a/b in && ln -s ../../.. out && ln -s /etc etc"
    docker("run", "--rm", "-v", f"{volume}:/v", "-w", "/v", image, "sh", "-c", script)
    return volume


def part(volume, path, target="/x", more=""):
    return ("--mount", f"type=volume,src={volume},dst={target},volume-subpath={path}{more}")


@pytest.mark.parametrize("path", ["a/b", "in", "a/../a/b/"])
def test_a_folder_of_a_volume(docker, image, name, parted, path):
    done = docker("run", "--name", name, *part(parted, path), image, "sh", "-c", "ls /x && cat /x/deep && echo new > /x/new && ls -a /x/..")
    assert done.lines[:2] == ["deep", "deep"]
    assert docker("run", "--rm", "-v", f"{parted}:/v", image, "cat", "/v/a/b/new").text == "new"
    docker("start", "-a", name)
    (mount,) = docker.inspect(name)["Mounts"]
    volume = docker.inspect("volume", parted)
    assert (mount["Type"], mount["Name"], mount["Source"]) == ("volume", parted, volume["Mountpoint"])
    assert docker.inspect(name)["HostConfig"]["Mounts"][0]["VolumeOptions"]["Subpath"] == path


def test_a_file_of_a_volume(docker, image, parted):
    script = "cat /etc/one; echo two > /etc/one"
    assert docker("run", "--rm", *part(parted, "file", "/etc/one"), image, "sh", "-c", script).text == "one"
    assert docker("run", "--rm", "-v", f"{parted}:/v", image, "cat", "/v/file").text == "two"
    docker("run", "--rm", *part(parted, "file", "/etc/one", ",readonly"), image, "sh", "-c", script, code=1)


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        ("missing", 127, "no such file or directory"),
        ("file/x", 125, "not a directory"),
        ("out", 125, "escapes"),
        ("etc", 125, "escapes"),
        ("/a", 125, "subpath must be a relative path within the volume"),
        ("..", 125, "subpath must be a relative path within the volume"),
    ],
)
def test_folders_that_a_volume_does_not_have(docker, image, parted, path, code, words):
    assert words in docker("run", "--rm", *part(parted, path), image, "true", code=code).said


def test_a_link_out_that_comes_later(docker, image, name, parted):
    """The path is looked at when the container starts."""
    docker("create", "--name", name, *part(parted, "a/b"), image, "ls", "/x")
    docker("run", "--rm", "-v", f"{parted}:/v", image, "sh", "-c", "rm -r /v/a/b && ln -s /etc /v/a/b")
    assert "escapes" in docker("start", name, code=1).said


def test_a_folder_of_a_volume_without_a_name(docker, image):
    said = docker("run", "--rm", "--mount", "type=volume,dst=/x,volume-subpath=a", image, "true", code=125).said
    assert "must not set Subpath when using anonymous volumes" in said


def test_what_the_image_has_comes_into_an_empty_folder(docker, image, parted):
    assert "passwd" in docker("run", "--rm", *part(parted, "empty", "/etc"), image, "ls", "/etc").lines
    assert docker("run", "--rm", *part(parted, "a", "/etc"), image, "cat", "/etc/b/deep").text == "deep"


def test_a_folder_of_a_volume_in_a_stopped_container(docker, image, name, parted, tmp_path):
    docker("create", "--name", name, *part(parted, "a"), *part(parted, "file", "/one"), image)
    docker("cp", f"{name}:/x/b/deep", tmp_path / "deep")
    assert (tmp_path / "deep").read_text() == "deep\n"
    docker("cp", f"{name}:/one", tmp_path / "one")
    assert (tmp_path / "one").read_text() == "one\n"
    docker("cp", tmp_path / "deep", f"{name}:/x/copied")
    assert docker("run", "--rm", "-v", f"{parted}:/v", image, "cat", "/v/a/copied").text == "deep"


def test_older_apis_have_whole_volumes(engine, image, parted):
    mount = {"Type": "volume", "Source": parted, "Target": "/x", "VolumeOptions": {"Subpath": "a/b"}}
    body = {"Image": image, "Cmd": ["ls", "/x"], "HostConfig": {"Mounts": [mount]}}
    status, _, answer = call(engine, "POST", "/v1.44/containers/create", body)
    assert status == 400
    assert b"VolumeOptions.Subpath needs API v1.45 or newer" in answer


def test_options_of_another_kind(engine, image):
    mount = {"Type": "bind", "Source": "/tmp", "Target": "/x", "VolumeOptions": {"NoCopy": True}}
    status, _, answer = call(engine, "POST", "/containers/create", {"Image": image, "HostConfig": {"Mounts": [mount]}})
    assert status == 400
    assert "VolumeOptions must not be specified on mount type" in answer.decode()


@pytest.mark.parametrize("inherited", [False, True])
def test_nothing_is_copied(docker, image, name, fresh, inherited):
    """As the mount says; and never into what comes of --volumes-from."""
    volume = fresh("volume")
    options = ("--mount", f"type=volume,src={volume},dst=/etc,volume-nocopy")
    if inherited:
        docker("create", "--name", name, "--mount", f"type=volume,src={volume},dst=/etc,volume-nocopy", image)
        options = ("--volumes-from", name)
    assert "passwd" not in docker("run", "--rm", *options, image, "ls", "/etc").lines


def test_a_bind_over_a_volume_in_order(docker, image, tmp_path):
    (tmp_path / "deep").write_text("deep\n")
    script = "ls /a; cat /a/b/deep"
    lines = docker("run", "--rm", "-v", f"{tmp_path}:/a/b", "--tmpfs", "/a", image, "sh", "-c", script).lines
    assert lines == ["b", "deep"]


@pytest.mark.parametrize("mode", ["rprivate", "rslave", "rshared"])
def test_propagation(docker, image, name, tmp_path, mode):
    done = docker("run", "--rm", "-v", f"{tmp_path}:/x:{mode}", image, "cat", "/proc/self/mountinfo", code=None)
    if done.code:
        assert "not a shared" in done.said
        return
    line = next(line for line in done.lines if line.split()[4] == "/x")
    tags = line.split(" - ")[0].split()[6:]
    assert ("shared" in " ".join(tags)) == (mode == "rshared")


def test_prune(docker, image, name):
    docker("volume", "create", "--label", "prune-me", "prune-this")
    done = docker("volume", "prune", "-f", "-a", "--filter", "label=prune-me")
    assert done.lines[:2] == ["Deleted Volumes:", "prune-this"]


def test_names_are_checked(docker):
    assert "[a-zA-Z0-9][a-zA-Z0-9_.-]" in docker("volume", "create", "a/b", code=1).said


def test_creating_twice_is_fine(docker, fresh):
    volume = fresh("volume")
    docker("volume", "create", volume)
    assert docker("volume", "create", volume).text == volume
