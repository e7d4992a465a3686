"""URL of a data root, hub id -> its folder on this machine, fetched once and kept up to date."""

import hashlib
import json
import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from warminit.errors import DataNotAvailableError, WarminitError
from warminit.lab.data.cache import cache_folder


def is_url(root: str | Path) -> bool:
    """Tell whether a data root is a URL (`s3://bucket/folder`) rather than a local folder.

    Example:
        >>> is_url("s3://bucket/data"), is_url("/data"), is_url("C:/data")
        (True, False, False)
    """
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", str(root)))


def fetched_folder(root: str, hub_id: str) -> Path:
    """Return a local folder with the files of a hub repository under a data root.

    Every call lists the repository. New and changed files are fetched; files that are gone are
    removed here.

    Args:
        root: URL that fsspec reads: `s3://`, `gs://`, `abfs://`, `https://`, `file://`, ...
        hub_id: folder under it, laid out as on the hub.

    Returns:
        A folder in the cache (WARMINIT_CACHE, else the user's cache folder).

    Raises:
        WarminitError: if the folder is missing or unreadable, if its protocol needs another
            package, or if the cache cannot be written.
    """
    from filelock import FileLock

    url = f"{root.rstrip('/')}/{hub_id}"
    there, base, files = _listed(url, root)
    place = cache_folder(None) / "remote" / hashlib.sha256(url.encode()).hexdigest()[:16]
    folder, state = place / "files", place / "state.json"
    try:
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place / "lock"):
            fetched = json.loads(state.read_text()) if state.exists() else {}
            for gone in sorted(fetched.keys() - files.keys()):
                (folder / gone).unlink(missing_ok=True)
            for name, version in files.items():
                target = folder / name
                if fetched.get(name) != version or not target.is_file():
                    _fetch(there, f"{base}/{name}", target, url)
            _write(state, json.dumps(files))
    except WarminitError:
        raise
    except (OSError, ValueError) as error:
        raise WarminitError(
            f"the cache folder {str(place)!r} cannot hold the files of {url!r}: {error}. Set "
            "WARMINIT_CACHE to a writable folder with free space, or remove this folder."
        ) from error
    return folder


def _listed(url: str, root: str) -> tuple[Any, str, dict[str, str]]:
    """Return the file system, its path, and a text on each file's state."""
    import fsspec

    try:
        there, base = fsspec.core.url_to_fs(url)
        base = base.rstrip("/")
        names = [str(path)[len(base) :].lstrip("/") for path in there.find(base)]
        files = {name: str(there.ukey(f"{base}/{name}")) for name in sorted(names) if name}
    except (ImportError, ValueError) as error:
        raise WarminitError(
            f"data_root={root!r} cannot be read: {' '.join(str(error).split()).rstrip('.')}. "
            "Install fsspec's package for this protocol, or pass a folder."
        ) from error
    except Exception as error:  # every protocol raises its own
        raise _unavailable(url, root, error) from error
    if not files:
        raise _unavailable(url, root, "the folder does not exist")
    outside = [name for name in files if ".." in PurePosixPath(name).parts]
    if outside:
        raise WarminitError(
            f"data_root={root!r} lists {outside[0]!r}, which leads out of its folder. Remove or "
            "rename that file."
        )
    return there, base, files


def _fetch(there: Any, path: str, target: Path, url: str) -> None:
    partial = target.with_name(f".{target.name}.partial")  # hidden: never read as data
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        there.get_file(path, str(partial))
    except Exception as error:  # as above; a full disk here is among them, and named by its text
        partial.unlink(missing_ok=True)
        raise _unavailable(url, url, error) from error
    partial.replace(target)


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_text(text)
    partial.replace(path)


def _unavailable(url: str, root: str, why: object) -> DataNotAvailableError:
    said = " ".join(str(why).split()).rstrip(".") or type(why).__name__
    return DataNotAvailableError(
        f"data not available: {url!r} could not be fetched ({said}). Check the address and your "
        f"access rights, or pass another data_root than {root!r}."
    )
