"""Exported models in an object store: anything that fsspec knows (s3://, gs://, abfs://, ...)."""

from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from morph.errors import InputError, first_line

SAVED_MODEL = "saved_model.pb"


def is_url(place: str | Path) -> bool:
    """Whether `place` is a URL of another place than a local folder."""
    return "://" in str(place) and not str(place).startswith("file://")


def local(place: str | Path) -> Path:
    """The folder that a path or a file:// URL means. InputError for any other URL."""
    if is_url(place):
        raise InputError(f"'{place}' is not a folder on this machine; give one.")
    return Path(str(place).removeprefix("file://"))


class Remote:
    """A folder of exported models at a URL.

    Raises InputError when the URL's protocol is unknown or needs a package that is not installed.
    """

    def __init__(self, url: str):
        import fsspec
        from fsspec.registry import known_implementations

        self.url = url.rstrip("/")
        try:
            self._files, self._root = fsspec.core.url_to_fs(self.url)
        except ImportError:
            protocol = self.url.partition("://")[0]
            package = known_implementations[protocol]["class"].partition(".")[0]
            raise InputError(f"{protocol}:// needs the package {package}; `pip install {package}`.") from None
        except ValueError as error:
            raise InputError(f"'{url}' cannot be reached: {str(error).rstrip('.')}.") from None

    def __str__(self) -> str:
        return self.url

    def versions(self, name: str) -> list[int]:
        """The complete versions of the model `name`, in rising order."""
        from serving.savedmodel.export import version_number

        with self._errors_reported():
            found = self._files.glob(f"{self._root}/{name}/*/{SAVED_MODEL}")
        names = [PurePosixPath(path).parent.name for path in found]
        return sorted(number for name in names if (number := version_number(name)) is not None)

    def upload(self, folder: Path, name: str, version: int) -> str:
        """Upload a version of a model, and the files beside it.

        A store has no rename: everything is uploaded under a name that is not a version, and then copied inside the
        store, `saved_model.pb` last. A server that polls in between finds no model, or one without its main file,
        which it refuses and tries again; it never loads half a model. Files beside the model that exist are
        left alone.

        Parameters
        ----------
        folder : the local folder that holds the model's.
        name, version : of the model.

        Returns
        -------
        The version's URL.
        """
        source, final = folder / name / str(version), f"{self._root}/{name}/{version}"
        staging = f"{self._root}/{name}/.{version}.uploading"
        files = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
        files.sort(key=lambda file: file == SAVED_MODEL)
        with self._errors_reported():
            try:
                for file in files:
                    self._put(source / file, f"{staging}/{file}")
                for file in files:
                    self._files.makedirs(f"{final}/{file}".rpartition("/")[0], exist_ok=True)
                    self._files.copy(f"{staging}/{file}", f"{final}/{file}")
            finally:
                if self._files.exists(staging):
                    self._files.rm(staging, recursive=True)
            for path in folder.iterdir():
                if path.is_file() and not self._files.exists(f"{self._root}/{path.name}"):
                    self._put(path, f"{self._root}/{path.name}")
        return f"{self.url}/{name}/{version}"

    @contextmanager
    def downloaded(self):
        """Download everything to a local folder that exists while the context lasts."""
        with TemporaryDirectory() as folder:
            with self._errors_reported():
                if not self._files.exists(self._root):
                    raise InputError(f"There is nothing at '{self.url}'.")
                self._files.get(f"{self._root}/", f"{folder}/", recursive=True)
            yield Path(folder)

    def _put(self, source: Path, target: str) -> None:
        self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
        self._files.put_file(str(source), target)

    @contextmanager
    def _errors_reported(self):
        """Raise what the store reports (a wrong bucket, no right to write) as InputError: the user can correct it."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:  # every store's library raises its own errors
            first = first_line(error)
            raise InputError(f"'{self.url}' cannot be read or written ({first}).") from error
