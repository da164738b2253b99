"""Booting an image, or a directory: what most people call first."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osvlab.kernels import Kernel
from osvlab.vm.machine import MachineError, MachineKind
from osvlab.vm.network import Network
from osvlab.vm.vm import VM

if TYPE_CHECKING:
    from osvlab.guest.cloud_config import CloudConfig
    from osvlab.image.image import Image
    from osvlab.image.recipe import Recipe

__all__ = ["run"]


def run(
    image: Image | Recipe | str | os.PathLike[str],
    command: str | None = None,
    *,
    kernel: Kernel | str | os.PathLike[str] | None = None,
    memory: int | str = "64M",
    cpus: int = 1,
    timeout: float | None = None,
    machine: MachineKind | str | None = None,
    env: Mapping[str, str] | None = None,
    modules: Iterable[str] = (),
    verbose: bool = False,
    ports: Mapping[int, int | None] | Iterable[int] | None = None,
    network: bool | Network | None = None,
    capture: str | os.PathLike[str] | None = None,
    cloud_init: CloudConfig | str | os.PathLike[str] | Mapping[str, Any] | None = None,
    persist: bool = False,
) -> VM:
    """Boot an image, or a directory, and return as soon as QEMU runs.

    Parameters
    ----------
    image
        An `Image`, or the path of one; or what `osvlab.build` takes, such as a directory, of
        which an image is made that goes away with the VM.
    command
        What to run instead of the image's own command; may begin with kernel options.
    kernel
        A `Kernel` or the path of one; None takes the one that the image starts by
        itself, else the lab kernel.
    memory
        Bytes, or a size like ``"64M"``.
    cpus
        Number of CPUs.
    timeout
        Seconds after which the guest is ended with `TimedOut`, counted from QEMU's start.
    machine
        ``microvm``, ``pc`` or ``q35``; None takes the fastest that the kernel boots on.
    env
        Environment variables for the application.
    modules
        Parts of the guest to include, such as ``httpserver``, in the image that is made of
        a directory.
    verbose
        Whether the kernel tells on the console what it does.
    ports
        TCP ports of the guest that the host reaches: ``{8000: 8080}``, or ``{8000: None}`` for
        a free port of the host's loopback address, which `VM.ports` and `VM.url` then tell.
    network
        True gives the guest a network card through which it may also open connections itself,
        to the internet and to this host (as 10.0.2.2). With ``ports`` alone it can only answer.
        A `Network` says it all.
    capture
        A file to write all frames to, in the pcap format.
    cloud_init
        What the guest shall do before the application: a `CloudConfig`, the path of one, its
        text, or its document. An image that is made of a directory gets the module for it.
    persist
        Whether what the guest writes to its disk stays in the image. Without it, the image is
        never changed, and what was written is gone with the VM.

    Raises
    ------
    OsvlabError
        Something is missing, damaged or does not fit together; the message names it.

    Examples
    --------
    >>> import osvlab
    >>> recipe = osvlab.Recipe.from_program("/bin/echo", ["hello"])
    >>> with run(recipe, memory="32M", timeout=60) as vm:
    ...     print(vm.wait_for("hello$")[0], vm.wait())
    hello exited with status 0
    """
    from osvlab.vm.boot import is_built, plan

    if timeout is not None and not timeout > 0:
        raise MachineError(f"not a timeout: {timeout!r}", hint="Give seconds above 0, or None.")
    if persist and is_built(image):
        name = os.fspath(image) if isinstance(image, str | os.PathLike) else "a recipe"
        raise MachineError(
            f"the image that is made of {name} goes away with the VM, and all changes with it",
            hint="Build it first: osvlab build, or osvlab.build(...); and run that image.",
        )
    card = Network.of(ports, network, None if capture is None else Path(capture))
    ready = plan(
        image,
        command,
        kernel=kernel,
        memory=memory,
        cpus=cpus,
        machine=machine,
        env=env,
        modules=modules,
        verbose=verbose,
        networks=() if card is None else (card,),
        cloud_init=None if cloud_init is None else _configuration(cloud_init),
        persist=persist,
    )
    return VM(ready.machine, timeout=timeout, image=ready.image, folder=ready.folder, kernel=ready.kernel)


def _configuration(source: CloudConfig | str | os.PathLike[str] | Mapping[str, Any]) -> CloudConfig:
    from osvlab.guest.cloud_config import config_of

    return config_of(source)
