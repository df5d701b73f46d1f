"""`docker build` with the classic builder: instructions, stages, context, cache, errors."""

from __future__ import annotations

import io
import re
import tarfile

import pytest

pytestmark = pytest.mark.usefixtures("image")


@pytest.fixture
def build(docker, tmp_path, fresh):
    """Builds a Dockerfile with files beside it; the tag and what was said."""

    def run(text, *options, files=None, code=0):
        for name, content in (files or {}).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        (tmp_path / "Dockerfile").write_text(text)
        tag = fresh("image")
        done = docker("build", "-t", tag, *options, tmp_path, code=code)
        return tag, done

    return run


def test_steps_are_told(docker, build):
    tag, done = build("FROM busybox:e2e\nRUN echo from the build\nCMD echo done\n")
    assert "Step 1/3 : FROM busybox:e2e" in done.lines
    assert "Step 2/3 : RUN echo from the build" in done.lines
    assert "from the build" in done.lines
    assert any(line.startswith(" ---> Running in ") for line in done.lines)
    assert any(line.startswith("Successfully built ") for line in done.lines)
    assert done.lines[-1] == f"Successfully tagged {tag}"
    assert docker("run", "--rm", tag).text == "done"


def test_all_instructions_are_kept(docker, build):
    tag, _ = build(
        """
        # a comment
        ARG WHAT=busybox:e2e
        FROM $WHAT
        LABEL one=1 two="zwei drei"
        MAINTAINER Some One
        ENV A=1 B="two words" C=${A}x
        ENV OLD style of words
        WORKDIR /work
        WORKDIR sub
        EXPOSE 80 53/udp
        VOLUME ["/data", "/more"]
        USER worker:crew
        STOPSIGNAL SIGUSR1
        SHELL ["/bin/sh", "-e", "-c"]
        HEALTHCHECK --interval=5s --timeout=2s --retries=4 --start-period=1s CMD test -e /x
        ONBUILD RUN echo later
        ENTRYPOINT ["echo", "hello"]
        CMD ["world"]
        """
    )
    config = docker.inspect("image", tag)["Config"]
    assert config["Labels"] == {"one": "1", "two": "zwei drei"}
    assert {"A=1", "B=two words", "C=x", "OLD=style of words"} <= set(config["Env"])
    assert config["WorkingDir"] == "/work/sub"
    assert set(config["ExposedPorts"]) == {"80/tcp", "53/udp"}
    assert set(config["Volumes"]) == {"/data", "/more"}
    assert (config["User"], config["StopSignal"], config["Shell"]) == ("worker:crew", "SIGUSR1", ["/bin/sh", "-e", "-c"])
    second = 1_000_000_000
    assert config["Healthcheck"] == {
        "Test": ["CMD-SHELL", "test -e /x"], "Interval": 5 * second, "Timeout": 2 * second, "StartPeriod": second, "Retries": 4,
    }  # fmt: skip
    assert config["OnBuild"] == ["RUN echo later"]
    assert (config["Entrypoint"], config["Cmd"]) == (["echo", "hello"], ["world"])
    assert docker.inspect("image", tag)["Author"] == "Some One"
    assert docker("run", "--rm", tag).text == "hello world"
    assert docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", tag).lines[0].endswith('#(nop)  CMD ["world"]')


def test_on_build_runs_in_the_next_one(docker, build, fresh):
    first, _ = build("FROM busybox:e2e\nONBUILD RUN echo x > /made\n")
    second, done = build(f"FROM {first}\nCMD cat /made\n")
    assert "build trigger" in done.text
    assert docker("run", "--rm", second).text == "x"


