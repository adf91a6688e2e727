"""Checks of this machine: ports, disk space, the cluster token's file, proxies."""

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import psutil

from llava_serve.cluster_token import read_token
from llava_serve.doctor.finding import Finding
from llava_serve.http import serving

_SCARCE_BYTES = 10**9  # conversations, pictures and uploads grow
_TOO_FEW_BYTES = 10**8


def check_ports(host: str, ports: Sequence[int]) -> Iterator[Finding]:
    """Try to listen on each port, without keeping it."""
    for port in ports:
        try:
            serving.bind(host, port).close()
        except OSError as exc:
            yield Finding(
                "port",
                "problem",
                f"cannot listen on {host}:{port}: {serving.why_not_bound(exc)}{_user_of(port)}",
                "Stop the program that uses the port, or choose another with --port; a controller "
                "that runs there is looked at with --controller.",
            )
        else:
            yield Finding("port", "ok", f"{host}:{port} is free")


def _user_of(port: int) -> str:
    """Name the process that listens on a port, where the system tells."""
    try:
        found = [
            one.pid
            for one in psutil.net_connections("tcp")
            if one.status == psutil.CONN_LISTEN and one.laddr[1:2] == (port,) and one.pid
        ]
        return f" (process {found[0]}, {psutil.Process(found[0]).name()})" if found else ""
    except psutil.Error:
        return ""


def check_disk(
    folder: Path, scarce_bytes: int = _SCARCE_BYTES, too_few_bytes: int = _TOO_FEW_BYTES
) -> Finding:
    """Look for room and for leave to write in a folder, which need not exist yet."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        return Finding(
            "disk",
            "problem",
            f"{there} is no folder that this user can write to",
            "Give another one with --state-dir, or change its owner.",
        )
    free = shutil.disk_usage(there).free
    message = f"{free / 1e9:,.1f} GB are free for {folder}"
    if free >= scarce_bytes:
        return Finding("disk", "ok", message)
    remedy = "Free some, or choose another folder with --state-dir."
    return Finding("disk", "problem" if free < too_few_bytes else "warning", message, remedy)


def check_token_file(path: Path, *, is_needed: bool) -> Finding:
    """Look at the file of the cluster token; where it `is_needed` it must be there."""
    name = "token file"
    if not path.exists():
        if not is_needed:
            return Finding(name, "ok", f"{path} will be made when the controller first starts")
        return Finding(
            name,
            "problem",
            f"there is no {path}, and a worker here cannot join without it",
            "Copy the controller's, whose log says where it is.",
        )
    try:
        read_token(path)
    except SystemExit as exc:
        return Finding(name, "problem", f"{path} cannot be used", str(exc))
    if stat.S_IMODE(path.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        return Finding(
            name,
            "warning",
            f"other users of this machine can read {path}",
            f"Run `chmod 600 {path}`; if one of them may have, delete the file and restart all.",
        )
    return Finding(name, "ok", f"{path} holds a token, for its owner only")


def check_proxies(addresses: Sequence[str]) -> Finding:
    """Look for a proxy in the environment that would come between a program and `addresses`.

    The processes of this package go around proxies; curl and the `openai` client do not.
    """
    proxies = getproxies_environment()
    if not {"http", "https", "all"} & proxies.keys():
        return Finding("proxies", "ok", "the environment names none")
    hosts = {urlsplit(address).hostname or "" for address in addresses}
    missing = sorted(host for host in hosts if not proxy_bypass(host))
    if not missing:
        return Finding("proxies", "ok", "NO_PROXY leaves out the hosts of the stack")
    return Finding(
        "proxies",
        "warning",
        f"the environment sends programs such as curl through a proxy to {', '.join(missing)}",
        f"Add {','.join(missing)} to NO_PROXY; the stack itself goes around proxies.",
    )
