"""Names of methods, their options, and methods of other people by the path of their class."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
import sys
import traceback
import types
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeGuard, Union, get_args, get_origin

from baselines.method import Method, MethodError
from nws_data.errors import one_of

INPUTS = ("vector", "windows")
KINDS = ("classification", "regression")


@dataclass(frozen=True)
class MethodEntry:
    """A row of :data:`METHODS`."""

    factory: str  # the class, as package.module:Class or path/to/file.py:Class; imported when it is first used
    help: str = ""  # one line of what the method is
    options: Mapping[str, Any] = field(default_factory=dict)  # that belong to the name and cannot be changed under it
    inputs: tuple[str, ...] = INPUTS  # the views it reads: whole vectors, windows
    kinds: tuple[str, ...] = KINDS  # the tasks it fits

    def load(self) -> type[Method]:
        """Import and return the class; raises ``MethodError`` when there is no such class, or it cannot be made."""
        module_name, _, class_name = self.factory.rpartition(":")
        module = _load(module_name)
        found = getattr(module, class_name, None)
        if not _is_method(found):
            names = [name for name, value in vars(module).items() if _is_method(value) and not inspect.isabstract(value)]
            raise MethodError(
                f"{module_name} has no class of methods {class_name!r}; those there are: {', '.join(names) or 'none'}; "
                "a method is a subclass of baselines.method.Method"
            )
        if inspect.isabstract(found):
            missing = ", ".join(sorted(found.__abstractmethods__))
            raise MethodError(f"{class_name} of {module_name} is abstract: it lacks {missing}; write them in a subclass")
        return found


_DMC = "baselines.dmc.method:DMC"
_FEATURES = {
    "16": ({"features": "vector"}, "16 features", INPUTS),
    "480": ({"features": "layers"}, "480 features of layers", ("vector",)),
    "kernels": ({"features": "kernels"}, "features of kernels alone", ("vector",)),
}
_SHALLOW = (
    ("svm-linear", "LinearSvm", "linear SVM", ("16", "480", "kernels"), KINDS),
    ("svm-rbf", "RbfSvm", "Gaussian SVM", ("16", "480", "kernels"), KINDS),
    ("boosting", "Boosting", "gradient boosting", ("16", "480"), KINDS),
    ("logistic", "Logistic", "logistic regression", ("16", "480"), ("classification",)),
    ("ridge", "Ridge", "ridge regression", ("16", "480"), ("regression",)),
)
"""Families of methods on statistics features: name, class, what it is, features, tasks."""

METHODS: dict[str, MethodEntry] = {
    "dmc": MethodEntry(_DMC, "deep meta-classifier, the paper's 1D CNN on raw weights"),
    "dmc-short": MethodEntry(_DMC, "the same, trained for minutes on a core", {"budget": "short"}),
    "dmc-asinh": MethodEntry(_DMC, "DMC on asinh(20 w) of the weights w", {"inputs": "asinh"}),
    "dmc-asinh-short": MethodEntry(_DMC, "the same, trained for minutes on a core", {"inputs": "asinh", "budget": "short"}),
    "majority": MethodEntry("baselines.trivial:Majority", "trivial: the most frequent training class, or the mean"),
    "hyperparameters": MethodEntry("baselines.trivial:HyperParametersOnly", "trivial: all other hyper-parameters"),
    "length": MethodEntry("baselines.trivial:LengthOnly", "trivial: the length of the weight vector alone"),
} | {
    f"{family}-{suffix}": MethodEntry(f"baselines.shallow:{name}", f"{what}, {of}", options, inputs, kinds)
    for family, name, what, suffixes, kinds in _SHALLOW
    for suffix in suffixes
    for options, of, inputs in (_FEATURES[suffix],)
}
METHODS |= {
    "nfn": MethodEntry("baselines.nfn:NFN", "equivariant network on whole vectors", inputs=("vector",), kinds=KINDS[:1]),
    "trees-window": MethodEntry("baselines.windows:WindowTrees", "randomised trees, window statistics", inputs=("windows",)),
    "svm-linear-aligned": MethodEntry(
        "baselines.aligned:AlignedLinear", "linear SVM on weights, units in one order", inputs=("vector",), kinds=KINDS[:1]
    ),
}
"""The registered methods by name; new ones last, since a method's place is its colour on the board."""


def find_method(name: str) -> MethodEntry:
    """Return the row of a registered name, or one for a class path ``package.module:Class``; raises ``MethodError``."""
    if name in METHODS:
        return METHODS[name]
    if ":" in name:
        return MethodEntry(name)
    raise MethodError(
        f"method: {one_of(name, METHODS)}, or give a class of your own as package.module:Class or path/to/file.py:Class"
    )


def options_of(name: str) -> dict[str, inspect.Parameter]:
    """Return the options that a method takes under a name, by option; raises ``MethodError``."""
    entry = find_method(name)
    return {key: option for key, option in _options(entry.load(), name).items() if key not in entry.options}


