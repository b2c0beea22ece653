"""Names, options and texts of methods, and methods of other people."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from baselines import registry
from baselines.method import Method, MethodError
from baselines.registry import METHODS, MethodEntry, find_method, make_method, options_of, resolve_options

THEIRS = """
from __future__ import annotations
import numpy as np
from baselines.method import Method

class Guess(Method):
    def __init__(self, seed: int = 0, value: int = 3) -> None:
        super().__init__(seed)
        self.value = value
    def fit(self, task) -> None:
        self.n_parameters = 1
    def predict(self, view) -> np.ndarray:
        return np.full(len(view), self.value)

class NoOptions(Guess):
    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)

class Greedy(Guess):
    def __init__(self, seed: int = 0, **anything) -> None: ...

class Bare(Guess):
    def __init__(self, seed: int = 0, value=3) -> None: ...

class Seedless(Guess):
    def __init__(self, value: int = 3) -> None: ...

class Unreadable(Guess):
    def __init__(self, seed: int = 0, value: Missing = 3) -> None: ...

class Half(Method):
    def fit(self, task) -> None: ...

other = 1
"""


class Example(Method):
    """A method with an option of each kind."""

    def __init__(
        self,
        seed: int = 0,
        *,
        rounds: int = 10,
        rate: float = 0.5,
        limit: int | None = None,
        fast: bool = False,
        precision: Literal["32", "bf16"] = "32",
        folder: Path | None = None,
        name: str = "x",
    ) -> None:
        super().__init__(seed)
        self.got = {"rounds": rounds, "rate": rate, "limit": limit, "fast": fast} | {
            "precision": precision,
            "folder": folder,
            "name": name,
        }

    def fit(self, task: Any) -> None:
        """Nothing to learn."""

    def predict(self, view: Any) -> np.ndarray:
        return np.zeros(len(view))


EXAMPLE = f"{__name__}:Example"


@pytest.fixture
def theirs(tmp_path: Path) -> str:
    path = tmp_path / "theirs.py"
    path.write_text(THEIRS)
    return str(path)


def test_texts_become_the_annotated_types():
    texts = {"rounds": "30", "rate": "1e-3", "limit": "5", "fast": "true", "precision": "bf16", "folder": "a/b", "name": "7"}
    method = make_method(EXAMPLE, 4, **texts)
    assert isinstance(method, Example) and method.seed == 4
    expected = {
        "rounds": 30,
        "rate": 1e-3,
        "limit": 5,
        "fast": True,
        "precision": "bf16",
        "folder": Path("a/b"),
        "name": "7",
    }
    assert method.got == expected
    assert [type(value) for value in method.got.values()] == [type(value) for value in expected.values()]


class Odd(Example):
    """An option of a type that no text becomes."""

    def __init__(self, seed: int = 0, sizes: tuple[int, ...] = (1, 2)) -> None:
        Method.__init__(self, seed)
        self.got = {"sizes": sizes}


def test_a_type_that_no_text_becomes() -> None:
    assert make_method(f"{__name__}:Odd", sizes=(3,)).got == {"sizes": (3,)}
    with pytest.raises(MethodError, match="option sizes must be tuple, got '3'"):
        make_method(f"{__name__}:Odd", sizes="3")


def test_values_and_defaults_stay_as_they_are():
    assert make_method(EXAMPLE, limit=3).got == {"rounds": 10, "rate": 0.5, "limit": 3, "fast": False} | {
        "precision": "32",
        "folder": None,
        "name": "x",
    }
    assert make_method(EXAMPLE, limit="none", folder="None").got["folder"] is None
    assert [make_method(EXAMPLE, fast=text).got["fast"] for text in ("no", "0", "False", "YES", "1")] == [False] * 3 + [
        True
    ] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"round": 3},
            r"got 'round' \(did you mean rounds\?\); choose one of rounds, rate, limit, fast, precision, folder, name",
        ),
        ({"rounds": "3.5"}, "option rounds must be int, got '3.5'"),
        ({"rate": "fast"}, "option rate must be float, got 'fast'"),
        *(({"rate": text}, "option rate must be finite, got") for text in ("nan", "inf", "-Infinity", "1e999")),
        ({"rate": float("nan")}, "option rate must be finite, got nan"),
        ({"rate": float("-inf")}, "option rate must be finite, got -inf"),
        ({"limit": "many"}, "option limit must be int or none, got 'many'"),
        ({"fast": "perhaps"}, "option fast must be true or false, got 'perhaps'"),
        ({"precision": "16"}, "option precision must be '32' or 'bf16', got '16'"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(MethodError, match=message):
        make_method(EXAMPLE, **options)


def test_a_name_may_fix_options(monkeypatch):
    monkeypatch.setitem(registry.METHODS, "fast-example", MethodEntry(EXAMPLE, options={"fast": True}))
    assert make_method("fast-example", rounds="2").got["fast"] is True
    assert "fast" not in options_of("fast-example") and "rounds" in options_of("fast-example")
    assert resolve_options("fast-example", {"rounds": "2"})["rounds"] == 2
    with pytest.raises(MethodError, match="option fast of fast-example is fixed at True"):
        make_method("fast-example", fast=False)


def test_a_class_of_somebody_else_by_file(theirs):
    method = make_method(f"{theirs}:Guess", 1, value="5")
    assert isinstance(method, Method) and method.seed == 1 and method.n_parameters is None
    assert type(make_method(f"{theirs}:Guess")) is type(method)
    assert method.predict(range(3)).tolist() == [5, 5, 5]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "Missing",
            "has no class of methods 'Missing'; those there are: Guess, NoOptions, Greedy, Bare",
        ),
        ("other", "has no class of methods 'other'"),
        ("Half", r"Half of .*theirs.py is abstract: it lacks predict; write them in a subclass"),
        ("Method", "is abstract: it lacks fit, predict"),
        ("Greedy", r"argument \*\*anything of __init__ is no option"),
        ("Bare", "argument value=3 of __init__ is no option: annotate each"),
        ("Seedless", "must take a seed"),
        ("Unreadable", "an annotation of __init__ cannot be read: name 'Missing' is not defined"),
    ],
)
def test_classes_that_are_no_methods_are_refused(theirs, name, message):
    with pytest.raises(MethodError, match=message):
        make_method(f"{theirs}:{name}")


def test_a_method_without_options_says_so(theirs):
    with pytest.raises(MethodError, match=r"got 'depth'; choose one of \(it has none\)"):
        make_method(f"{theirs}:NoOptions", depth=3)


def test_unknown_methods_are_refused(tmp_path):
    with pytest.raises(MethodError, match=r"method: got 'dcm'; choose one of .*package\.module:Class"):
        find_method("dcm")
    with pytest.raises(MethodError, match=r"cannot import 'nowhere\.at_all': No module named 'nowhere'"):
        make_method("nowhere.at_all:Class")
    with pytest.raises(MethodError, match=r"cannot import .*nowhere\.py.* No such file"):
        make_method(f"{tmp_path}/nowhere.py:Class")
    with pytest.raises(MethodError, match=r"cannot import ''.*give package\.module:Class"):
        make_method(":Class")


def test_the_base_class_is_no_method():
    with pytest.raises(MethodError, match=r"Method of baselines\.method is abstract: it lacks fit, predict"):
        make_method("baselines.method:Method")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "import a_package_that_is_missing\n",
            "1 cannot .* ModuleNotFoundError: No module named 'a_package_that_is_missing'",
        ),
        ("x = 1\nclass :\n", "2 cannot be imported: SyntaxError: invalid syntax; mend it there"),
        ("def f():\n    return 1 / 0\n\nf()\n", "2 cannot be imported: ZeroDivisionError: division by zero"),
        ("import json\n\njson.loads('')\n", "3 cannot be imported: JSONDecodeError: "),
        ("import sys\nsys.exit(3)\n", "2 cannot be imported: SystemExit: 3"),
        ("int('a')\n", "1 cannot be imported: ValueError: "),
    ],
)
@pytest.mark.parametrize("how", ["file", "module"])
def test_an_error_inside_their_file_is_told_with_its_place(tmp_path, monkeypatch, content, message, how):
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / f"broken_{sha256(content.encode()).hexdigest()[:8]}.py"
    path.write_text(content)
    for _ in range(2):  # nothing half-imported stays
        with pytest.raises(MethodError, match=f"^{re.escape(str(path))}:{message}"):
            make_method(f"{path if how == 'file' else path.stem}:Class")


def test_a_file_of_other_bytes_is_refused(tmp_path):
    path = tmp_path / "bytes.py"
    for content in (b"\0\1\2", b"x = '\xff\xfe'\n"):
        path.write_bytes(content)
        with pytest.raises(MethodError, match=r"bytes.py.* cannot be imported: SyntaxError: "):
            make_method(f"{path}:Class")


def test_every_registered_method_has_readable_options_and_help():
    for name, entry in METHODS.items():
        assert entry.help and set(entry.inputs) <= set(registry.INPUTS) and set(entry.kinds) <= set(registry.KINDS)
        assert entry.inputs and entry.kinds
        assert set(entry.options).isdisjoint(options_of(name))
        assert isinstance(make_method(name), Method)
