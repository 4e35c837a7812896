"""deploy/kubernetes: rendered by kustomize, checked by Kubernetes' schemas, and the container's command run here."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.dockerfile import stages
from tests.server import ROOT, command, serving
from tests.waiting import wait_for

KUBECTL = Path(sys.executable).parent / "kubectl"
FOLDER = ROOT / "deploy" / "kubernetes"
IMAGE = stages(ROOT / "deploy" / "container" / "Dockerfile")[-1]
VERSIONS = ("1.30.0", "1.37.0")
"""Of Kubernetes: one that is old, and the latest whose schemas are there."""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not KUBECTL.exists(), reason="kubectl has no wheel for this machine"),
]


class Manifests:
    """What one overlay becomes."""

    def __init__(self, overlay: str) -> None:
        self.overlay = overlay
        done = subprocess.run(
            [KUBECTL, "kustomize", FOLDER / "overlays" / overlay], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        self.all: list[dict[str, Any]] = list(yaml.safe_load_all(done.stdout))

    def one(self, kind: str) -> dict[str, Any]:
        (found,) = (manifest for manifest in self.all if manifest["kind"] == kind)
        return found

    @property
    def pod(self) -> dict[str, Any]:
        spec: dict[str, Any] = self.one("Deployment")["spec"]["template"]["spec"]
        return spec

    @property
    def container(self) -> dict[str, Any]:
        (found,) = self.pod["containers"]
        assert isinstance(found, dict)
        return found

    @property
    def variables(self) -> dict[str, str]:
        """The environment that the image and the ConfigMap make."""
        (source,) = self.container["envFrom"]
        config = self.one("ConfigMap")
        assert source == {"configMapRef": {"name": config["metadata"]["name"]}}
        assert all(isinstance(value, str) for value in config["data"].values())
        return {**IMAGE.environment(), **config["data"]}

    def option(self, name: str, default: float = 0) -> float:
        return float(self.variables.get(f"TINY_LISTENER_{name}", default))


@pytest.fixture(scope="module", params=["staging", "production"])
def manifests(request: pytest.FixtureRequest) -> Manifests:
    return Manifests(request.param)


def test_all_there(manifests: Manifests) -> None:
    assert sorted(manifest["kind"] for manifest in manifests.all) == [
        "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget", "PodMonitor",
        "Service",
    ]  # fmt: skip
    namespaces = {manifest["metadata"]["namespace"] for manifest in manifests.all}
    assert namespaces == {{"staging": "hello-staging", "production": "hello"}[manifests.overlay]}
    assert re.fullmatch(r"hello-[a-z0-9]{10}", manifests.one("ConfigMap")["metadata"]["name"])  # a change is another


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_them(manifests: Manifests, version: str) -> None:
    for manifest in manifests.all:
        if manifest["kind"] != "PodMonitor":
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_refuses_what_is_wrong(version: str) -> None:
    wrong = Manifests("staging").one("Deployment")
    wrong["spec"]["template"]["spec"]["terminationGracePeriod"] = 50
    with pytest.raises(kubernetes_validate.ValidationError, match="terminationGracePeriod"):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_selectors_and_ports_fit(manifests: Manifests) -> None:
    deployment = manifests.one("Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert labels
    for selector in (
        deployment["spec"]["selector"]["matchLabels"],
        manifests.one("Service")["spec"]["selector"],
        manifests.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        manifests.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        manifests.one("PodMonitor")["spec"]["selector"]["matchLabels"],
        manifests.pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ):
        assert selector == labels
    assert manifests.one("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"] == {
        "apiVersion": deployment["apiVersion"], "kind": "Deployment", "name": deployment["metadata"]["name"],
    }  # fmt: skip
    assert "replicas" not in deployment["spec"]  # each apply would undo what the autoscaler did
    ports = {port["name"]: port["containerPort"] for port in manifests.container["ports"]}
    assert ports == {"http": manifests.option("PORT"), "admin": manifests.option("ADMIN_PORT")}
    assert [port["targetPort"] for port in manifests.one("Service")["spec"]["ports"]] == ["http"]
    rules = manifests.one("NetworkPolicy")["spec"]["ingress"]
    assert {port["port"] for rule in rules for port in rule["ports"]} == {"http", "admin"}
    assert all(rule["from"] for rule in rules)  # without it, everybody


def test_the_monitor_is_one_that_the_operator_takes(manifests: Manifests) -> None:
    """A PodMonitor is no kind of Kubernetes' own: these are the fields of its CRD (monitoring.coreos.com/v1) in use."""
    monitor = manifests.one("PodMonitor")
    assert set(monitor) == {"apiVersion", "kind", "metadata", "spec"}
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert set(monitor["spec"]) == {"selector", "podMetricsEndpoints"}
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert set(endpoint) <= {"port", "path", "interval", "authorization"}
    assert (endpoint["port"], endpoint["path"]) == ("admin", "/metrics")
    assert re.fullmatch(r"\d+s", endpoint["interval"])
    if manifests.overlay == "production":
        (secret,) = (volume["secret"] for volume in manifests.pod["volumes"] if "secret" in volume)
        assert endpoint["authorization"]["credentials"]["name"] == secret["secretName"]
        (mount,) = (m for m in manifests.container["volumeMounts"] if m["name"] == "admin-token")
        key = endpoint["authorization"]["credentials"]["key"]
        assert manifests.variables["TINY_LISTENER_ADMIN_TOKEN_FILE"] == f"{mount['mountPath']}/{key}"
        assert secret["defaultMode"] & 0o040  # of the group that is fsGroup
        assert manifests.pod["securityContext"]["fsGroup"] == manifests.pod["securityContext"]["runAsGroup"]


