"""Fitted classifiers on statistics features in files, without pickles: predictions of a loaded one have the same bits.

The files are those of skops: a zip of JSON, which names classes and their attributes, and of .npy arrays. It keeps
scikit-learn's estimators as they are. With safetensors, which holds arrays alone, each family would need a prediction of its
own here, and the bits of scikit-learn would be ours to follow. Loading makes objects only of classes in a list (skops' own
of harmless ones, and the trees of boosting), a method is taken by its registered name, and what compiled code indexes with
is checked. With another scikit-learn than the one that fitted, bits may differ, and scikit-learn warns.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from baselines.method import MethodError
from baselines.reading.calibration import N_FOLDS, Calibration, Distance, calibrate
from baselines.registry import METHODS, make_method
from baselines.shallow import FeatureMethod
from nws_data.atomic import write_bytes
from nws_data.errors import FormatError, NWSError
from nws_data.format.untrusted import read_file
from nws_data.tasks.table import TaskSpec, parse_task

if TYPE_CHECKING:
    from nws_data.tasks.task import Task

FORMAT = "nws-classifier"
FORMAT_VERSION = 1
SUFFIX = ".skops"
MAX_BYTES = 2**28
"""Of what a file unpacks to. Boosting of five classes takes 3 MB, a Gaussian SVM of 20,000 items 10 MB."""
_TREE = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
_FIELDS = {
    "format": str,
    "format_version": int,
    "task": str,
    "classes": list,
    "window_length": int,
    "feature_names": list,
    "data_digest": str,
    "method": str,
    "seed": int,
    "options": dict,
    "calibration": dict,
    "estimator": object,
}


@dataclass(frozen=True)
class Classifier:
    """A fitted method with what it takes to use it on a network of which nothing is known."""

    method: FeatureMethod
    name: str  # of the method
    options: Mapping[str, Any]
    spec: TaskSpec
    classes: tuple[Any, ...]  # in label order; empty for numbers
    feature_names: tuple[str, ...]
    data_digest: str  # of the training data
    calibration: Calibration | None  # None for numbers, or where some class has too few trainings


def check_keepable(name: str) -> None:
    """Raise ``MethodError`` unless files can keep what a method fits."""
    if name not in METHODS or not issubclass(METHODS[name].load(), FeatureMethod):
        able = [key for key, entry in METHODS.items() if entry.factory.startswith("baselines.shallow:")]
        raise MethodError(f"{name} cannot be kept in a file; those that can are {', '.join(able)}")
    _skops()


def classifier_of(method: FeatureMethod, name: str, options: Mapping[str, Any], task: Task) -> Classifier:
    """Return a method that was fitted on a task as a classifier, calibrated where the task has enough trainings."""
    can = task.kind == "classification" and min(task.counts["train"].values()) >= N_FOLDS
    return Classifier(
        method=method,
        name=name,
        options=dict(options),
        spec=task.spec,
        classes=() if task.classes is None else tuple(task.classes),
        feature_names=method.names(task.test),
        data_digest=task.data_digest,
        calibration=calibrate(method, task) if can else None,
    )


def save(classifier: Classifier, path: Path) -> None:
    """Write a classifier's file, complete or not at all; raises ``NWSError``."""
    calibration = classifier.calibration
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "task": classifier.spec.name,
        "classes": list(classifier.classes),
        "window_length": classifier.method.length,
        "feature_names": list(classifier.feature_names),
        "data_digest": classifier.data_digest,
        "method": classifier.name,
        "seed": classifier.method.seed,
        "options": dict(classifier.options),
        "calibration": asdict(calibration) if calibration else {},
        "estimator": classifier.method.fitted,
    }
    write_bytes(path, _skops().dumps(content))


def load(path: Path) -> Classifier:
    """Read a classifier's file.

    Raises:
        FormatError: not such a file, too large, or one that asks for classes which are not on the list.
        OSError: it cannot be read.
    """
    content, skops = read_file(path, MAX_BYTES), _skops()
    try:
        with zipfile.ZipFile(BytesIO(content)) as file:
            if sum(entry.file_size for entry in file.infolist()) > MAX_BYTES:
                raise FormatError(f"unpacks to over {MAX_BYTES:,} bytes, the most that is read")
        return _classifier(skops.loads(content, trusted=[_TREE]))
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    except Exception as error:  # whatever a damaged or hostile file makes skops or the checks raise
        text = str(error).split("\n")[0][:200]
        raise FormatError(
            f"{path}: not a classifier of nws bench run --keep: {type(error).__name__}: {text}; make it again"
        ) from error


def load_folder(folder: Path) -> list[Classifier]:
    """Read all classifiers of a folder, by name; raises ``NWSError`` where there is none, and as :func:`load`."""
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    if not paths:
        raise NWSError(
            f"{folder} holds no classifiers (*{SUFFIX}); make some: nws bench run --task 'local/*' --method boosting-16 "
            f"--seeds 1 --keep {folder}"
        )
    return [load(path) for path in paths]


