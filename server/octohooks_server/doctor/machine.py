"""What a server needs of its machine: settings, files, disk space."""

import difflib
import shutil
import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from octohooks_server import open_files
from octohooks_server.doctor.findings import Finding, ok, problem, warning
from octohooks_server.settings import Settings, SettingsError
from octohooks_server.tls import read_tls_files
from octohooks_server.transport import require_encryption, tls_files

# What clients read, on whose machine the server may run too.
_OF_CLIENTS = frozenset({"API_KEY", "TARGET", "TLS_CA", "TLS_CLIENT_CERTIFICATE", "TLS_CLIENT_KEY"})
_LITTLE_SPACE, _TOO_LITTLE_SPACE = 1 << 30, 100 << 20
_TIME_TO_RENEW = timedelta(days=14)


def misspelt_variables(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Variables that look like settings and are none, which a start passes over."""
    known = {name.upper() for name in Settings.model_fields} | _OF_CLIENTS
    for variable in sorted(environment):
        prefix, _, name = variable.partition("OCTOHOOKS_")
        if prefix or not name or name in known:
            continue
        alike = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean OCTOHOOKS_{alike[0]}?" if alike else "unset it."
        yield warning("settings", f"{variable} is no setting and changes nothing; {hint}")


def look_at_keys(settings: Settings) -> Iterator[Finding]:
    """The operator's key, and those that secrets are encrypted with."""
    if settings.operator_key is None:
        yield warning(
            "operator key",
            "OCTOHOOKS_OPERATOR_KEY is not set, so each start makes another key and prints it; set"
            " one of at least 32 characters.",
        )
    else:
        yield ok("operator key", "It is set.")
    keys = settings.read_encryption_keys()
    if not keys:
        yield warning(
            "encryption",
            "Secrets are kept plain in the database; set OCTOHOOKS_ENCRYPTION_KEYS, or"
            " OCTOHOOKS_ENCRYPTION_KEYS_FILE.",
        )
        return
    count = f"{len(keys)} keys, of which the first encrypts" if keys[1:] else "one key"
    yield ok("encryption", f"Secrets are encrypted, with {count}.")
    file = settings.encryption_keys_file
    if file is not None and _is_open_to_others(file):
        yield warning("encryption", f"{file} can be read by every user; run `chmod o= {file}`.")


def look_at_tls(settings: Settings, now: datetime) -> Iterator[Finding]:
    """What is encrypted on the way to the server, and for how long its certificate is good."""
    try:
        require_encryption(settings)
        files = tls_files(settings)
        material = None if files is None else read_tls_files(files)
    except SettingsError as error:
        yield from (problem("TLS", sentence) for sentence in error.problems)
        return
    if material is None:
        if settings.allow_plaintext:
            yield warning(
                "TLS",
                f"{settings.listen} is served without TLS, since OCTOHOOKS_ALLOW_PLAINTEXT is set;"
                " make sure that what stands before it encrypts.",
            )
        else:
            yield ok("TLS", "Without TLS, on this machine's loopback alone.")
        return
    left = material.expires_at - now
    until = f"until {material.expires_at.astimezone(UTC):%Y-%m-%d}"
    if material.begins_at > now:
        yield problem(
            "TLS",
            f"The certificate in {settings.tls_certificate} is good from"
            f" {material.begins_at.astimezone(UTC):%Y-%m-%d} on only; is the clock right?",
        )
    elif left <= timedelta(0):
        yield problem(
            "TLS",
            f"The certificate in {settings.tls_certificate} was good {until} and clients refuse it;"
            " renew it.",
        )
    elif left < _TIME_TO_RENEW:
        yield warning(
            "TLS",
            f"The certificate is good {until}, {left.days} days more; renew it. The server takes"
            " the new files without a restart.",
        )
    else:
        yield ok("TLS", f"The certificate is good {until}, {left.days} days more.")
    if material.is_key_open:
        file = settings.tls_private_key
        yield warning("TLS", f"{file} can be read by every user; run `chmod o= {file}`.")


def look_at_space(folder: Path) -> Finding:
    """The disk that the embedded database is on."""
    free = shutil.disk_usage(nearest(folder)).free
    said = f"{free / (1 << 30):,.1f} GiB are free on the disk of {folder}"
    if free < _TOO_LITTLE_SPACE:
        return problem("disk", f"{said}; calls will be refused. Make room.")
    if free < _LITTLE_SPACE:
        return warning("disk", f"{said}; make room before it is full.")
    return ok("disk", f"{said}.")


def look_at_open_files(settings: Settings) -> Finding:
    """Whether as many connections can be open as the settings let there be."""
    needed, allowed = open_files.needed(settings), open_files.allowed()
    if allowed >= needed:
        return ok("open files", f"{needed:,} may be needed at once, and the limit bears them.")
    return warning(
        "open files",
        f"{allowed:,} may be open at once, and OCTOHOOKS_MAX_CONNECTIONS and"
        f" OCTOHOOKS_MAX_IN_FLIGHT may need {needed:,}; lower them, or raise the limit: LimitNOFILE"
        " of systemd, --ulimit of docker, or `ulimit -Hn`.",
    )


def nearest(folder: Path) -> Path:
    """The folder, or the one that it would be made in."""
    for one in (folder, *folder.absolute().parents):
        if one.exists():
            return one
    return Path("/")


def _is_open_to_others(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH))
