"""The manifests under deploy/kubernetes, as written: no cluster and no kubectl is needed."""

import re
from dataclasses import MISSING, fields
from itertools import chain
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml
from dotenv import dotenv_values

from app.settings import Settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
KUBERNETES = ("1.30", "1.37")  # the oldest and the newest that the manifests are for

KUSTOMIZATIONS = {path.parent.name: yaml.safe_load(path.read_text()) for path in FOLDER.rglob("kustomization.yaml")}
FILES = [path for path in sorted(FOLDER.rglob("*.yaml")) if path.name != "kustomization.yaml"]
BY_FILE = {path: list(yaml.safe_load_all(path.read_text())) for path in FILES}
RESOURCES = {
    f"{path.parent.name}/{resource['kind']}/{resource['metadata']['name']}": resource
    for path, resources in BY_FILE.items()
    for resource in resources
}
SETTINGS_ENV = dotenv_values(FOLDER / "common" / "settings.env")
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]

SET_BY_IMAGE = set(re.findall(r"\b([A-Z_]+)=", (ROOT / "Dockerfile").read_text()))
DIFFERENT_HERE = {"TRUSTED_PROXIES", "LOG_FORMAT"}  # there is an ingress; logs are not read in a terminal
DEFAULTS = {each.name.upper(): str(each.default) for each in fields(Settings) if each.default is not MISSING}
NAMES = {each.name.upper() for each in fields(Settings)} - SET_BY_IMAGE
SECRET_NAME = re.compile(r"PASS|SECRET|TOKEN|_KEY|_URL")

TEXT, COUNT, OBJECT = {"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}, "object"


def closed(required, **properties):
    return {
        "type": OBJECT,
        "properties": properties | required,
        "required": [*required],
        "additionalProperties": False,
    }


# The parts of KEDA in use; its schemas come without a validator.
METADATA = closed({"name": TEXT})
TRIGGER = closed(
    {
        "type": {"const": "rabbitmq"},
        "metadata": closed(
            {
                "protocol": {"const": "amqp"},
                "queueName": TEXT,
                "mode": {"const": "QueueLength"},
                "value": {"type": "string", "pattern": "^[0-9]+$"},
            }
        ),
        "authenticationRef": closed({"name": TEXT}),
    }
)
KEDA = {
    "ScaledObject": closed(
        {
            "apiVersion": {"const": "keda.sh/v1alpha1"},
            "kind": {"const": "ScaledObject"},
            "metadata": METADATA,
            "spec": closed(
                {
                    "scaleTargetRef": closed({"name": TEXT}),
                    "triggers": {"type": "array", "items": TRIGGER, "minItems": 1},
                },
                minReplicaCount=COUNT,
                maxReplicaCount=COUNT,
                cooldownPeriod=COUNT,
            ),
        }
    ),
    "TriggerAuthentication": closed(
        {
            "apiVersion": {"const": "keda.sh/v1alpha1"},
            "kind": {"const": "TriggerAuthentication"},
            "metadata": METADATA,
            "spec": closed(
                {
                    "secretTargetRef": {
                        "type": "array",
                        "items": closed({"parameter": {"const": "host"}, "name": TEXT, "key": TEXT}),
                    }
                }
            ),
        }
    ),
}


def of_kind(*kinds):
    return {name: resource for name, resource in RESOURCES.items() if resource["kind"] in kinds}


DEPLOYMENTS = of_kind("Deployment")
WORKLOADS = of_kind("Deployment", "Job")


def pod(resource):
    return resource["spec"]["template"]["spec"]


def container(resource):
    (only,) = pod(resource)["containers"]
    return only


def labels(resource):
    return resource["spec"]["template"]["metadata"]["labels"]


def deployment(component):
    return RESOURCES[f"service/Deployment/lenta-{component}"]


def value_after(command, option):
    return command[command.index(option) + 1]


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("name", RESOURCES)
def test_a_manifest_is_what_kubernetes_knows_and_has_no_unknown_field(name, version):
    resource = RESOURCES[name]

    if resource["kind"] in KEDA:
        jsonschema.validate(resource, KEDA[resource["kind"]])
    else:
        kubernetes_validate.validate(resource, version, strict=True)


def test_an_unknown_field_is_found():
    broken = yaml.safe_load(yaml.dump(deployment("web")))
    broken["spec"]["template"]["spec"]["containers"][0]["resource"] = {}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, KUBERNETES[-1], strict=True)


def test_every_file_is_applied_by_one_kustomization_or_is_an_example():
    named = {FOLDER / folder / file for folder, each in KUSTOMIZATIONS.items() for file in each["resources"]}

    assert named == {path for path in FILES if path.parent.name != "examples"}


