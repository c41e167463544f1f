"""docker-compose.yml and the image, held against the topology and the settings: Docker is not here."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from orchestrator import cli
from orchestrator.journeys import load_workspace
from orchestrator.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "deploy" / "docker"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict] = COMPOSE["services"]
IMAGE = SERVICES["worker"]["image"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == IMAGE}
ROLES = {
    name for name in OURS if OURS[name]["command"][0] in {"worker", "collect", "connect", "deliver"}
}
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
VERSION = re.compile(r"^[\w./-]+:v?\d+\.\d+(\.\d+)?(-[\w.-]+)?$")


def image_environment() -> dict[str, str]:
    """What the image sets."""
    lines = DOCKERFILE.partition("ENV PATH")[2].partition("USER")[0].replace("\\\n", " ")
    return dict(word.split("=", 1) for word in f"PATH{lines}".split())


def settings_of(name: str) -> Settings:
    """The settings that a service starts with, refused when unknown, as in the container."""
    given = image_environment() | SERVICES[name]["environment"]
    ours = {
        key: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)
        for key, value in given.items()
        if key.startswith("ORCHESTRATOR_")
    }
    assert ours.pop("ORCHESTRATOR_SETTINGS") == "/etc/orchestrator/orchestrator.yaml"
    return load_settings(DOCKER / "orchestrator.yaml", env=ours)


def published(name: str) -> dict[int, int]:
    """Container port -> port on the host."""
    ports = (entry.split(":") for entry in SERVICES[name].get("ports", []))
    return {int(inside): int(outside) for _, outside, inside in ports}


def web_port(name: str) -> int:
    """Where a role answers."""
    settings, command = settings_of(name), SERVICES[name]["command"]
    match command:
        case ["worker"]:
            return settings.worker.web_port
        case ["collect"]:
            return settings.collector.port
        case ["connect"]:
            return settings.connect.web_port
        case ["deliver", channel]:
            return settings.deliver[channel].web_port
        case _:
            pytest.fail(f"{name}: {command} is no role")


def test_images_are_pinned():
    for name, service in SERVICES.items():
        assert VERSION.match(service["image"]), f"{name}: {service['image']}"
    for base in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE):
        assert VERSION.match(base), base


def test_the_image_is_of_this_version():
    project = (ROOT / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.+)"$', project, re.MULTILINE)
    assert version is not None
    assert f"orchestrator:{version[1]}" == IMAGE


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_variable_is_a_setting(name: str):
    """An unknown one is refused; a wrong one too."""
    settings = settings_of(name)
    assert settings.worker.data_dir == "/var/lib/orchestrator"


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_command_exists(name: str):
    """Each command is one that the command line knows."""
    words = [word for word in OURS[name]["command"] if re.fullmatch(r"[a-z-]+", word)]
    verb = words[:1] if words[0] in {"worker", "collect", "connect", "deliver", "doctor"} else words
    assert cli.run([*verb, "--help"]) == 0


def test_every_channel_has_its_sink():
    """Of the example's policy, of the settings, and of the services: the same channels."""
    channels = set(load_workspace(ROOT / "deploy" / "example").catalog.policy.channels)
    settings = settings_of("worker")
    served = {name.removeprefix("deliver-") for name in SERVICES if name.startswith("deliver-")}
    assert channels == set(settings.deliver) == served
    for channel in served:
        assert SERVICES[f"deliver-{channel}"]["command"] == ["deliver", channel]


def test_roles_are_probed_scraped_and_reachable_where_they_listen():
    """One port for each role: in its settings, its health check, Prometheus' targets, on the host."""
    scrape = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    targets = {
        target: job["job_name"]
        for job in scrape["scrape_configs"]
        for config in job["static_configs"]
        for target in config["targets"]
    }
    for name in ROLES:
        port, command = web_port(name), SERVICES[name]["command"]
        probe = (image_environment() | SERVICES[name]["environment"])["HEALTHCHECK_URL"]
        assert urlsplit(probe).port == port, name
        assert urlsplit(probe).path in {"/livez", "/readyz"}, name
        assert targets.pop(f"{name}:{port}") == command[0], name
        assert set(published(name)) <= {port}, name
        assert web_host(name) == "0.0.0.0", f"{name} must be reachable from Prometheus"  # noqa: S104 - in its container
    assert not targets


