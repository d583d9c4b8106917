"""The command `doctor`."""

from __future__ import annotations

from modelselect.cli.configuration import Configuration, read
from modelselect.cli.listings import availability_of
from modelselect.cli.options import JsonFlag
from modelselect.cli.terminal import loaded_host, print_listing
from modelselect.utils.text import in_bytes


def doctor(as_json: JsonFlag = False) -> None:
    """Check this installation, and say what to fix."""
    import platform
    from pathlib import Path

    from modelselect.errors import InvalidInputError
    from modelselect.store.store import Store
    from modelselect.utils.versions import numeric_versions

    host = loaded_host()
    checks: list[dict[str, str]] = []

    def check(what: str, status: str, found: str) -> None:
        checks.append({"check": what, "status": status, "found": found})

    check("python", "ok", platform.python_version())
    for library, version in numeric_versions().items():
        check(library, "ok", version)
    try:
        import torch

        devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        check("device", "ok", ", ".join(devices) or f"cpu with {torch.get_num_threads()} threads")
    except Exception as error:
        check("device", "broken", f"torch cannot be imported ({error}); run: pip install --force-reinstall torch")
    for zoo in host.zoos.values():
        missing = availability_of(zoo)
        check(f"zoo {zoo.name}", "broken" if missing else "ok", missing or "usable")
    for plugin in host.plugins:
        if plugin.faults:
            check(plugin.owner, "broken", "; ".join(plugin.faults))
    options = Configuration()
    try:
        options = read(Path.cwd())
        check("options file", "ok", str(options.path or "none"))
    except InvalidInputError as error:
        check("options file", "broken", str(error))
    try:
        with options.in_environment():
            kept = Store()
        kept.put(kept.key("doctor"), {})
        kept.evict(kind="doctor", max_bytes=0)
        check("store", "ok", f"{in_bytes(kept.size())} in {kept.path}")
    except Exception as error:
        check("store", "broken", str(error))
    print_listing(checks, ["check", "status", "found"], as_json)
