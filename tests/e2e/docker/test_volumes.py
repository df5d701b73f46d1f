"""Volumes and binds: what is mounted where, who fills and who keeps it."""

from __future__ import annotations

import os

import pytest


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