def web_host(name: str) -> str:
    settings, command = settings_of(name), SERVICES[name]["command"]
    if command[0] == "deliver":
        return settings.deliver[command[1]].web_host
    if command[0] == "connect":
        return settings.connect.web_host
    return settings.worker.web_host if command[0] == "worker" else settings.collector.host


def test_addresses_lead_to_services():
    """Kafka, registry, mail server and worker are found under the names that the settings say."""
    settings, kafka = settings_of("worker"), SERVICES["kafka"]["environment"]
    bootstrap = settings.kafka["bootstrap.servers"]
    assert f"PLAINTEXT://{bootstrap}" in kafka["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert SERVICES["registry"]["environment"]["KARAPACE_BOOTSTRAP_URI"] == bootstrap
    url = urlsplit(settings.registry.url)
    assert url.hostname == "registry"
    assert str(url.port) == SERVICES["registry"]["environment"]["KARAPACE_PORT"]
    email = settings.deliver["email"]
    assert (email.host, email.port) == ("mailpit", 1025)
    worker = urlsplit(settings.worker.url)
    assert (worker.hostname, worker.port) == ("worker", web_port("worker"))
    host = next(one for one in kafka["KAFKA_ADVERTISED_LISTENERS"].split(",") if "127.0.0.1" in one)
    assert urlsplit(host).port in published("kafka")


def test_one_broker_is_asked_for_one_copy():
    settings, kafka = settings_of("worker"), SERVICES["kafka"]["environment"]
    copies = str(settings.topics.replication_factor)
    for name in (
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR",
    ):
        assert kafka[name] == copies
    assert SERVICES["registry"]["environment"]["KARAPACE_REPLICATION_FACTOR"] == copies


@pytest.mark.parametrize("name", sorted(OURS))
def test_roles_run_with_little_right(name: str):
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "USER 65532:65532" in DOCKERFILE


@pytest.mark.parametrize("name", sorted(ROLES - {"collect", "connect"}))
def test_what_keeps_state_keeps_it_in_a_volume(name: str):
    mounts = dict(reversed(mount.split(":")[:2]) for mount in SERVICES[name]["volumes"])
    volume = mounts[settings_of(name).worker.data_dir]
    assert volume in COMPOSE["volumes"]


def test_nothing_listens_beyond_this_machine():
    for name, service in SERVICES.items():
        for entry in service.get("ports", []):
            assert entry.startswith("127.0.0.1:"), name
    ports = [port for name in SERVICES for port in published(name).values()]
    assert len(ports) == len(set(ports))


def test_every_mounted_file_exists_and_every_dependency_is_a_service():
    for name, service in SERVICES.items():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), f"{name}: {source}"
            else:
                assert source in COMPOSE["volumes"], f"{name}: {source}"
        assert set(service.get("depends_on", [])) <= set(SERVICES)


def test_grafana_shows_our_dashboards_from_our_prometheus():
    provisioning = ROOT / "deploy" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())[
        "datasources"
    ]
    assert urlsplit(source["url"]).hostname in SERVICES
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "orchestrator.yaml").read_text())[
        "providers"
    ]
    mounts = dict(reversed(mount.split(":")[:2]) for mount in SERVICES["grafana"]["volumes"])
    folder = ROOT / mounts[provider["options"]["path"]]
    assert list(folder.glob("*.json"))
    for dashboard in folder.glob("*.json"):
        assert f'"uid": "{source["uid"]}"' in dashboard.read_text()


def test_the_image_has_what_it_copies_and_needs_no_shell():
    ignored = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    own = DOCKERFILE.replace("--from=build ", "--from=build:")
    for line in re.findall(r"^COPY (?!--from)(.+)$", own, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert any(source.startswith(rule[1:]) for rule in ignored if rule.startswith("!")), (
                source
            )
    assert 'ENTRYPOINT ["python", "-m", "orchestrator"]' in DOCKERFILE
    assert re.search(r"HEALTHCHECK .*\\\n\s+CMD \[", DOCKERFILE)
    assert "curl" not in DOCKERFILE.partition("FROM")[2]
