"""Password hashes: scrypt, with the parameters in the hash."""

import base64
import hashlib
import secrets
import unicodedata

LEAST = 8  # characters of a password
MOST = 1024
# 32 MiB and about a third of a second.
# Source: OWASP Password Storage Cheat Sheet, scrypt.
_LOG_N, _R, _P = 15, 8, 3
_MEMORY_BYTES = 128 * 1024 * 1024


def hashed(password: str, log_n: int = _LOG_N) -> str:
    """Return the hash of a password, `scrypt$LOG_N$R$P$SALT$KEY`."""
    salt = secrets.token_bytes(16)
    key = _key(password, salt, log_n, _R, _P)
    encoded = (base64.b64encode(part).decode() for part in (salt, key))
    return "$".join(("scrypt", str(log_n), str(_R), str(_P), *encoded))


def is_hash(text: str) -> bool:
    """Tell whether a text is a hash that `hashed` could have returned."""
    try:
        log_n, r, p, salt, key = _parts(text)
    except ValueError:
        return False
    return 1 <= log_n <= 20 and 1 <= r <= 32 and 1 <= p <= 16 and bool(salt) and len(key) == 32


def is_password_of(hash_: str, password: str) -> bool:
    """Tell whether a hash is the password's, in time that tells nothing of it. It blocks."""
    log_n, r, p, salt, key = _parts(hash_)
    return secrets.compare_digest(_key(password, salt, log_n, r, p), key)


def _parts(text: str) -> tuple[int, int, int, bytes, bytes]:
    """Raises: ValueError, when the text is no hash."""
    kind, log_n, r, p, salt, key = text.split("$")
    if kind != "scrypt":
        raise ValueError(f"{kind} is not scrypt")
    decoded = [base64.b64decode(part, validate=True) for part in (salt, key)]
    return int(log_n), int(r), int(p), decoded[0], decoded[1]


def _key(password: str, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    # One password has several spellings in Unicode, and each keyboard sends its own.
    text = unicodedata.normalize("NFKC", password[:MOST])
    return hashlib.scrypt(
        text.encode("utf-8", "surrogatepass"),
        salt=salt,
        n=1 << log_n,
        r=r,
        p=p,
        maxmem=max(_MEMORY_BYTES, 160 * r * (1 << log_n)),
        dklen=32,
    )
