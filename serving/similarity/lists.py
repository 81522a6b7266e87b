"""Inverted lists (Jégou et al. 2011) of coded vectors, by faiss: which galaxies may be near, without comparing all.

A vector is turned first, so that its numbers are ordered by how much they vary, and the last ones are left out: faiss
compares eight numbers at a time, and takes four times as long where a multiple of eight is exceeded. The nearest by
these codes are compared again by their whole vectors (`serving.similarity.shard`), so that their order is exact.
"""

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from morph.atomic import atomic
from morph.errors import InputError

#: How the lists hold a vector: eight bits a number, or products of codes of eight bits for every two numbers.
CODES = ("sq8", "pq")

#: Numbers that are compared at once.
_TOGETHER = 8
#: Vectors by which lists are trained, for each list.
TRAINED_BY = 64
#: Vectors that are coded at once.
_BLOCK = 1 << 16
#: Lists that a search looks into, and as which part of them at least.
PROBES, PROBED_PART = 64, 1 / 64


def number_of_lists(galaxies: int) -> int:
    """A power of two near the square root."""
    return 2 ** round(np.log2(max(galaxies, 1)) / 2)


def import_faiss() -> ModuleType:
    """faiss, computing with one thread: a query is too short to be shared out."""
    import faiss

    faiss.omp_set_num_threads(1)
    return faiss


