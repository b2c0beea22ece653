"""The ``datasets`` feature that turns the column ``weights`` from positions into values when a row is read.

``ds = load_dataset("nws", "fixed", split="train").cast_column("weights", Weights(root="nws"))``. Arrow and the cache
still hold positions only.

``save_to_disk``, ``to_parquet`` and ``push_to_hub`` write positions as well: what they write is of use beside the dataset.
``load_from_disk`` of it needs this module: write ``from nws_data import Weights`` first (``import nws_data`` after ``import
datasets`` does too). To write values, ``ds.map(lambda weights: {"values": weights}, input_columns="weights",
remove_columns="weights")`` comes before.

A ``map`` whose function reads ``row["weights"]`` must name it, ``ds.map(f, input_columns="weights")``; otherwise
``datasets`` writes the values, not the positions, into the new dataset and its cache.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from datasets.features.features import Value, register_feature

from nws_data.errors import SelectionError
from nws_data.format.metadata import WEIGHTS_TYPE
from nws_data.read.shard_readers import ShardReader


@lru_cache(maxsize=16)
def _reader(root: str) -> ShardReader:
    """Return this process's reader of a dataset; headers are kept."""
    return ShardReader(root)


@dataclass
class Weights:
    """Feature of a weight vector: reads float32 ``(n_weights,)``, a numpy array or a tensor as the format asks.

    Args:
        root: where the dataset lies: a folder, or any address that fsspec opens, such as ``hf://datasets/owner/nws``. A
            folder is made absolute at once; cast again where a dataset that was saved with it is read in another place.
        decode: whether rows give values; if False, the struct of positions.
    """

    root: str | Path
    decode: bool = True
    id: str | None = field(default=None, repr=False)
    dtype: ClassVar[str] = "float32"
    pa_type: ClassVar[Any] = WEIGHTS_TYPE
    _type: str = field(default="Weights", init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.root, str | Path):
            raise SelectionError(f"root must be a folder or an address such as hf://datasets/owner/nws, got {self.root!r}")
        if "://" not in str(self.root):
            self.root = Path(os.path.expanduser(self.root)).resolve()
        self.root = str(self.root)  # a Path does not survive JSON

    def __call__(self) -> pa.DataType:
        """Return the Arrow type, the struct of FORMAT.md."""
        return self.pa_type

    def encode_example(self, value: Any) -> Any:
        """Return it as it is: a stream encodes what it has decoded, and :meth:`cast_storage` keeps values out of Arrow."""
        return value

    def decode_example(self, value: Any, token_per_repo_id: dict[str, Any] | None = None) -> np.ndarray:
        """Return the vector at a position, float32 ``(n_weights,)``; values pass through. Raises ``FormatError``."""
        if not isinstance(value, dict):
            return value
        return _reader(str(self.root)).read(value)

    def cast_storage(self, storage: pa.Array) -> pa.Array:
        """Cast a struct of positions to the exact Arrow type, fields in any order; raises ``SelectionError`` for others."""
        if not pa.types.is_struct(storage.type):
            raise SelectionError(
                f"the column weights holds positions, not values, got {storage.type}: return values under another name, or "
                'call map(function, input_columns="weights")'
            )
        fields = dict(zip([f.name for f in storage.type], storage.flatten(), strict=True))
        missing = [f.name for f in self.pa_type if f.name not in fields]
        if missing:
            raise SelectionError(f"cannot cast to Weights: the struct lacks {', '.join(missing)}; cast the column weights")
        arrays = [fields[f.name].cast(f.type) for f in self.pa_type]
        return pa.StructArray.from_arrays(arrays, fields=list(self.pa_type), mask=storage.is_null())

    def embed_storage(self, storage: pa.Array, **_: Any) -> pa.Array:
        """Return the positions as they are, with a warning: called where ``datasets`` saves or uploads."""
        warnings.warn(
            f"what is saved holds positions of weights in {self.root}, not their values: keep that dataset in its place, or "
            'save ds.map(lambda weights: {"values": weights}, input_columns="weights", remove_columns="weights")',
            stacklevel=2,
        )
        return storage

    def flatten(self) -> Weights | dict[str, Value]:
        """Return the feature itself, or without decoding its five fields."""
        return self if self.decode else {f.name: Value(str(f.type)) for f in self.pa_type}


with warnings.catch_warnings():
    # datasets calls its only way of adding a feature experimental, each time it is used.
    warnings.filterwarnings("ignore", message="'register_feature' is experimental")
    register_feature(Weights, "Weights")
