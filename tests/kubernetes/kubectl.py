"""`kubectl` in one namespace, and the images in the cluster."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.cluster.image_builds import ImageFlags, build, find_client, reference, size_bytes
from tests.fixtures.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
LOADED = ROOT / "build" / "kubernetes"  # a mark for each image that a cluster has
Object = dict[str, Any]


@dataclass(frozen=True)
class Kubectl:
    """The cluster that KUBECONFIG names."""

    namespace: str

    def __call__(self, *arguments: str, given: str | None = None, check: bool = True) -> str:
        """What kubectl prints."""
        command = ["kubectl", "--namespace", self.namespace, *arguments]
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=300)
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def apply(self, *objects: Object) -> None:
        """Create objects, or change them."""
        self("apply", "--filename", "-", given="\n---\n".join(map(json.dumps, objects)))

    def create(self, thing: Object) -> Object:
        """Create an object; what became of it."""
        return json.loads(self("create", "--output", "json", "--filename", "-", given=json.dumps(thing)))

    def get(self, kind: str, name: str) -> Object | None:
        """An object; None if there is none."""
        found = self("get", kind, name, "--ignore-not-found", "--output", "json")
        return json.loads(found) if found else None

    def items(self, kind: str, selector: str = "") -> list[Object]:
        """All objects of a kind."""
        return json.loads(self("get", kind, "--selector", selector, "--output", "json"))["items"]

    def logs(self, pod: str, container: str = "main") -> str:
        """What a container has printed; empty if there is nothing yet."""
        return self("logs", pod, "--container", container, check=False)

    def finished(self, pod: str, seconds: float = 300) -> Object:
        """A pod that has ended."""

        def ended() -> Object | None:
            found = self.get("pod", pod)
            assert found is not None, f"{pod} is gone"
            return found if found["status"].get("phase") in ("Succeeded", "Failed") else None

        return until(ended, seconds, lambda: self("describe", "pod", pod))

    @contextmanager
    def forward(self, service: str, port: int) -> Iterator[str]:
        """HOST:PORT on this machine that leads to a service."""
        (local,) = free_ports(1)
        command = f"kubectl --namespace {self.namespace} port-forward service/{service} {local}:{port}"
        again = f"while true; do {command}; sleep 0.2; done"  # it ends when a connection breaks
        process = subprocess.Popen(["sh", "-c", again], stdout=subprocess.PIPE, text=True, start_new_session=True)
        try:
            assert process.stdout is not None
            assert "Forwarding" in process.stdout.readline()
            yield f"127.0.0.1:{local}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def until(found: Callable[[], Any], seconds: float, explain: Callable[[], str] = str) -> Any:
    """What `found` returns as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {explain()}"
        time.sleep(1)
    return value


def image(step: str) -> str:
    """The image of a step, built and in the cluster."""
    build(ImageFlags((step,), docker=find_client()))
    return load(reference(step))


def load(name: str) -> str:
    """Bring an image of this machine into the cluster, once."""
    client, context = find_client(), subprocess.getoutput("kubectl config current-context")
    assert size_bytes(client, name), f"{name} is not on this machine"
    mark = LOADED / f"{name.replace('/', '_')}@{_cluster_id()}"
    if not mark.exists():
        if command := os.environ.get("SPEECHMILL_LOAD_IMAGE"):
            subprocess.run([*command.split(), name], check=True)
        elif context.startswith("kind-") and shutil.which("kind"):
            kind = ["kind", "load", "docker-image", "--name", context.removeprefix("kind-"), name]
            subprocess.run(kind, check=True)
        LOADED.mkdir(parents=True, exist_ok=True)
        mark.touch()
    return name


def _cluster_id() -> str:
    """What tells a cluster from another one, and from itself after it was made anew."""
    return subprocess.getoutput("kubectl get namespace kube-system --output 'jsonpath={.metadata.uid}'")
