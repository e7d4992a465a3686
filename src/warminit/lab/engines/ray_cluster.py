"""address -> a connected Ray cluster, or one clear error; cluster -> its capacity in runs."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from warminit.errors import WarminitError
from warminit.lab.runs.environment import available_cores, device_kind

PATIENCE = 5.0
"""Seconds to wait for an answer from an address; Ray itself would wait for minutes."""

SMALLEST_STORE = 80 << 20
"""Bytes of a local cluster's object store, besides the data sets: the least that Ray accepts."""


def check_address(address: str | None) -> None:
    """Raise WarminitError if Ray is not installed, or no cluster answers at the address.

    Raises:
        WarminitError: If so; the text names the address and the command that starts a cluster.
    """
    _imported("ray")
    address = _resolved(address)
    if address in ("local", "auto"):
        return  # Ray checks these at once
    host, port = _split(address)
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except OSError as error:
        raise _unreachable(address, str(error)) from error
    # With TLS, only Ray reads the keys for a call.
    if not os.environ.get("RAY_USE_TLS") and not _speaks_grpc(host, port):
        raise _unreachable(address, "what listens there does not answer as Ray does")


@contextmanager
def connected(address: str | None, room: int) -> Iterator[Any]:
    """Yield the module `ray`, connected; a connection that was made here ends afterwards.

    Ray prints only its nodes' reports of lost workers. A cluster that is started here sends no
    usage statistics. The process's environment and SIGTERM handler are restored afterwards.

    Args:
        address: Address of the cluster, as in `EngineOptions`.
        room: Bytes of data sets, for the object store of a cluster that is started here.

    Raises:
        WarminitError: If there is no cluster at the address, or it cannot be started.
    """
    ray = _imported("ray")
    if ray.is_initialized():  # by the user's script, which keeps the connection
        yield ray
        return
    address = _resolved(address)
    settings: dict[str, Any] = {"address": address, "logging_level": "ERROR"}
    if not address.startswith("ray://"):
        settings["log_to_driver"] = False
    if address == "local":
        settings |= {
            "num_cpus": available_cores(),
            "object_store_memory": SMALLEST_STORE + room + room // 4,
            "include_dashboard": False,
        }
    with _process_kept():
        try:
            ray.init(**settings)
        except Exception as error:  # failures to connect have many types
            raise _unreachable(address, " ".join(str(error).split())) from error
        try:
            yield ray
        finally:
            ray.shutdown()


def slots(ray: Any, cpus: float, gpus: float) -> int:
    """Return the number of runs that the nodes of a cluster have room for, at least 0."""
    found = 0
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            # A rounding error must not cost a slot: 0.7 / 0.1 is 6.999...
            fits = int(has.get("CPU", 0) / cpus + 1e-6)
            if gpus:
                whole = int(has.get("GPU", 0))
                # A run uses a share of one GPU, never shares of two.
                on_gpu = whole * int(1 / gpus + 1e-6) if gpus < 1 else int(whole / gpus)
                fits = min(fits, on_gpu)
            found += fits
    return found


def kind_on(address: str | None, device: str, cpus: float, gpus: float) -> str:
    """Return the kind of a device on a cluster: the `device_kind` of a worker.

    Raises:
        WarminitError: If no node has the device, or the node that reports the device cannot use it.
    """
    with connected(address, 0) as ray:
        if not slots(ray, cpus, gpus):
            raise WarminitError(
                f"device={device!r} is not available here or on any node of the cluster, with "
                f"cpus_per_run={cpus:g} and gpus_per_run={gpus:g}. Give the --address of a cluster "
                "with GPUs, or choose device='cpu'."
            )
        try:
            ask = ray.remote(num_cpus=0, num_gpus=gpus)(device_kind)
            return str(ray.get(ask.remote(device)))
        except ray.exceptions.RayError as error:
            raise WarminitError(
                f"device={device!r} is not available here, and a node of the cluster answers: "
                f"{getattr(error, 'cause', error)} Give all nodes that have "
                "GPUs a torch that sees them, or choose device='cpu'."
            ) from error


def _imported(name: str) -> Any:
    """Return the module `ray`, or one of its parts; raise WarminitError if it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise WarminitError(
            f"engine='ray' needs Ray, which cannot be imported ({error}). Install it with "
            "`pip install \"warminit[ray]\"`, or use engine='local'."
        ) from error


def _resolved(address: str | None) -> str:
    return address or os.environ.get("RAY_ADDRESS") or "local"


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("ray://").rstrip("/").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise WarminitError(
            f"address={address!r}: expected auto, local, host:port or ray://host:port. `ray "
            "start --head` prints it."
        )
    return host.strip("[]"), int(port)


def _speaks_grpc(host: str, port: int) -> bool:
    """Return whether a gRPC server answers a call, even if it does not know the method."""
    grpc = _imported("grpc")
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    silence = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
    # Ray itself uses no proxy either.
    with grpc.insecure_channel(target, (("grpc.enable_http_proxy", 0),)) as channel:
        try:
            channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=PATIENCE)
        except grpc.RpcError as error:
            return error.code() not in silence
    return True


def _unreachable(address: str, why: str) -> WarminitError:
    if address == "local":
        return WarminitError(
            f"engine='ray': no cluster could be started on this machine: {why.rstrip('.')}. Start "
            "one with `ray start --head` and give address='auto', or use engine='local'."
        )
    return WarminitError(
        f"address={address!r}: no Ray cluster was found there: {why.rstrip('.')}. Start one with "
        "`ray start --head` and give the address that it prints, or leave address out to use this "
        "machine."
    )


@contextmanager
def _process_kept() -> Iterator[None]:
    """Restore the changes of `ray.init` to the process: variables and the SIGTERM handler."""
    before = _variables()
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM) if main else None
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        yield
    finally:
        for name in _variables():
            del os.environ[name]
        os.environ.update(before)
        if handler is not None:
            signal.signal(signal.SIGTERM, handler)


def _variables() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith("RAY_") or name == "PYTHONBREAKPOINT"
    }