def resolve_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return every option of a method with its value: given ones converted, the name's own, else defaults.

    Raises ``MethodError``: an unknown method or option, an option that the name fixes, or a value of a wrong type.
    """
    entry = find_method(name)
    known = _options(entry.load(), name)
    for key in options:
        if key in entry.options:
            raise MethodError(f"option {key} of {name} is fixed at {entry.options[key]!r}; use another method to change it")
        if key not in known:
            free = [option for option in known if option not in entry.options]
            raise MethodError(f"option of {name}: {one_of(key, free or ['(it has none)'])}")
    given = {key: _converted(known[key], value) for key, value in options.items()}
    return {key: option.default for key, option in known.items()} | dict(entry.options) | given


def make_method(name: str, /, seed: int = 0, **options: Any) -> Method:
    """Return a method, ready to fit.

    Args:
        name: a name of :data:`METHODS`, ``package.module:Class`` or ``path/to/file.py:Class``.
        seed: see :class:`Method`.
        options: keyword arguments of the class; texts such as ``"30"`` or ``"true"`` become the annotated type.

    Raises:
        MethodError: as :func:`resolve_options`, and what the class itself refuses.
    """
    return find_method(name).load()(seed, **resolve_options(name, options))


def _options(factory: type[Method], name: str) -> dict[str, inspect.Parameter]:
    try:
        parameters = dict(inspect.signature(factory, eval_str=True).parameters)
    except NameError as error:
        raise MethodError(
            f"{name}: an annotation of __init__ cannot be read: {error}; import the name at run time"
        ) from error
    if parameters.pop("seed", None) is None:
        raise MethodError(f"{name}: __init__ must take a seed: def __init__(self, seed: int = 0, ...)")
    for parameter in parameters.values():
        if parameter.empty in (parameter.default, parameter.annotation):  # *arguments and **options among them
            raise MethodError(f"{name}: argument {parameter} of __init__ is no option: annotate each and give it a default")
    return parameters


def _converted(option: inspect.Parameter, value: Any) -> Any:
    """Return a text as the annotated type, any other value as it is; raises ``MethodError``."""
    if isinstance(value, str):
        readers = _readers(option.annotation)
        for _, read in readers:
            with suppress(ValueError, KeyError):
                value = read(value)
                break
        else:
            raise MethodError(f"option {option.name} must be {' or '.join(words for words, _ in readers)}, got {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise MethodError(f"option {option.name} must be finite, got {value}")
    return value


_NO_TEXT: dict[str, Any] = {}
_BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_READERS: dict[Any, tuple[str, Callable[[str], Any]]] = {
    type(None): ("none", lambda text: {"none": None}[text.lower()]),
    bool: ("true or false", lambda text: _BOOLS[text.lower()]),
    int: ("int", int),
    float: ("float", float),
    Path: ("Path", Path),
    str: ("str", str),
    Any: ("Any", str),
}
"""By type: what it is called, and how a text becomes a value of it; ``ValueError`` or ``KeyError`` where it does not."""


def _readers(annotation: Any) -> list[tuple[str, Callable[[str], Any]]]:
    """Return the readers of an annotation's types in the order in which they are tried: those that take any text last."""
    if get_origin(annotation) is Literal:
        return [(repr(value), {str(value): value}.__getitem__) for value in get_args(annotation)]
    if get_origin(annotation) in (Union, types.UnionType):
        found = [reader for member in get_args(annotation) for reader in _readers(member)]
        return sorted(found, key=lambda reader: reader[0] in ("Path", "str", "Any"))
    return [_READERS.get(annotation, (getattr(annotation, "__name__", str(annotation)), _NO_TEXT.__getitem__))]


def _is_method(value: Any) -> TypeGuard[type[Method]]:
    return isinstance(value, type) and issubclass(value, Method)


def _load(name: str) -> ModuleType:
    """Import a module, or a file once under a name of its own; it may be pickled from there within this process.

    Raises ``MethodError``, of an error of theirs with file and line.
    """
    path = Path(name).resolve()
    key = f"nws_method_{sha256(str(path).encode()).hexdigest()[:12]}"
    try:
        if not name.endswith(".py"):
            return importlib.import_module(name)
        if key not in sys.modules:
            spec = importlib.util.spec_from_file_location(key, path)
            assert spec is not None and spec.loader is not None
            sys.modules[key] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[key])
        return sys.modules[key]
    except (Exception, SystemExit) as error:
        sys.modules.pop(key, None)
        place, text = _place(error), str(error.msg if isinstance(error, SyntaxError) else error)
        if not place and not isinstance(error, SyntaxError):  # of the import itself
            raise MethodError(f"cannot import {name!r}: {text}; give package.module:Class or file.py:Class") from error
        raise MethodError(f"{place or path} cannot be imported: {type(error).__name__}: {text}; mend it there") from error


def _place(error: BaseException) -> str:
    """Return ``file:line`` of an error on import: of the syntax, or the last line reached in the first file; or nothing."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}" if error.filename else ""
    ours = (__file__, importlib.__file__)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename not in ours and "<frozen" not in f.filename]
    own = [frame for frame in frames if frame.filename == frames[0].filename]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else ""
