"""The board: its numbers are those of the results, its page stands alone, the same results give the same bytes."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from benchmarks.leaderboard.board.charts import colour_classes
from benchmarks.leaderboard.board.standings import arrange, differences
from benchmarks.leaderboard.board.tables import runs_table, scores_table
from benchmarks.leaderboard.board.write import plain_markdown, write_board
from benchmarks.leaderboard.files.formats import NONE, difference_text
from benchmarks.leaderboard.files.results import Result, ResultError
from nws_data.tasks.metrics import clustered_accuracy, paired_difference
from tests.benchmarks.leaderboard.made_up import HARDWARE, class_score, make_result, number_score

VOID = {"meta", "br", "wbr", "line", "rect", "path", "circle"}
EVIL = "<script>alert(1)</script>|*x*:Mine"
ODD = (
    "https://evil.com",
    "www.evil.com",
    "@everyone",
    "a@b.com",
    "#12",
    "<b>",
    "![x](y)",
    "a`b",
    "a\\|b",
    "~~x~~",
)
"""What Markdown makes links, mentions, markup or new cells of."""
EVIL_TEXTS = {"options": {text: text for text in (EVIL, *ODD)}, "hardware": HARDWARE | {"processor": EVIL, "gpu": ODD[0]}}


class Page(HTMLParser):
    """Checks that elements nest, and gathers tables as rows of (text, what the page sorts by)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[list[str | None]]]] = []
        self.by_text = False  # the last cell sorts by its text, see page.js
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            found = dict(attrs)
            self.by_text = "data-sort" not in found and (found.get("scope") == "row" or found.get("class") == "text")
            self.tables[-1][-1].append(["", "" if self.by_text else found.get("data-sort")])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "table" in self.open and {"td", "th"} & set(self.open):
            cell = self.tables[-1][-1][-1]
            cell[0] = f"{cell[0]} {data}".strip()
            cell[1] = f"{cell[1]}{data}" if self.by_text else cell[1]


