"""Files are written whole or not at all; links, modes and devices stay what they are."""

import os
import stat
import threading

import pytest

from skgmvae._atomic_write import write_atomically

posix = pytest.mark.skipif(os.name == "nt", reason="links, modes, locks and pipes of POSIX")


def test_a_failed_write_keeps_the_former_file_and_leaves_nothing(tmp_path, monkeypatch):
    write_atomically(tmp_path / "file", b"former")
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError("the disk is full")))
    with pytest.raises(OSError, match="the disk is full"):
        write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"former" and len(list(tmp_path.iterdir())) == 1


@posix
def test_links_and_modes_stay(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"former")
    target.chmod(0o640)
    link.symlink_to("target")
    write_atomically(link, b"new")
    assert link.is_symlink() and target.read_bytes() == b"new" and stat.S_IMODE(target.stat().st_mode) == 0o640
    (tmp_path / "dangling").symlink_to("later")
    write_atomically(tmp_path / "dangling", b"new")
    assert (tmp_path / "dangling").is_symlink() and (tmp_path / "later").read_bytes() == b"new"


@posix
def test_devices_and_pipes_are_written_to(tmp_path):
    write_atomically(os.devnull, b"new")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_atomically(tmp_path / "pipe", b"new")
    reader.join()
    assert read == [b"new"] and stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@posix
def test_what_a_killed_process_left_is_deleted_and_nothing_else(tmp_path):
    import fcntl

    abandoned, written, others = (tmp_path / f"file.{token}.unfinished" for token in ("0" * 16, "1" * 16, "mine"))
    for path in (abandoned, written, others):
        path.write_bytes(b"half")
    with written.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as another process that is still writing it
        write_atomically(tmp_path / "file", b"new")
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "file", written, others])


def test_writers_to_one_path_leave_one_whole_file(tmp_path):
    contents = [bytes([number]) * 2**20 for number in range(4)]
    path = tmp_path / "file"
    threads = [
        threading.Thread(target=lambda content=content: [write_atomically(path, content) for _ in range(5)])
        for content in contents
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() in contents
