"""Archives that are cut, damaged, locked or hostile: each refused in one line that says so."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import rarfile  # type: ignore[import-untyped]

from tests.training.archives import write_folder, write_rar, write_zip
from training.data import archive as archive_module
from training.data.archive import Archive
from training.errors import DataInvalid, DataMissing

MEMBERS = {"Patch/a.tif": b"the first chip", "Ship.xml": b"the ships"}


def refusal(act: Callable[[], object]) -> str:
    """The message of the DataInvalid that `act` raises; one line, as a terminal shows it."""
    with pytest.raises(DataInvalid) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def no_rar_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rarfile, "CURRENT_SETUP", None)
    for tool in ("UNRAR", "UNAR", "BSDTAR", "SEVENZIP", "SEVENZIP2"):
        monkeypatch.setattr(rarfile, f"{tool}_TOOL", "no-such-program")


@pytest.mark.parametrize("write", [write_zip, write_rar, write_folder])
def test_members_are_read_by_name(tmp_path: Path, write: Callable[..., Path]) -> None:
    archive = Archive(write(tmp_path / "a", MEMBERS))
    assert archive.names == ["Patch/a.tif", "Ship.xml"]
    assert archive.folders == {"Patch"}
    assert archive.read("Patch/a.tif") == b"the first chip"


def test_a_rar_that_is_named_zip_is_read_by_its_content(tmp_path: Path) -> None:
    assert Archive(write_rar(tmp_path / "a.zip", MEMBERS)).read("Ship.xml") == b"the ships"


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match=r"no such archive or folder: .*a\.zip"):
        Archive(tmp_path / "a.zip")


@pytest.mark.parametrize(("write", "ending"), [(write_zip, "zip"), (write_rar, "rar")])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_half_downloaded_archive_is_named(
    tmp_path: Path, write: Callable[..., Path], ending: str, share: float
) -> None:
    path = write(tmp_path / f"a.{ending}", {"a": b"1" * 500, "b": b"2" * 500})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    said = refusal(lambda: Archive(path).names)
    assert said.startswith(f"{path} cannot be opened as a {ending} (")
    assert said.endswith("is the download complete? Fetch it again")


def test_a_rar_that_ends_between_two_members_is_named(tmp_path: Path) -> None:
    path = write_rar(tmp_path / "a.rar", MEMBERS)
    path.write_bytes(path.read_bytes()[:-8])  # the end mark alone
    assert "is the download complete?" in refusal(lambda: Archive(path).names)


@pytest.mark.parametrize(("write", "ending"), [(write_zip, "zip"), (write_rar, "rar")])
def test_a_member_with_a_wrong_checksum_is_named(
    tmp_path: Path, write: Callable[..., Path], ending: str
) -> None:
    path = write(tmp_path / f"a.{ending}", MEMBERS)
    path.write_bytes(path.read_bytes().replace(b"first chip", b"worst chip"))
    said = refusal(lambda: Archive(path).read("Patch/a.tif"))
    assert said.startswith(f"{path}: Patch/a.tif cannot be read (")
    assert said.endswith("fetch the archive again")
    assert ("unpack it and give the folder" in said) == (ending == "rar")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html>", "a web page was saved in its place"),
        (b"7z\xbc\xaf\x27\x1c\0\0", "expected a zip or rar archive"),
    ],
)
def test_what_is_no_archive_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    assert said in refusal(lambda: Archive(tmp_path / "a.zip").names)


def test_an_archive_with_a_password_says_what_to_do(tmp_path: Path) -> None:
    zipped = write_zip(tmp_path / "a.zip", {"a": b"1"})
    content = bytearray(zipped.read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[6] |= 1  # the local and the central header say "encrypted"
    content[directory + 8] |= 1
    zipped.write_bytes(bytes(content))
    for path in (zipped, write_rar(tmp_path / "a.rar", MEMBERS, locked=True)):
        said = refusal(lambda path=path: Archive(path).names)  # type: ignore[misc]
        assert said.startswith(f"{path} is password-protected; unpack it")


@pytest.mark.usefixtures("no_rar_tool")
def test_a_compressed_rar_without_a_tool_says_what_to_install(tmp_path: Path) -> None:
    path = write_rar(tmp_path / "a.rar", MEMBERS, method=3)
    said = refusal(lambda: Archive(path).read("Ship.xml"))
    assert said.startswith(f"{path}: a compressed rar needs one of the tools bsdtar, unrar")
    assert "apt install libarchive-tools" in said


@pytest.mark.usefixtures("no_rar_tool")
def test_a_compressed_rar_is_read_by_a_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "bsdtar"
    # As bsdtar does, it takes what follows -f for the archive, and speaks of errors on stderr.
    tool.write_text(
        "#!/bin/sh\n[ $1 = --version ] && exit\n[ -f $4 ] || { echo no $4 >&2; exit 1; }\n"
        "[ $6 = Ship.xml ] && printf 'the ships' || printf 'another chip!!'\n"
    )
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(rarfile, "BSDTAR_TOOL", str(tool))
    archive = Archive(write_rar(tmp_path / "a.rar", MEMBERS, method=3))
    assert archive.read("Ship.xml") == b"the ships"
    assert "another checksum" in refusal(lambda: archive.read("Patch/a.tif"))
    archive.path.unlink()
    assert "cannot be read (no " in refusal(lambda: archive.read("Ship.xml"))


def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Archive(write_folder(tmp_path / "own", MEMBERS))

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)  # a mode would not stop an administrator
    said = refusal(lambda: archive.read("Ship.xml"))
    assert said == f"{tmp_path / 'own'}: Ship.xml may not be read; check its permissions"


def test_a_folder_that_may_not_be_listed_is_not_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = write_folder(tmp_path / "own", MEMBERS)

    def refuse(path: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)
    assert refusal(lambda: Archive(own).names) == f"{own} may not be read; check its permissions"


def test_a_dangling_link_is_named_and_not_left_out(tmp_path: Path) -> None:
    own = write_folder(tmp_path / "own", MEMBERS)
    (own / "lost.tif").symlink_to(tmp_path / "nowhere")
    assert "lost.tif" in Archive(own).names
    assert "lost.tif cannot be read" in refusal(lambda: Archive(own).read("lost.tif"))


@pytest.mark.parametrize("write", [write_zip, write_rar])
def test_a_member_named_out_of_the_archive_is_only_a_name(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    name = "../outside/Cargo/a.tif"
    inside = tmp_path / "inside"
    archive = Archive(write(inside / "a", {name: b"1"}))
    assert archive.names == [name]
    assert archive.read(name) == b"1"
    assert [p.name for p in tmp_path.rglob("*")] == ["inside", "a"]


def test_a_folder_gives_only_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"1")
    archive = Archive(write_folder(tmp_path / "own", MEMBERS))
    assert "cannot be read" in refusal(lambda: archive.read("../secret"))


@pytest.mark.parametrize("write", [write_zip, write_rar, write_folder])
def test_a_member_that_claims_too_many_bytes_is_refused_unread(
    tmp_path: Path, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "LARGEST_MEMBER", 10)
    archive = Archive(write(tmp_path / "a", MEMBERS))
    assert archive.read("Ship.xml") == b"the ships"
    assert "has 14 bytes, the limit is 10" in refusal(lambda: archive.read("Patch/a.tif"))