def test_copy_and_add(docker, build, tmp_path):
    with tarfile.open(tmp_path / "archive.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("inner/file")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"tar"))
    files = {"a.txt": "a", "b.txt": "b", "folder/c.txt": "c", "folder/deep/d.txt": "d"}
    tag, _ = build(
        """FROM busybox:e2e
COPY a.txt /one
COPY *.txt /many/
COPY folder /as/
COPY ["a.txt", "/with space/"]
COPY --chown=1000:2000 --chmod=640 a.txt /owned
ADD archive.tar.gz /unpacked/
COPY archive.tar.gz /packed/
WORKDIR /work
COPY a.txt relative
CMD cat /one /many/b.txt /as/c.txt /as/deep/d.txt "/with space/a.txt" /unpacked/inner/file relative; ls /packed; stat -c '%u:%g' /owned
""".replace(" --chmod=640", ""),
        files=files,
    )
    assert docker("run", "--rm", tag).lines == ["abcdatara" + "archive.tar.gz", "1000:2000"]


def test_stages(docker, build):
    text = """FROM busybox:e2e AS first
RUN echo one > /one
FROM busybox:e2e AS second
COPY --from=first /one /copied
RUN echo two >> /copied
FROM busybox:e2e
COPY --from=second /copied /final
COPY --from=0 /one /again
COPY --from=busybox:e2e /etc/hello /foreign
CMD cat /final /again /foreign; test -e /one || echo clean
"""
    tag, _ = build(text)
    assert docker("run", "--rm", tag).lines == ["one", "two", "one", "hello from the image", "clean"]


def test_a_target(docker, build):
    text = "FROM busybox:e2e AS first\nCMD echo first\nFROM busybox:e2e AS second\nRUN false\n"
    tag, _ = build(text, "--target", "first")
    assert docker("run", "--rm", tag).text == "first"
    _, done = build(text, "--target", "nowhere", code=1)
    assert "nowhere" in done.said


def test_arguments(docker, build):
    text = "FROM busybox:e2e\nARG NAME=default\nARG OTHER\nRUN echo $NAME-$OTHER-$http_proxy > /made\n"
    text += "ENV KEPT=$NAME\nCMD cat /made; echo $KEPT $NAME\n"
    tag, _ = build(text)
    assert docker("run", "--rm", tag).lines == ["default--", "default"]
    tag, _ = build(text, "--build-arg", "NAME=given", "--build-arg", "OTHER=too", "--build-arg", "http_proxy=p")
    assert docker("run", "--rm", tag).lines == ["given-too-p", "given"]
    _, done = build(text, "--build-arg", "UNKNOWN=1")
    assert "[Warning] One or more build-args [UNKNOWN] were not consumed" in done.text + done.said


def test_what_is_ignored(docker, build):
    files = {".dockerignore": "# comment\n*.log\n**/secret\nfolder/*\n!folder/kept\n", "a.log": "x", "a.txt": "x", "secret": "x"}
    files |= {"folder/kept": "x", "folder/gone": "x", "deep/er/secret": "x", "deep/er/b.log": "x"}
    tag, _ = build("FROM busybox:e2e\nCOPY . /all\nCMD cd /all && find . -type f | sort\n", files=files)
    assert docker("run", "--rm", tag).lines == ["./.dockerignore", "./Dockerfile", "./a.txt", "./deep/er/b.log", "./folder/kept"]


def test_cache(docker, build):
    text = (
        "FROM busybox:e2e\nRUN cat /proc/sys/kernel/random/uuid > /when\nCOPY file /file\nRUN cat /file > /copied\nCMD cat /when /copied\n"
    )
    first, _ = build(text, files={"file": "1\n"})
    second, done = build(text)
    assert done.lines.count(" ---> Using cache") == 4
    assert docker.inspect("image", first)["Id"] == docker.inspect("image", second)["Id"]
    third, done = build(text, files={"file": "2\n"})
    assert done.lines.count(" ---> Using cache") == 1
    assert docker("run", "--rm", third).lines == [docker("run", "--rm", first).lines[0], "2"]
    fourth, done = build(text, "--no-cache")
    assert " ---> Using cache" not in done.lines
    assert docker("run", "--rm", fourth).lines[0] != docker("run", "--rm", first).lines[0]


def test_cache_minds_arguments(docker, build):
    text = "FROM busybox:e2e\nARG N=1\nRUN echo $N > /n\nCMD cat /n\n"
    assert docker("run", "--rm", build(text)[0]).text == "1"
    assert docker("run", "--rm", build(text, "--build-arg", "N=2")[0]).text == "2"
    assert docker("run", "--rm", build(text)[0]).text == "1"


def test_a_file_from_elsewhere_and_from_stdin(docker, tmp_path, fresh):
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "x").write_text("x")
    (tmp_path / "Other").write_text("FROM busybox:e2e\nCOPY x /x\n")
    docker("build", "-t", fresh("image"), "-f", tmp_path / "Other", tmp_path / "context")
    tag = fresh("image")
    docker("build", "-t", tag, "-", typed=b"FROM busybox:e2e\nCMD echo from stdin\n")
    assert docker("run", "--rm", tag).text == "from stdin"


