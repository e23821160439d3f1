"""What may lie in an input folder, and what an archive may not do."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.io import archive
from lesion_pipeline.io.files import gathered


def names(source: Path) -> tuple[list[str], dict[str, int]]:
    with gathered(source) as found:
        return [p.name for p in found.paths], dict(found.skipped)


def test_odd_entries_are_counted_and_nothing_blocks(tmp_path: Path) -> None:
    study = tmp_path / "study"
    (study / "deep" / "deeper").mkdir(parents=True)
    (study / "deep" / "deeper" / "no extension").write_bytes(b"1")
    (study / "DICOMDIR").write_bytes(b"2")
    os.mkfifo(study / "fifo")
    (study / "loop").symlink_to(study)
    (study / "deep" / "self").symlink_to("self")
    (tmp_path / "secret").write_bytes(b"3")
    (study / "outside").symlink_to(tmp_path / "secret")
    (study / "device").symlink_to("/dev/zero")
    assert names(study) == (["no extension"], {"link": 4, "no regular file": 1, "DICOMDIR": 1})


def test_a_folder_given_as_a_link_is_fine(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "a").write_bytes(b"1")
    (tmp_path / "link").symlink_to(tmp_path / "study")
    assert names(tmp_path / "link") == (["a"], {})


def test_absent_and_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="NO_SUCH_INPUT"), gathered(tmp_path / "absent"):
        pass
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InputError, match="NO_DICOM"), gathered(tmp_path / "fifo"):
        pass


def test_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match="UNREADABLE"), gathered(tmp_path):
        pass


def make_zip(path: Path, members: dict[str, bytes], mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = mode << 16
            out.writestr(info, data)
    return path


def make_tar(path: Path, packing: str, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, f"w:{packing}") as out:  # type: ignore[call-overload]  # the mode is a parameter here
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("packing", ["", "gz", "bz2", "xz"])
def test_tar_is_unpacked_privately_and_cleaned_up(packing: str, tmp_path: Path) -> None:
    path = make_tar(tmp_path / f"study.tar.{packing}".rstrip("."), packing, {"a/x": b"one", "b/x": b"two"})
    with gathered(path) as found:
        folder = found.paths[0].parent.parent
        assert sorted(p.read_bytes() for p in found.paths) == [b"one", b"two"]
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()


def test_zip_beside_loose_files(tmp_path: Path) -> None:
    make_zip(tmp_path / "half", {"x": b"zipped"})
    (tmp_path / "loose").write_bytes(b"loose")
    with gathered(tmp_path) as found:
        assert sorted(p.read_bytes() for p in found.paths) == [b"loose", b"zipped"]


@pytest.mark.parametrize("name", ["../evil", "/abs/evil", "a/../../evil", "..\\evil", "C:\\evil"])
def test_names_that_point_outside(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ARCHIVE_UNSAFE"), gathered(make_zip(tmp_path / "z.zip", {name: b"x"})):
        pass
    with pytest.raises(InputError, match="ARCHIVE_UNSAFE"), gathered(make_tar(tmp_path / "t.tar", "", {name: b"x"})):
        pass
    assert not (tmp_path.parent / "evil").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar(kind: bytes, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "t.tar", "w") as out:
        info = tarfile.TarInfo("x")
        info.type, info.linkname = kind, "/etc/passwd"
        out.addfile(info)
    with pytest.raises(InputError, match="ARCHIVE_UNSAFE"), gathered(tmp_path / "t.tar"):
        pass


def test_link_in_a_zip(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ARCHIVE_UNSAFE"), gathered(make_zip(tmp_path / "z.zip", {"x": b"/etc"}, 0o120777)):
        pass


def _zip_bomb(path: Path) -> Path:
    return make_zip(path, {"x": b"\0" * (48 << 20)})


def _tar_bomb(path: Path) -> Path:
    return make_tar(path.with_suffix(".tar.xz"), "xz", {"x": b"\0" * (48 << 20)})


@pytest.mark.parametrize("make", [_zip_bomb, _tar_bomb])
def test_bombs(make: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ARCHIVE_TOO_LARGE"), gathered(make(tmp_path / "bomb.zip")):
        pass


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_MEMBERS", 5)
    with (
        pytest.raises(InputError, match="ARCHIVE_TOO_LARGE"),
        gathered(make_zip(tmp_path / "z", {str(n): b"" for n in range(6)})),
    ):
        pass


def test_archives_in_archives_are_left_alone(tmp_path: Path) -> None:
    inner = make_zip(tmp_path / "inner", {"x": b"1"}).read_bytes()
    (tmp_path / "inner").unlink()
    make_zip(tmp_path / "outer.zip", {"inner.zip": inner, "y": b"2"})
    found, skipped = names(tmp_path)
    assert len(found) == 1
    assert skipped == {"archive in an archive": 1}


def test_damaged_and_encrypted(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "z.zip", {"x": os.urandom(5000)})
    data = bytearray(path.read_bytes())
    data[2000] ^= 0xFF
    (tmp_path / "damaged.zip").write_bytes(data)
    with pytest.raises(InputError, match="ARCHIVE_DAMAGED"), gathered(tmp_path / "damaged.zip"):
        pass
    (tmp_path / "cut.zip").write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match="ARCHIVE_DAMAGED"), gathered(tmp_path / "cut.zip"):
        pass
    data = bytearray(path.read_bytes())
    for at in (data.index(b"PK\x03\x04") + 6, data.index(b"PK\x01\x02") + 8):
        data[at] |= 1
    (tmp_path / "secret.zip").write_bytes(data)
    with pytest.raises(InputError, match="ARCHIVE_ENCRYPTED"), gathered(tmp_path / "secret.zip"):
        pass


def test_nothing_stays_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    with pytest.raises(InputError), gathered(make_zip(tmp_path / "z.zip", {"good": b"1", "../bad": b"2"})):
        pass
    assert not list((tmp_path / "tmp").iterdir())