class Lists:
    """Trained lists, to code vectors with and to search.

    Parameters
    ----------
    index : faiss's, without vectors: a linear transform and an inverted file.
    name : of its file, without the ending.
    """

    def __init__(self, index: Any, name: str):
        self._faiss = import_faiss()
        self._index, self.name = index, name
        self._transform = self._faiss.downcast_VectorTransform(index.chain.at(0))
        self._file = self._faiss.downcast_index(index.index)
        # The inverted file takes the lists of one shard after the other, and holds these between two.
        self._lock = threading.Lock()
        self._none = self._faiss.ArrayInvertedLists(self._file.nlist, self._file.code_size)
        self._file.replace_invlists(self._none, False)

    @classmethod
    def train(cls, sample: np.ndarray, galaxies: int, codes: str, name: str) -> "Lists":
        """Train lists.

        Parameters
        ----------
        sample : unit vectors, float32 [m, d].
        galaxies : how many the index holds.
        codes : one of `CODES`.
        name : of the file.
        """
        faiss = import_faiss()
        dimension = sample.shape[1]
        kept = dimension // _TOGETHER * _TOGETHER or dimension
        if codes == "pq":
            kept = dimension // 2 * 2
        _, turns = np.linalg.eigh(sample.T.astype("float64") @ sample)
        turn = turns[:, ::-1][:, :kept].T.astype("float32")
        count = number_of_lists(galaxies)
        text = f"IVF{count},SQ8" if codes == "sq8" else f"IVF{count},PQ{kept // 2}x8np"
        file = faiss.index_factory(kept, text, faiss.METRIC_INNER_PRODUCT)
        # Fewer than faiss likes are enough, and are not worth a warning.
        for clustering in (file.cp, *([file.pq.cp] if codes == "pq" else [])):
            clustering.niter, clustering.min_points_per_centroid = 10, 1
        file.train(np.ascontiguousarray(sample @ turn.T))
        transform = faiss.LinearTransform(dimension, kept, False)
        faiss.copy_array_to_vector(np.ascontiguousarray(turn).ravel(), transform.A)
        transform.is_trained = True
        index = faiss.IndexPreTransform(transform, file)
        # faiss's objects do not keep those alive that they are made of.
        index.referenced_objects = [transform, file]
        return cls(index, name)

    @classmethod
    def read(cls, folder: Path, name: str) -> "Lists":
        """InputError where the file is not there or damaged."""
        path = folder / f"{name}.faiss"
        faiss = import_faiss()
        try:
            return cls(faiss.read_index(str(path)), name)
        except RuntimeError:
            raise InputError(f"'{path}' is missing or damaged; make the index again with `morph index`.") from None

    def write(self, folder: Path) -> None:
        with atomic(folder / f"{self.name}.faiss") as building:
            self._faiss.write_index(self._index, str(building))

    @property
    def count(self) -> int:
        return self._file.nlist

    @property
    def code_size(self) -> int:
        """Bytes of a galaxy's code and number."""
        return self._file.code_size + 8

    def code(self, vectors: np.ndarray, path: Path) -> None:
        """Write the lists of a shard, atomically.

        Parameters
        ----------
        vectors : of its galaxies, in order, [n, d] (may be mapped from a file).
        path : the lists' file.
        """
        with self._lock:
            own = self._faiss.ArrayInvertedLists(self._file.nlist, self._file.code_size)
            self._file.replace_invlists(own, False)
            self._file.ntotal = 0
            try:
                for start in range(0, len(vectors), _BLOCK):
                    block = np.asarray(vectors[start : start + _BLOCK], dtype="float32")
                    self._file.add_with_ids(self._transformed(block), np.arange(start, start + len(block)))
                with atomic(path) as building:
                    self._faiss.write_InvertedLists(own, self._faiss.FileIOWriter(str(building)))
            finally:
                self._file.replace_invlists(self._none, False)

    def open(self, path: Path) -> Any:
        """The lists of a shard, mapped from their file. InputError where it is damaged."""
        faiss = self._faiss
        try:
            found = faiss.downcast_InvertedLists(
                faiss.read_InvertedLists(faiss.FileIOReader(str(path)), faiss.IO_FLAG_MMAP)
            )
        except RuntimeError:
            raise InputError(f"'{path}' is missing or damaged; make the index again with `morph index`.") from None
        # Otherwise it starts threads for every search.
        if hasattr(found, "prefetch_nthread"):
            found.prefetch_nthread = 0
        return found

    def probes(self, query: np.ndarray, part: float = PROBED_PART) -> tuple[np.ndarray, np.ndarray]:
        """The lists nearest to a query [d], at least this part of them: their cosines and numbers, [1, p] each."""
        count = min(max(PROBES, int(np.ceil(part * self.count))), self.count)
        turned = self._transformed(query[None])
        return self._faiss.downcast_index(self._file.quantizer).search(turned, count)

    def candidates(
        self,
        lists: Any,
        query: np.ndarray,
        probes: tuple[np.ndarray, np.ndarray],
        most: int,
        chosen: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The galaxies of a shard that are nearest to a query by their codes.

        Parameters
        ----------
        lists : the shard's (`open`).
        query : [d].
        probes : the lists to look into (`probes`).
        most : galaxies wanted.
        chosen : bool [n], of the shard's galaxies; the others are left out.

        Returns
        -------
        Cosines by the codes, and numbers in the shard, best first.
        """
        faiss = self._faiss
        cosines, numbers = probes
        turned = self._transformed(query[None])
        distances, found = np.empty((1, most), "float32"), np.empty((1, most), "int64")
        options = faiss.SearchParametersIVF(nprobe=numbers.shape[1])
        if chosen is not None:
            bits = np.packbits(chosen, bitorder="little")
            selector = faiss.IDSelectorBitmap(bits)
            options.sel = selector
        pointers = (faiss.swig_ptr(each) for each in (numbers, cosines, distances, found))
        with self._lock:
            self._file.replace_invlists(lists, False)
            self._file.nprobe = numbers.shape[1]
            try:
                self._file.search_preassigned_c(1, faiss.swig_ptr(turned), most, *pointers, False, options)
            finally:
                self._file.replace_invlists(self._none, False)
        there = found[0] >= 0
        return distances[0][there], found[0][there]

    def _transformed(self, vectors: np.ndarray) -> np.ndarray:
        return self._transform.apply(np.ascontiguousarray(vectors, dtype="float32"))


def name_of(codes: str, shards: Sequence[str]) -> str:
    """The name of the file of lists that are trained on these shards: the same ones give the same name."""
    return "lists-" + hashlib.sha256("\n".join([codes, *sorted(shards)]).encode()).hexdigest()[:12]