def results() -> list[Result]:
    good, poor = class_score([10, 10, 9, 9]), class_score([5, 5, 5, 5])
    return [
        make_result([good, class_score([8, 8, 8, 8])]),
        make_result([poor], method="majority", options={}),
        make_result([class_score([6, 6, 5, 5])], method="hyperparameters", options={}),
        make_result([good], task="global/dataset"),
        make_result([class_score([10, 10, 9, 9], folds=5)], folds=5),
        make_result([class_score([5] * 4, folds=5)], folds=5, method="majority", options={}),
        make_result([poor], task="global/augmentation/permuted=1", official=False),
        make_result([number_score(0.5)], task="regress/test_accuracy", method="ridge-16"),
        make_result([class_score([1, 2, 3, 4], "random")], "local/augmentation", "mine.py:Mine", **EVIL_TEXTS),
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for result in results():
        result.save(tmp_path / "results")
    return tmp_path / "results"


def test_the_same_results_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for out in ("one", "two"):
        write_board(folder, tmp_path / out)
    for name in ("board.md", "board.html", "board.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_page_stands_alone(folder: Path) -> None:
    write_board(folder, folder)
    text = (folder / "board.html").read_text()
    page = Page(text)
    assert not re.search(r"https?:|//[a-z]|url\(|@import", text.replace(ODD[0], ""))  # a text, no link
    assert {tag for tag, _ in page.tags} & {"link", "img", "iframe", "object", "base"} == set()
    assert [attrs for tag, attrs in page.tags if "src" in attrs or "href" in attrs] == []
    assert [tag for tag, _ in page.tags].count("script") == 1 and "<script>alert" not in text
    assert "a" * 64 in text


def test_the_tables_hold_the_results_numbers(folder: Path) -> None:
    write_board(folder, folder)
    page = Page((folder / "board.html").read_text())
    official, paired = page.tables[:2]
    tasks = ["dataset", "batch_size", "augmentation", "optimizer", "activation"]
    cost = ["parameters", "hardware"]
    assert [cell[0] for cell in official[0]] == ["method", "rank", "win rate", "fit s", *tasks, *cost]
    assert paired[1][0] == ["global/ dataset", "global/dataset"]  # may go on in a new line after the slash
    assert official[1][1] == [f"{NONE} 2 of 5 tasks", None] and official[1][3] == ["1.5 1 min", "1.5"]
    rows = {row[0][0]: [row[4], row[6]] for row in official[1:]}
    assert list(rows) == ["svm-linear-16", "chance", "majority", "hyperparameters", "test trainings"]
    # 38 and 32 of 40 are right: 95 and 80 %, mean 87.5, deviations of 7.5, n - 1 = 1
    assert rows["svm-linear-16"][1][0].startswith("87.5 ± 10.6 [")
    assert rows["svm-linear-16"][1][1] == "0.875"
    assert rows["test trainings"] == [["40", "40"]] * 2 and rows["chance"] == [["50.0", "0.5"]] * 2
    assert rows["majority"][1][0].startswith("50.0 [")  # one seed: no ±
    assert rows["majority"][0] == [NONE, None]  # not run: sorted last
    summary = results()[0].summary["accuracy"]
    assert f"[{100 * summary['low']:.1f}, {100 * summary['high']:.1f}]" in rows["svm-linear-16"][1][0]
    assert all(cell[1] is not None or cell[0].startswith(NONE) for table in page.tables for row in table[1:] for cell in row)
    assert all(len(row) == len(table[0]) for table in page.tables for row in table)
    assert (folder / "board.html").read_text().count('class="best"') == 2  # official and folds: several methods


def test_the_page_can_be_narrowed_to_a_family_or_a_budget(folder: Path) -> None:
    slow = make_result([class_score([7] * 4)], method="logistic-16")
    replace(slow, runs=(replace(slow.runs[0], fit_s=3601.0),)).save(folder)
    write_board(folder, folder)
    text = (folder / "board.html").read_text()
    choices = re.findall(r"<select name=\"(\w+)\">(.*?)</select>", text, re.DOTALL)
    assert {name: re.findall(r"<option>([^<]*)", options) for name, options in choices} == {
        "family": ["global", "local", "regress"],
        "budget": ["1 min", "1 h", "1 day", "over a day"],
    }
    official = text[text.index("<table") : text.index("</table>")]
    rows = re.findall(r"<tr( data-budget=\"[^\"]*\")?><th scope=\"row\"[^>]*>([\w -]+)", official)
    assert {name: budget for budget, name in rows} == {
        "svm-linear-16": ' data-budget="1 min"',
        "logistic-16": ' data-budget="1 day"',
        **dict.fromkeys(("chance", "majority", "hyperparameters", "test trainings"), ""),  # stay whatever is chosen
    }
    assert [attrs["data-family"] for tag, attrs in Page(text).tags if tag == "section"] == [
        "global",
        "local",
        "regress",
        "global",
        "global",
    ]


def test_official_and_unofficial_stand_apart(folder: Path) -> None:
    write_board(folder, folder)
    sections = arrange(results())
    assert [(s.population, s.status, s.family, s.suite and s.suite.label) for s in sections] == [
        ("fixed", "official", "global", "NWS(global, v1)"),
        ("random", "official", "local", "NWS(local, v1)"),
        ("fixed", "official", "regress", None),
        ("fixed", "folds", "global", None),
        ("fixed", "other", "global", None),
    ]
    text = (folder / "board.md").read_text()
    heads = re.findall(r"^#{2,4} .*$", text, re.MULTILINE)
    assert heads[0] == "## Suites" and heads[1].startswith("### NWS(global, v1)")
    assert {"## Official tasks in no suite, population fixed", "## Unofficial: five folds, population fixed"} < {*heads}
    assert EVIL not in text and f"`{EVIL.replace('|', '?')}, 2 cores, {ODD[0]}`" in text


def test_paired_differences_are_means_over_seeds_on_the_same_trainings() -> None:
    section = arrange(results())[0]
    found = differences(section)
    against = found["global/augmentation", "svm-linear-16"]
    right = [1.0] * 8 + [0.5] * 2 + [1.0] * 8 + [0.5] * 2 + ([1.0] * 8 + [0.5] + [0.0]) * 2  # 10, 10, 9, 9 and four 8s
    accuracy = clustered_accuracy([1] * 40, right)
    assert against["chance"] == tuple(value - 0.5 for value in accuracy)
    assert against["chance"].estimate == pytest.approx(0.375)
    assert against["hyperparameters"] == paired_difference([1] * 40, right, class_score([6, 6, 5, 5]).n_right)
    assert set(found["global/augmentation", "majority"]) == {"chance", "hyperparameters"}


def test_methods_that_differ_in_an_option_are_told_apart_by_it() -> None:
    score = class_score([9, 9, 9, 9])
    section = arrange([make_result([score], options={"epochs": n, "rate": 0.1}) for n in (3, 20)])[0]
    assert set(section.methods) == {"svm-linear-16 (epochs=3)", "svm-linear-16 (epochs=20)"}


def test_one_more_file_and_the_same_command_update_the_board(folder: Path) -> None:
    write_board(folder, folder)
    assert "logistic-16" not in (folder / "board.md").read_text()
    make_result([class_score([7, 7, 7, 7])], method="logistic-16").save(folder)
    write_board(folder, folder)
    assert "logistic-16" in (folder / "board.md").read_text()


def test_nothing_is_written_when_a_file_is_refused(folder: Path) -> None:
    write_board(folder, folder)
    before = (folder / "board.html").read_bytes()
    path = next(folder.rglob("majority*.json"))
    content = json.loads(path.read_text())
    content["summary"]["accuracy"]["mean"] = 1.0
    path.write_text(json.dumps(content))
    make_result([class_score([7, 7, 7, 7])], method="logistic-16").save(folder)
    with pytest.raises(ResultError, match=path.name):
        write_board(folder, folder)
    assert (folder / "board.html").read_bytes() == before


def test_charts_draw_every_score_at_its_height(folder: Path) -> None:
    write_board(folder, folder)
    text = (folder / "board.html").read_text()
    svg = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(svg) == 4  # a chart for each table of classes, none of regression; no method is ranked
    bars = re.findall(r"<title>([^<]*): ([\d.]+)[^<]*</title>\s*<rect [^>]*height=\"([\d.]+)\"", svg[0])
    assert {name: (float(score), float(height)) for name, score, height in bars} == {
        "global/dataset, svm-linear-16": (95.0, 237.5),  # of 250 for 100 %
        "global/augmentation, majority": (50.0, 125.0),
        "global/augmentation, hyperparameters": (55.0, 137.5),
        "global/augmentation, svm-linear-16": (87.5, 218.75),
    }
    assert svg[0].count('class="chance"') == 2 and svg[0].count('class="whisker"') == 4


def test_no_result_takes_anothers_place() -> None:
    score = class_score([9, 9, 9, 9])
    for options in (
        [{"depth": None}, {}],
        [{"depth": 1}, {"depth": "1"}],
        [{"depth": 1}, {"depth": 1.0}, {"depth": True}],
        [{"a": "1, b=2", "b": "3"}, {"a": "1", "b": "2, b=3"}],
    ):
        section = arrange([make_result([score], options=o) for o in options])[0]
        assert len(section.methods) == len(section.cells) == len(options)
    assert set(arrange([make_result([score], options=o) for o in ({"depth": None}, {})])[0].methods) == {
        "svm-linear-16 (depth=None)",
        "svm-linear-16 (depth=absent)",
    }


def test_all_right_is_not_certain_and_equal_gains_have_no_interval() -> None:
    good, half = (class_score([n] * 4, "random") for n in (10, 5))
    both = [make_result([good], "local/augmentation"), make_result([half], "local/augmentation", "length", options={})]
    section = arrange(both)[0]
    found = differences(section)["local/augmentation", "svm-linear-16"]
    assert found["chance"].low < found["chance"].estimate == 0.5
    assert difference_text(found["length"]) == "+50.0" and found["length"].low == found["length"].high


def test_folds_with_other_settings_stand_apart() -> None:
    score = class_score([9, 9, 9, 9])
    tasks = ("global/augmentation", "global/augmentation/threshold=0.2", "global/augmentation/permuted=1")
    sections = arrange([make_result([score], task=task, folds=5) for task in tasks])
    assert [(s.status, s.tasks) for s in sections] == [("folds", tasks[:1]), ("other-folds", (tasks[2], tasks[1]))]


def test_a_method_keeps_its_colour_and_a_chart_has_each_once() -> None:
    few, many = (
        ("svm-rbf-16", "boosting-16"),
        ("majority", "dmc", "svm-rbf-16 (c=1)", "svm-rbf-16 (c=2)", "boosting-16", "my:M"),
    )
    assert colour_classes(few)["boosting-16"] == colour_classes(many)["boosting-16"]
    assert colour_classes(few)["svm-rbf-16"] == colour_classes(many)["svm-rbf-16 (c=1)"]
    assert len(set(colour_classes(many).values())) == len(many)
    assert colour_classes(("my:M",)) == {"my:M": colour_classes(("my:M", "majority"))["my:M"]}


def test_markdown_takes_no_text_for_markup() -> None:
    for text in ODD:
        for around in (text, f"a {text}", f"{text}, b"):
            assert re.fullmatch(r"`[^`|\\]*`", plain_markdown(around)), around
    assert plain_markdown("a\nb\x1b\u2028\u202ec|") == "`a b   c?`"
    for text in ("global/dataset/threshold=0.15", "71.4 ± 0.1", "penalty=1.0, on=True", "2026-01-01T00:00:00Z", NONE):
        assert plain_markdown(text) == text
    assert plain_markdown("[x](y)") == "\\[x\\](y)"
    assert plain_markdown("[x](y)") == "\\[x\\](y)"
    assert plain_markdown("max_iter [1.0, 2.0]") == "max\\_iter \\[1.0, 2.0\\]"


def test_methods_stand_in_the_order_of_their_rank_and_trivial_ones_are_never_the_best() -> None:
    scores = {"majority": 9, "svm-rbf-16": 6, "boosting-16": 7, "hyperparameters": 2}
    found = [make_result([class_score([n] * 4)], method=method, options={}) for method, n in scores.items()]
    one_more = make_result([class_score([1] * 4)], task="global/dataset", method="svm-rbf-16", options={})
    section = arrange([*found, one_more])[0]
    assert section.methods == ("svm-rbf-16", "boosting-16", "majority", "hyperparameters")  # the first ran on two tasks
    assert section.trivial == ("majority", "hyperparameters")
    assert not any(cell.best for cell in section.cells.values())
    assert [m for (_, m), cell in arrange(found[1:])[0].cells.items() if cell.best] == ["boosting-16"]
    assert scores_table(arrange(found[:1])[0], ()).rows == ()  # a board of trivial baselines alone


@pytest.mark.parametrize(
    ("right", "score", "seeds"),
    [
        (([9] * 4, [9] * 4, [9] * 4), "90.0", "3, all equal"),
        (([9] * 4, [9] * 4, [8] * 4), "86.7 ± 5.8", "3, 2 differ"),
        (([9] * 4, [8] * 4), "85.0 ± 7.1", "2"),
        (([9, 8, 9, 8], [8, 9, 8, 9]), "85.0 ± 0.0", "2"),  # as many right, on other networks
    ],
)
def test_equal_seeds_are_one_fit(right: tuple[list[int], ...], score: str, seeds: str) -> None:
    result = make_result([class_score(n) for n in right])
    table = runs_table([result], ())
    cells = dict(zip(table.headers, table.rows[0], strict=True))
    assert (cells["score"].text, cells["seeds"].text, cells["computed from"].text) == (score, seeds, "counts")
    assert score in [cell.text for cell in scores_table(arrange([result])[0], ()).rows[0]]
