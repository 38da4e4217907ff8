"""Files that are written whole or not at all, whatever interrupts the process or writes to the same path."""

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["write_atomically"]

SUFFIX = ".unfinished"
N_TOKEN_BYTES = 8
TOKEN = re.compile(f"[0-9a-f]{{{2 * N_TOKEN_BYTES}}}")


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write ``content`` to ``path``: a reader, or the system after a crash, has the former file or the new one.

    The content goes to a file beside it first, which then takes its place. The mode of an existing file is kept. A
    link is followed, and what it points to is replaced. A device or a pipe is written to. What an earlier process left
    unfinished, because it was killed, is deleted.

    Parameters
    ----------
    path : str or path-like
    content : bytes
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        target.write_bytes(content)
        return
    for leftover in _find_leftovers(target):
        _delete_unless_locked(leftover)
    with _open_unfinished(target) as (unfinished, file):
        _take_mode(file, target)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        if fcntl is None:
            file.close()  # Windows renames only closed files
        unfinished.replace(target)
    _sync_folder(target.parent)


def _find_leftovers(target: Path) -> list[Path]:
    """Files that writing to ``target`` may have left."""
    names = [name for name in os.listdir(target.parent) if name.startswith(f"{target.name}.") and name.endswith(SUFFIX)]
    tokens = [name[len(target.name) + 1 : -len(SUFFIX)] for name in names]
    return [target.with_name(name) for name, token in zip(names, tokens, strict=True) if TOKEN.fullmatch(token)]


@contextlib.contextmanager
def _open_unfinished(target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file beside ``target``, locked while it is written; deleted if it is still there in the end."""
    while True:
        unfinished = target.with_name(f"{target.name}.{secrets.token_hex(N_TOKEN_BYTES)}{SUFFIX}")
        with unfinished.open("xb") as file:
            try:
                # another process may have found it before it was locked, and deleted it
                if _lock(file) and unfinished.exists():
                    yield unfinished, file
                    return
            finally:
                unfinished.unlink(missing_ok=True)


def _lock(file: BinaryIO) -> bool:
    """Lock the file until it is closed; False if another process has."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _delete_unless_locked(leftover: Path) -> None:
    """Delete the file if no process is writing it."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError), leftover.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        leftover.unlink()


def _take_mode(file: BinaryIO, target: Path) -> None:
    """Give the file the permissions of ``target``, if there is one."""
    if hasattr(os, "fchmod") and target.exists():
        os.fchmod(file.fileno(), target.stat().st_mode & 0o777)


def _sync_folder(folder: Path) -> None:
    """Write the new name of a file to the disk, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
