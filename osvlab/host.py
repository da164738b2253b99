"""What this host can do for the lab, found out by trying, each finding with its fix.

Asking for a version or looking whether a file is there proves little: a `/dev/kvm` may open and not run
guests, a compiler may lack its headers. So wherever it takes less than a second, the thing itself is done.
"""

from __future__ import annotations

import html
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from osvlab.errors import OsvlabError
from osvlab.paths import cache_dir, format_size, runtime_dir

__all__ = ["Finding", "HostReport", "Verdict", "doctor"]

_MIB = 1 << 20


class Verdict(StrEnum):
    """How a finding bears on the lab."""

    OK = "ok"
    LIMITED = "limited"  # the lab works, with less
    MISSING = "missing"  # something of the lab does not work at all


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    name
        What was looked at: `qemu`, `acceleration`, `compiler`...
    verdict
        Whether it serves.
    found
        What is there, in words.
    fix
        What to do about it; None when there is nothing to do.
    """

    name: str
    verdict: Verdict
    found: str
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class HostReport:
    """Everything that `doctor` found, in reading order.

    Examples
    --------
    >>> report = HostReport((Finding("qemu", Verdict.MISSING, "no QEMU on PATH", "Install it."),))
    >>> report.usable
    False
    >>> print(report)
    missing  qemu  no QEMU on PATH
             fix:  Install it.
    """

    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        """Whether nothing is missing."""
        return all(finding.verdict is not Verdict.MISSING for finding in self.findings)

    def __getitem__(self, name: str) -> Finding:
        """Return the finding of that name.

        Raises
        ------
        KeyError
            There is none.
        """
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(name)

    def as_dict(self) -> dict[str, object]:
        """Return the report as JSON can hold it."""
        return {"usable": self.usable, "findings": [asdict(finding) for finding in self.findings]}

    def __str__(self) -> str:
        width = max((len(finding.name) for finding in self.findings), default=0)
        lines: list[str] = []
        for finding in self.findings:
            lines.append(f"{finding.verdict:<8} {finding.name:<{width}}  {finding.found}")
            if finding.fix:
                lines.append(f"{'':<8} {'fix:':<{width}}  {finding.fix}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th scope="row">{html.escape(finding.name)}</th><td>{finding.verdict}</td>'
            f"<td>{html.escape(finding.found)}</td><td>{html.escape(finding.fix or '')}</td></tr>"
            for finding in self.findings
        )
        head = "".join(f'<th scope="col">{title}</th>' for title in ("what", "verdict", "found", "fix"))
        return (
            '<table class="osvlab-doctor"><caption>What this host can do</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        )


def doctor() -> HostReport:
    """Find out what this host can do for the lab.

    Takes a second or two the first time, as things are tried for real. Never raises for what it finds.

    Examples
    --------
    >>> report = doctor()
    >>> report["python"].verdict.value
    'ok'
    """
    return HostReport(tuple(_examine()))


def _examine() -> Iterator[Finding]:
    for name, check in _CHECKS.items():
        try:
            verdict, found, fix = check()
        except (OsvlabError, OSError, subprocess.SubprocessError) as error:
            message = error.message if isinstance(error, OsvlabError) else str(error)
            hint = error.hint if isinstance(error, OsvlabError) else None
            # What a compiler had to say goes on for pages; the hint tells how to see it.
            verdict, found, fix = Verdict.MISSING, message.partition("\n")[0], hint
        yield Finding(name, verdict, found, fix)


Result = tuple[Verdict, str, str | None]


def _apt(*packages: str) -> str:
    return f"sudo apt-get install {' '.join(packages)}"


def _run(*command: str, timeout: float = 20) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL
    )


def _python() -> Result:
    return Verdict.OK, f"{platform.python_version()} ({sys.executable})", None


def _machine() -> Result:
    found = f"{platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}"
    if platform.machine() == "x86_64":
        return Verdict.OK, found, None
    return (
        Verdict.LIMITED,
        f"{found}: guests are x86_64, so the lab kernel and C examples need a cross compiler",
        "Use an x86_64 machine, or images that were built on one.",
    )


def _qemu() -> Result:
    from osvlab.vm.qemu import find_qemu

    path = str(find_qemu())
    said = _run(path, "--version")
    match = re.search(r"version (\d+)\.(\d+)\S*", said.stdout)
    if match is None:
        return Verdict.MISSING, f"{path} --version says: {(said.stderr or said.stdout).strip()}", None
    if (int(match[1]), int(match[2])) < (6, 2):
        return Verdict.LIMITED, f"{match[0]} ({path}); the lab is used with 6.2 and newer", "Update QEMU."
    return Verdict.OK, f"{match[0]} ({path})", None


def _machine_types() -> Result:
    from osvlab.vm.qemu import find_qemu

    said = _run(str(find_qemu()), "-machine", "help")
    known = {line.split()[0] for line in said.stdout.splitlines() if line.strip()}
    wanted = ("microvm", "pc", "q35")
    absent = [name for name in wanted if name not in known]
    if not absent:
        return Verdict.OK, ", ".join(wanted), None
    return (
        Verdict.LIMITED,
        f"this QEMU has no {', '.join(absent)}",
        "Use the distribution's full QEMU, not a reduced build.",
    )


def _acceleration() -> Result:
    from osvlab.vm.accelerator import acceleration

    found = acceleration()
    return (Verdict.OK if found.hint is None else Verdict.LIMITED), str(found), found.hint


_ANSWER = "int main(void) { return 42; }\n"


def _compiles(*arguments: str) -> str | None:
    """Compile a program that ends with 42 and run it; return what went wrong."""
    with tempfile.TemporaryDirectory(prefix="osvlab-doctor-") as folder:
        source, program = Path(folder, "answer.c"), Path(folder, "answer")
        source.write_text(_ANSWER)
        made = _run("gcc", "-o", str(program), str(source), *arguments)
        if made.returncode != 0:
            return (made.stderr.strip().splitlines() or ["gcc failed without a word"])[-1]
        ended = _run(str(program)).returncode
    return None if ended == 42 else f"a program that returns 42 ended with {ended}"


def _compiler() -> Result:
    path = shutil.which("gcc")
    fix = _apt("gcc", "libc6-dev", "make", "binutils")
    if path is None:
        return Verdict.MISSING, "no gcc on PATH: the lab kernel and C examples cannot be compiled", fix
    trouble = _compiles()
    if trouble is not None:
        return Verdict.MISSING, f"{path} does not compile a program: {trouble}", fix
    absent = [tool for tool in ("make", "ld", "objcopy") if shutil.which(tool) is None]
    if absent:
        return Verdict.MISSING, f"gcc works, but there is no {', '.join(absent)}", fix
    return Verdict.OK, _run(path, "--version").stdout.splitlines()[0], None


def _musl() -> Result:
    include, library = Path("/usr/include/x86_64-linux-musl"), Path("/usr/lib/x86_64-linux-musl")
    if not Path(library, "libc.a").exists():
        return Verdict.MISSING, f"no {library}/libc.a: the lab kernel cannot be linked", _apt("musl-dev")
    if shutil.which("gcc") is None:
        return Verdict.LIMITED, f"{library}, not tried without gcc", _apt("gcc")
    trouble = _compiles(
        "-static", "-nostdinc", "-nostdlib", "-isystem", str(include),
        str(library / "crt1.o"), str(library / "libc.a"), "-lgcc", str(library / "libc.a"),
    )  # fmt: skip
    if trouble is not None:
        return Verdict.MISSING, f"a program does not link against musl: {trouble}", _apt("musl-dev", "gcc")
    return Verdict.OK, f"{library}/libc.a", None


def _lab_kernel() -> Result:
    from osvlab.kernels import Kernel

    kernel = Kernel.lab()
    return Verdict.OK, f"{kernel.path} ({format_size(kernel.size)})", None


def _parent_death() -> Result:
    if shutil.which("setpriv") is None:
        return Verdict.MISSING, "no setpriv: guests could outlive a killed Python", _apt("util-linux")
    tried = _run("setpriv", "--pdeathsig", "KILL", "true")
    if tried.returncode != 0:
        return Verdict.MISSING, f"setpriv --pdeathsig: {tried.stderr.strip()}", _apt("util-linux")
    return Verdict.OK, "guests die with the Python that started them", None


def _libvirt() -> Result:
    fix = f"{_apt('libvirt-dev', 'libvirt-daemon', 'pkg-config')}, then pip install 'osvlab[libvirt]'"
    try:
        import libvirt
    except ImportError:
        return Verdict.LIMITED, "not installed; QEMU is driven directly, which is the default", fix
    try:
        connection = libvirt.open("qemu:///session")
    except libvirt.libvirtError as error:
        return Verdict.LIMITED, f"qemu:///session does not answer: {error}", "Install libvirt-daemon."
    try:
        version = connection.getLibVersion()
    finally:
        connection.close()
    return Verdict.OK, f"{version // 1000000}.{version // 1000 % 1000}, qemu:///session answers", None


def _memory() -> Result:
    available = _available_memory()
    found = f"{format_size(available)} available to this process"
    if available < 128 * _MIB:
        return Verdict.MISSING, found, "Close other notebooks: QEMU and a small guest need about 128 MiB."
    if available < 512 * _MIB:
        return Verdict.LIMITED, found, "Run one guest at a time, with memory='64M' or less."
    return Verdict.OK, found, None


def _available_memory() -> int:
    """Return how many bytes this process and its children may still use."""
    available = _number_after("MemAvailable:", Path("/proc/meminfo")) * 1024
    # A pod or a container sees the whole machine there, and its own limit only here (cgroups v2, then v1).
    for limit_file, used_file in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            limit, used = Path(limit_file).read_text().strip(), int(Path(used_file).read_text())
            cached = _number_after("inactive_file", Path(used_file).with_name("memory.stat"))
        except OSError:
            continue
        if limit != "max":
            # Cached file pages count as used, but the kernel gives them back when memory gets short.
            available = min(available, max(0, int(limit) - used + cached))
    return available


def _number_after(label: str, file: Path) -> int:
    for line in file.read_text(encoding="ascii").splitlines():
        words = line.split()
        if words and words[0] == label:
            return int(words[1])
    return 0


def _disk() -> Result:
    folder = cache_dir()
    with tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(64 * _MIB)
        sparse = os.fstat(file.fileno()).st_blocks * 512 < _MIB
    with tempfile.TemporaryFile(dir=runtime_dir()):
        pass
    free = shutil.disk_usage(folder).free
    found = f"{format_size(free)} free in {folder}" + ("" if sparse else "; no sparse files there")
    if free < 64 * _MIB:
        return Verdict.MISSING, found, "Free some space, or set XDG_CACHE_HOME to a folder that has it."
    if free < 1024 * _MIB or not sparse:
        return Verdict.LIMITED, found, "Set XDG_CACHE_HOME to a folder with more space."
    return Verdict.OK, found, None


_CHECKS: dict[str, Callable[[], Result]] = {
    "python": _python,
    "machine": _machine,
    "qemu": _qemu,
    "machine types": _machine_types,
    "acceleration": _acceleration,
    "compiler": _compiler,
    "musl": _musl,
    "lab kernel": _lab_kernel,
    "setpriv": _parent_death,
    "libvirt": _libvirt,
    "memory": _memory,
    "disk": _disk,
}
