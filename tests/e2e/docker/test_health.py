"""Health checks: what they find, how often, and what is told of it."""

from __future__ import annotations

from support.engines.client import until

QUICK = ("--health-interval", "200ms", "--health-timeout", "5s", "--health-retries", "2")


def health(docker, name):
    return docker.format(name, "{{.State.Health.Status}}")


def test_from_starting_to_healthy_to_unhealthy(docker, image, name):
    docker(
        "run", "-d", "--name", name, "--health-cmd", "test -e /fine", "--health-start-period", "60s", *QUICK, image, "sh", "-c", "sleep 60"
    )
    assert health(docker, name) == "starting"
    assert "(health: starting)" in docker("ps", "--filter", f"name={name}", "--format", "{{.Status}}").text
    docker("exec", name, "touch", "/fine")
    until(lambda: health(docker, name) == "healthy")
    assert "(healthy)" in docker("ps", "--filter", "health=healthy", "--filter", f"name={name}", "--format", "{{.Status}}").text
    docker("exec", name, "rm", "/fine")
    until(lambda: health(docker, name) == "unhealthy")
    record = docker.inspect(name)["State"]["Health"]
    assert record["FailingStreak"] >= 2
    assert record["Log"][-1]["ExitCode"] == 1
    assert len(record["Log"]) <= 5


def test_output_is_kept(docker, image, name):
    docker("run", "-d", "--name", name, "--health-cmd", "echo checked; exit 3", *QUICK, image, "sleep", "60")
    until(lambda: health(docker, name) == "unhealthy")
    entry = docker.inspect(name)["State"]["Health"]["Log"][0]
    assert (entry["ExitCode"], entry["Output"]) == (3, "checked\n")
    assert entry["Start"] <= entry["End"]


def test_a_check_that_takes_too_long_fails(docker, image, name):
    options = ("--health-interval", "100ms", "--health-timeout", "200ms", "--health-retries", "1")
    docker("run", "-d", "--name", name, "--health-cmd", "sleep 30", *options, image, "sleep", "60")
    until(lambda: health(docker, name) == "unhealthy")
    entry = docker.inspect(name)["State"]["Health"]["Log"][0]
    assert entry["ExitCode"] == -1
    assert "Health check exceeded timeout" in entry["Output"]


def test_the_images_check_can_be_switched_off(docker, image, name, fresh):
    tag = fresh("image")
    text = f"FROM {image}\nHEALTHCHECK --interval=200ms CMD true\nCMD sleep 60\n"
    docker("build", "-t", tag, "-", typed=text.encode())
    docker("run", "-d", "--name", name, "--no-healthcheck", tag)
    assert docker.format(name, "{{json .State.Health}}") == "null"
    docker("rm", "-f", name)
    docker("run", "-d", "--name", name, tag)
    until(lambda: health(docker, name) == "healthy")