@pytest.mark.parametrize("compression", ["", "gz", "xz", "bz2"])
def test_a_context_that_is_a_stream(docker, fresh, compression):
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode=f"w:{compression}") as archive:
        for name, data in (("Dockerfile", b"FROM busybox:e2e\nCOPY file /file\nCMD cat /file\n"), ("file", b"streamed\n")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    tag = fresh("image")
    docker("build", "-t", tag, "-", typed=output.getvalue())
    assert docker("run", "--rm", tag).text == "streamed"


def test_labels_and_several_tags(docker, build, fresh):
    other = fresh("image")
    tag, _ = build("FROM busybox:e2e\n", "--label", "x=y", "-t", other)
    assert docker.inspect("image", other)["Config"]["Labels"] == {"x": "y"}
    assert docker.inspect("image", other)["Id"] == docker.inspect("image", tag)["Id"]


def test_quiet_prints_the_id(docker, build):
    tag, done = build("FROM busybox:e2e\nRUN echo noise\n", "-q")
    assert done.text == docker.inspect("image", tag)["Id"]


def test_iidfile(docker, build, tmp_path):
    tag, _ = build("FROM busybox:e2e\n", "--iidfile", tmp_path / "id")
    assert (tmp_path / "id").read_text() == docker.inspect("image", tag)["Id"]


def test_from_scratch(docker, build):
    tag, _ = build("FROM scratch\nCOPY x /x\n", files={"x": "x"})
    assert len(docker.inspect("image", tag)["RootFS"]["Layers"]) == 1


def test_users_and_shells(docker, build):
    tag, _ = build(
        "FROM busybox:e2e\nUSER worker\nWORKDIR /tmp\nRUN id -un > who\n"
        'SHELL ["/bin/sh", "-x", "-c"]\nRUN echo shell\nCMD ["cat", "/tmp/who"]\n'
    )
    assert docker("run", "--rm", tag).text == "worker"


def test_deleted_files_stay_deleted(docker, build):
    tag, _ = build("FROM busybox:e2e\nRUN rm /etc/hello && mkdir /new && rm -r /var\nRUN mkdir /var && touch /var/x\nCMD ls /etc /var\n")
    lines = docker("run", "--rm", tag).lines
    assert "hello" not in lines
    assert lines[-1] == "x"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("FROM busybox:e2e\nRUN exit 7\n", "The command '/bin/sh -c exit 7' returned a non-zero code: 7"),
        (
            "FROM busybox:e2e\nCOPY missing /x\n",
            "file not found in build context.*missing",
        ),
        ("FROM busybox:e2e\nNOSUCH thing\n", "unknown instruction: NOSUCH"),
        ("RUN echo first\n", "no build stage in current context"),
        ("", "empty|no instructions"),
        ("FROM busybox:e2e\nCOPY --from=nothing-here:x /a /b\n", "nothing-here"),
        ("FROM busybox:e2e\nCOPY ../outside /x\n", "outside"),
        ("FROM busybox:e2e\nEXPOSE nonsense\n", "nonsense"),
        ("FROM busybox:e2e\nENV\n", "ENV"),
    ],
)
def test_errors(build, text, sentence):
    _, done = build(text, code=None)
    assert done.code != 0
    assert re.search(sentence.lower(), done.said.lower())


def test_a_failed_step_leaves_no_container_behind(docker, build):
    before = set(docker("ps", "-aq").lines)
    build("FROM busybox:e2e\nRUN exit 3\n", "--force-rm", code=3)
    assert set(docker("ps", "-aq").lines) == before


def test_limits_and_networks_of_the_build(docker, build):
    text = "FROM busybox:e2e\nRUN cat /sys/class/net/*/operstate | wc -l\n"
    assert "1" in build(text, "--network", "none", "--no-cache", "-m", "64m")[1].lines


def test_prune_of_the_builders_cache(docker, build):
    build("FROM busybox:e2e\nRUN echo x\n")
    assert re.match(r"Total( reclaimed space)?:\s+\S+$", docker("builder", "prune", "-f").lines[-1])