@pytest.mark.parametrize("folder", ["migrate", "service"])
def test_migration_and_service_share_namespace_settings_and_image(folder):
    assert KUSTOMIZATIONS[folder]["components"] == ["../common"]
    assert not KUSTOMIZATIONS[folder].keys() & {"images", "namespace", "configMapGenerator"}


def test_everything_is_in_one_namespace():
    namespace = RESOURCES["common/Namespace/lenta"]["metadata"]["name"]

    assert {KUSTOMIZATIONS[folder]["namespace"] for folder in ("common", "keda")} == {namespace}
    for name, resource in RESOURCES.items():
        if name.startswith("examples/"):
            assert resource["metadata"]["namespace"] == namespace


def test_the_settings_are_exactly_those_of_the_service():
    secrets = RESOURCES["examples/Secret/lenta-secrets"]["stringData"]

    assert not SETTINGS_ENV.keys() & secrets.keys()
    assert SETTINGS_ENV.keys() | secrets.keys() == NAMES


def test_a_setting_is_its_default_where_no_reason_is_given():
    for name, value in SETTINGS_ENV.items():
        assert (value == DEFAULTS[name]) != (name in DIFFERENT_HERE), name


def test_the_settings_can_be_used():
    urls = dict.fromkeys(("USERS_DATABASE_URL", "POSTS_DATABASE_URL"), "postgresql://postgres/lenta")
    servers = {"REDIS_URL": "redis://redis", "BROKER_URL": "amqp://rabbitmq", "JWT_SECRET_KEY": "5" * 64}

    settings = Settings.from_env({**SETTINGS_ENV, **urls, **servers})

    assert settings.log_format == "json"


def test_secrets_are_in_the_secret_and_the_example_has_none():
    secrets = RESOURCES["examples/Secret/lenta-secrets"]["stringData"]

    assert secrets.keys() == {name for name in NAMES if SECRET_NAME.search(name)}
    assert set(secrets.values()) == {""}
    assert "Secret" not in {
        resource["kind"] for name, resource in RESOURCES.items() if not name.startswith("examples/")
    }


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_container_gets_settings_and_secrets_by_reference_only(name):
    assert container(WORKLOADS[name])["envFrom"] == [
        {"configMapRef": {"name": "lenta-settings"}},
        {"secretRef": {"name": "lenta-secrets"}},
    ]
    assert "env" not in container(WORKLOADS[name])
    assert KUSTOMIZATIONS["common"]["configMapGenerator"] == [{"name": "lenta-settings", "envs": ["settings.env"]}]