def _classifier(content: Any) -> Classifier:
    """Return the classifier of a file's content; raises ``FormatError``, or what a wrong type makes Python raise."""
    if not isinstance(content, dict) or set(content) != set(_FIELDS):
        raise FormatError("not a classifier's file: its fields are others")
    if (content["format"], content["format_version"]) != (FORMAT, FORMAT_VERSION):
        raise FormatError(f"format {content['format']!r} {content['format_version']!r}, read is {FORMAT} {FORMAT_VERSION}")
    for name, kind in _FIELDS.items():
        if not isinstance(content[name], kind):
            raise FormatError(f"{name} is of type {type(content[name]).__name__}")
    name, names, spec = content["method"], tuple(map(str, content["feature_names"])), parse_task(content["task"])
    method = make_method(name, content["seed"], **content["options"]) if name in METHODS else None
    if not isinstance(method, FeatureMethod):
        raise FormatError(f"method {name!r} is kept in no file")
    classes = tuple(content["classes"])
    if not all(isinstance(value, str | int | bool) for value in classes) or bool(classes) == spec.family.regression:
        raise FormatError(f"classes of {spec.name}: {classes!r}")
    _check_estimator(content["estimator"], method, len(names), len(classes))
    method.fitted, method.n_classes, method.length = content["estimator"], len(classes) or None, content["window_length"]
    return Classifier(
        method=method,
        name=name,
        options=content["options"],
        spec=spec,
        classes=classes,
        feature_names=names,
        data_digest=content["data_digest"],
        calibration=_calibration(content["calibration"], len(names)) if content["calibration"] else None,
    )


def _calibration(found: dict[str, Any], n_features: int) -> Calibration:
    numbers = {key: float(found[key]) for key in ("temperature", "log_loss", "limit")}
    distance = Distance(**{key: np.asarray(value, np.float64) for key, value in found["distance"].items()})
    shapes = {array.shape for array in (distance.median, distance.spread, distance.mean)}
    sound = np.isfinite(list(numbers.values())).all() and numbers["temperature"] > 0
    if shapes != {(n_features,)} or distance.precision.shape != (n_features, n_features) or not sound:
        raise FormatError("its calibration does not fit its features")
    return Calibration(**numbers, n_networks=int(found["n_networks"]), distance=distance)


def _check_estimator(found: Any, method: FeatureMethod, n_features: int, n_classes: int) -> None:
    """Raise ``FormatError`` unless the estimator is what the method fits, and its arrays point to where they may."""
    wanted = method.new_estimator(n_classes == 0)
    if _kinds(found) != _kinds(wanted):
        raise FormatError(f"its estimator is {_kinds(found)}, not {_kinds(wanted)}")
    if int(found.n_features_in_) != n_features:
        raise FormatError(f"its estimator takes {found.n_features_in_} features, not {n_features}")
    labels = np.asarray(getattr(found, "classes_", []))
    if n_classes and not (np.isin(labels, np.arange(n_classes)).all() and len(labels) > 1):
        raise FormatError(f"its estimator gives labels {labels!r} of {n_classes} classes")
    for step in _steps(found):
        machines = [step] if hasattr(step, "support_vectors_") else getattr(step, "estimators_", [])
        for machine in machines:
            _check_machine(machine, n_features)
        for tree in (tree for stage in getattr(step, "_predictors", []) for tree in stage):
            _check_tree(tree.nodes, n_features)


def _check_machine(machine: Any, n_features: int) -> None:
    """Raise ``FormatError`` where a support vector machine's arrays do not fit each other."""
    n = len(machine.support_vectors_)
    names = ("support_vectors_", "support_", "dual_coef_", "_dual_coef_", "intercept_", "_intercept_")
    shapes = [np.shape(getattr(machine, name)) for name in names]
    counts = (n, 2 * n)  # regression has the sum twice
    if shapes != [(n, n_features), (n,), (1, n), (1, n), (1,), (1,)] or int(np.sum(machine._n_support)) not in counts:
        raise FormatError("a support vector machine of it has arrays that do not fit each other")


def _check_tree(nodes: Any, n_features: int) -> None:
    """Raise ``FormatError`` where a tree would lead outside of its nodes or of the features, or in a circle."""
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE

    sound = isinstance(nodes, np.ndarray) and nodes.dtype == PREDICTOR_RECORD_DTYPE and nodes.ndim == 1 and len(nodes) > 0
    if sound:
        inner = np.flatnonzero(nodes["is_leaf"] == 0)
        turns = np.stack([nodes[side][inner].astype(np.int64) for side in ("left", "right")])
        sound = bool(((turns > inner) & (turns < len(nodes))).all() and not nodes["is_categorical"].any())
        columns = nodes["feature_idx"][inner]
        sound &= bool(((columns >= 0) & (columns < n_features)).all())
    if not sound:
        raise FormatError("a tree of it leads outside of its nodes or features")


def _steps(estimator: Any) -> Iterator[Any]:
    """Yield an estimator and those inside it, which of the ones that methods make are these."""
    yield estimator
    for _, step in getattr(estimator, "steps", []):
        yield from _steps(step)
    for name in ("regressor_", "regressor"):
        if hasattr(estimator, name):
            yield from _steps(getattr(estimator, name))
            break


def _kinds(estimator: Any) -> list[str]:
    return [type(step).__name__ for step in _steps(estimator)]


def _skops() -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise NWSError("kept classifiers need skops; run in the checkout: pip install -e '.[read]'") from error
    return skops.io