def test_a_pod_has_the_time_to_stop_and_to_start(manifests: Manifests) -> None:
    stop = manifests.option("DRAIN_DELAY") + manifests.option("GRACEFUL_TIMEOUT", 30) + 1  # a worker's last second
    assert manifests.pod["terminationGracePeriodSeconds"] > stop
    assert manifests.option("DRAIN_DELAY") >= 5  # until nodes have heard of it
    assert "lifecycle" not in manifests.container  # a preStop hook's time would have to be added above
    startup = manifests.container["startupProbe"]
    assert startup["failureThreshold"] * startup["periodSeconds"] > manifests.option("BOOT_TIMEOUT", 60)


def test_a_pod_may_do_no_more_than_it_needs(manifests: Manifests) -> None:
    uid, gid = map(int, IMAGE.all("USER")[0].split(":"))
    pod, container = manifests.pod["securityContext"], manifests.container["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert (pod["runAsUser"], pod["runAsGroup"]) == (uid, gid)
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert manifests.pod["automountServiceAccountToken"] is False
    assert {"cpu", "memory"} <= set(manifests.container["resources"]["requests"])
    assert "memory" in manifests.container["resources"]["limits"]
    assert "/tmp" in {mount["mountPath"] for mount in manifests.container["volumeMounts"]}
    assert re.fullmatch(r"[\w./-]+:\d[\w.-]*", manifests.container["image"])


def test_a_disruption_leaves_pods(manifests: Manifests) -> None:
    budget = manifests.one("PodDisruptionBudget")["spec"]["maxUnavailable"]
    least = manifests.one("HorizontalPodAutoscaler")["spec"]["minReplicas"]
    assert budget < least or manifests.overlay == "staging"
    assert budget >= 1  # or no node can be emptied


def test_every_option_is_one(manifests: Manifests) -> None:
    known = set(re.findall(r"--[a-z][a-z-]+", command("--help").stdout))
    used = [word for word in manifests.container["args"] if word.startswith("-")]
    used += [f"--{name.removeprefix('TINY_LISTENER_').lower().replace('_', '-')}" for name in manifests.variables
             if name.startswith("TINY_LISTENER_")]  # fmt: skip
    assert set(used) <= known


# --- the container's command, here ----------------------------------------------------------------


@pytest.fixture
def variables(manifests: Manifests, tmp_path: Path) -> dict[str, str]:
    """The variables, with the token's file where there is one."""
    variables = {name: value for name, value in manifests.variables.items() if name.startswith("TINY_LISTENER_")}
    if "TINY_LISTENER_ADMIN_TOKEN_FILE" in variables:
        (tmp_path / "token").write_text("s3cret\n")
        variables["TINY_LISTENER_ADMIN_TOKEN_FILE"] = str(tmp_path / "token")
    return variables


def test_the_containers_command_serves_drains_and_answers_probes(
    manifests: Manifests, variables: dict[str, str]
) -> None:
    assert "command" not in manifests.container  # the image's ENTRYPOINT, which is tiny-listener
    probes = {
        name: manifests.container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert {probe["port"] for probe in probes.values()} == {"admin"}
    with serving(*manifests.container["args"], cwd=ROOT / "examples", env=variables) as server:
        assert len(server.workers()) == manifests.option("WORKERS")
        assert server.get("/user/Bob") == (200, b"Hello, Bob!")
        assert [server.admin(probe["path"])[0] for probe in probes.values()] == [200, 200, 200]

        (endpoint,) = manifests.one("PodMonitor")["spec"]["podMetricsEndpoints"]
        url = f"http://127.0.0.1:{server.admin_port}{endpoint['path']}"
        if "authorization" in endpoint:
            with pytest.raises(urllib.error.HTTPError, match="401") as refused:
                urllib.request.urlopen(url)
            refused.value.close()
        bearer = {"Authorization": f"{endpoint['authorization']['type']} s3cret"} if "authorization" in endpoint else {}
        with urllib.request.urlopen(urllib.request.Request(url, headers=bearer)) as response:
            assert b"tiny_listener_connections" in response.read()

        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: server.admin(probes["readinessProbe"]["path"])[0] == 503)
        assert server.admin(probes["livenessProbe"]["path"])[0] == 200
        assert server.get("/user/Bob") == (200, b"Hello, Bob!")  # --drain-delay is not over
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