def test_all_run_the_one_image_whose_version_stands_in_one_place():
    assert {container(workload)["image"] for workload in WORKLOADS.values()} == {"lenta"}
    (image,) = KUSTOMIZATIONS["common"]["images"]
    assert image["name"] == "lenta"
    assert re.fullmatch(r"\d+\.\d+\.\d+", image["newTag"])


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_pod_runs_with_no_more_rights_than_it_uses(name):
    specification, only = pod(WORKLOADS[name]), container(WORKLOADS[name])

    assert specification["automountServiceAccountToken"] is False
    assert specification["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert only["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
    (volume,) = specification["volumes"]
    assert volume["name"] == "tmp"
    assert "emptyDir" in volume


def test_the_user_is_the_image_s():
    assert "USER 10001" in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_container_asks_for_processor_and_memory_and_is_limited(name):
    resources = container(WORKLOADS[name])["resources"]

    assert resources["requests"].keys() == resources["limits"].keys() == {"cpu", "memory"}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_deployment_has_probes_on_a_port_it_names(name):
    only = container(DEPLOYMENTS[name])
    ports = {port["name"] for port in only["ports"]}

    for probe in ("startupProbe", "livenessProbe"):
        assert only[probe]["httpGet"]["port"] in ports


def test_the_web_is_live_while_it_answers_and_ready_while_its_databases_do():
    web = container(deployment("web"))

    assert web["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert web["startupProbe"]["httpGet"]["path"] == "/health/live"
    assert web["readinessProbe"]["httpGet"]["path"] == "/health/ready"


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_selectors_budgets_and_spread_mean_the_pods_of_one_deployment(name):
    own = {"matchLabels": labels(DEPLOYMENTS[name])}
    budgets = of_kind("PodDisruptionBudget")

    assert DEPLOYMENTS[name]["spec"]["selector"] == own
    assert [each["spec"] for each in budgets.values() if each["spec"]["selector"] == own] == [
        {"maxUnavailable": 1, "selector": own}
    ]
    for constraint in pod(DEPLOYMENTS[name])["topologySpreadConstraints"]:
        assert constraint["labelSelector"] == own
    assert len({str(labels(each)) for each in WORKLOADS.values()}) == len(WORKLOADS)


def test_the_service_and_the_ingress_lead_to_the_web():
    service, web = RESOURCES["service/Service/lenta-web"], container(deployment("web"))
    (rule,) = RESOURCES["examples/Ingress/lenta"]["spec"]["rules"]

    assert service["spec"]["selector"] == labels(deployment("web"))
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["http"]
    assert {port["name"]: port["containerPort"] for port in web["ports"]}["http"] == Settings.port
    for path in rule["http"]["paths"]:
        assert path["backend"] == {"service": {"name": "lenta-web", "port": {"name": "http"}}}


def test_the_ingress_lets_in_every_route_but_those_for_the_operator(app):
    (rule,) = RESOURCES["examples/Ingress/lenta"]["spec"]["rules"]

    reached = {path["path"] for path in rule["http"]["paths"]}

    assert reached == {f"/{each.rule.split('/')[1]}" for each in app.url_map.iter_rules()} - {"/health", "/metrics"}


def test_a_pod_has_as_long_to_end_as_compose_gives_it():
    web, pause = (
        deployment("web"),
        value_after(container(deployment("web"))["lifecycle"]["preStop"]["exec"]["command"], "sleep"),
    )
    gunicorn = re.search(r"graceful_timeout = (\d+)", (ROOT / "gunicorn.conf.py").read_text())[1]

    assert pod(web)["terminationGracePeriodSeconds"] >= int(pause) + int(gunicorn) + 5
    for worker in ("worker", "worker-bulk"):
        assert f"{pod(deployment(worker))['terminationGracePeriodSeconds']}s" == COMPOSE[worker]["stop_grace_period"]


@pytest.mark.parametrize("worker", ["worker", "worker-bulk"])
def test_a_worker_is_started_as_in_compose(worker):
    in_compose = [
        part.replace("${BROKER_NAMESPACE:-lenta}", "$(BROKER_NAMESPACE)").replace("${WORKER_THREADS:-4}", "4")
        for part in COMPOSE[worker]["command"]
    ]

    assert container(deployment(worker))["command"] == in_compose


def test_migration_is_done_as_in_compose():
    assert container(RESOURCES["migrate/Job/lenta-migrate"])["command"] == COMPOSE["migrate"]["command"]


def test_every_deployment_has_one_autoscaler_and_no_number_of_its_own():
    scalers = of_kind("HorizontalPodAutoscaler", "ScaledObject")

    targets = [each["spec"]["scaleTargetRef"]["name"] for each in scalers.values()]

    assert sorted(targets) == sorted(each["metadata"]["name"] for each in DEPLOYMENTS.values())
    assert not any("replicas" in each["spec"] for each in DEPLOYMENTS.values())


@pytest.mark.parametrize("worker", ["worker", "worker-bulk"])
def test_a_worker_is_scaled_by_the_queues_it_works_off(worker):
    command = container(deployment(worker))["command"]
    queues = command[command.index("--queues") + 1 : command.index("--processes")]
    scaler = RESOURCES[f"keda/ScaledObject/lenta-{worker}"]["spec"]

    assert [trigger["metadata"]["queueName"] for trigger in scaler["triggers"]] == [
        queue.replace("$(BROKER_NAMESPACE)", SETTINGS_ENV["BROKER_NAMESPACE"]) for queue in queues
    ]
    assert scaler["minReplicaCount"] > 0
    assert {trigger["authenticationRef"]["name"] for trigger in scaler["triggers"]} == {"lenta-broker"}


def test_the_scaler_reads_the_broker_s_address_from_the_secret():
    (reference,) = RESOURCES["keda/TriggerAuthentication/lenta-broker"]["spec"]["secretTargetRef"]

    assert reference == {"parameter": "host", "name": "lenta-secrets", "key": "BROKER_URL"}


def test_nothing_comes_in_but_by_ports_that_containers_name():
    policies = of_kind("NetworkPolicy")
    named = {port["name"] for each in DEPLOYMENTS.values() for port in container(each)["ports"]}
    allowed = [rule["ports"] for each in policies.values() for rule in each["spec"].get("ingress", [])]

    assert {port["port"] for port in chain.from_iterable(allowed)} == named
    assert "ingress" not in RESOURCES["service/NetworkPolicy/lenta"]["spec"]


def test_the_readme_names_only_what_is_there():
    readme = (FOLDER / "README.md").read_text()

    for path in re.findall(r"deploy/kubernetes/([\w./-]+)", readme):
        assert (FOLDER / path).exists(), path
    for kind, name in re.findall(r"\b(deployment|job)/([\w-]+)", readme):
        assert any(each.endswith(f"/{kind.capitalize()}/{name}") for each in RESOURCES), name
