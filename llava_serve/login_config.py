"""Settings of the page's logins: a file of users, or an OpenID provider."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from llava_serve import args

_NEAR = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True)
class LoginConfig:
    """Who may use the page; everybody where nothing is given."""

    auth_file: Annotated[
        Path | None,
        "file of the users who may sign in; `python -m llava_serve.page_users` makes it",
    ] = None
    oidc_issuer: Annotated[
        str | None, "let users sign in at this OpenID provider, by its issuer's address"
    ] = None
    oidc_client_id: Annotated[str | None, "what the provider calls this page"] = None
    oidc_client_secret_file: Annotated[
        Path | None, "file with the secret that the provider gave to this page"
    ] = None
    oidc_allow: Annotated[
        str,
        "who of the provider's users may sign in: comma-separated e-mail addresses, and domains "
        "like example.com; * for all",
    ] = ""
    admins: Annotated[
        str,
        "who of the users that sign in may see the cluster and drain its workers: comma-separated "
        "names of --auth-file, or e-mail addresses that the provider has verified",
    ] = ""
    local_admin: Annotated[
        bool,
        "where nobody signs in: let browsers on this machine see the cluster and drain its "
        "workers; not for a page that a proxy on this machine serves to others",
    ] = False
    public_address: Annotated[
        str | None,
        "address that browsers reach the page at, where it is not its own: https://chat.example.com",
    ] = None

    def __post_init__(self) -> None:
        names = ("oidc_issuer", "oidc_client_id", "oidc_client_secret_file", "oidc_allow")
        given = [name for name in names if getattr(self, name)]
        if given and len(given) < len(names):
            missing = [args.flag_of(name) for name in names if name not in given]
            raise ValueError(f"{args.flag_of(given[0])} needs {' and '.join(missing)}")
        if given and self.auth_file is not None:
            raise ValueError("--auth-file and --oidc-issuer exclude each other")
        has_logins = bool(given) or self.auth_file is not None
        if self.admins and not has_logins:
            raise ValueError("--admins needs --auth-file or --oidc-issuer")
        if self.local_admin and (has_logins or self.public_address):
            other = "--public-address" if self.public_address else "logins"
            raise ValueError(f"--local-admin and {other} exclude each other")
        args.require_http(self, "oidc_issuer", "public_address")
        issuer = urlsplit(self.oidc_issuer or "https:")
        if issuer.scheme != "https" and issuer.hostname not in _NEAR:
            raise ValueError("--oidc-issuer must be an https:// address")

    @property
    def public_names(self) -> tuple[str, ...]:
        """The host name of `--public-address`, if there is one."""
        host = urlsplit(self.public_address or "").hostname
        return (host,) if host else ()

    @property
    def admin_names(self) -> frozenset[str]:
        """The entries of `--admins`."""
        return frozenset(args.names_of(self.admins))

    @property
    def oidc_allowed(self) -> tuple[str, ...]:
        """The entries of `--oidc-allow`."""
        return args.names_of(self.oidc_allow.lower())
