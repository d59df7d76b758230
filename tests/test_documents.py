"""The documents: links lead somewhere, names exist, and what tables say of code is so. (Their code blocks run as doctests.)"""

import ast
import doctest
import graphlib
import inspect
import pydoc
import re
from pathlib import Path

import pytest

import pynn
import pynn.datasets
import pynn.metrics
import pynn.reference
import pynn.schedules
from pynn import engine, kernels

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "pynn/data/README.md")),
    *sorted((ROOT / "docs").glob("**/*.md")),
]
every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def prose(document):
    """The text without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def imported(nodes):
    """The modules that statements import, those of pynn by their own names."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.removeprefix("pynn.") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.name for alias in node.names} if node.module == "pynn" else {node.module.removeprefix("pynn.")}
    return names


def anchors(document):
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def rows(document, heading):
    """The tables' rows under a heading, as lists of cells."""
    section = document.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|") and not set(line) <= set("|- ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_arrows_between_the_modules_point_one_way_and_one_of_them_touches_cffi():
    trees = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "pynn").glob("*.py")}
    uses = {name: {each for each in imported(tree.body) if each in trees} for name, tree in trees.items()}
    list(graphlib.TopologicalSorter(uses).static_order())  # raises CycleError
    assert (uses["checks"], uses["engine"], uses["kernels"]) == (set(), {"checks"}, {"checks", "engine"})
    assert [name for name, tree in trees.items() if {"_core", "cffi"} & imported(ast.walk(tree))] == ["engine"]


@every_document
def test_links_lead_to_files_and_headings_that_exist(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), f"{target}: no such file"
        if anchor:
            assert anchor in anchors(file), f"{target}: no such heading"


@every_document
def test_files_and_folders_it_names_exist(document):
    for name in re.findall(r"`((?:csrc|pynn|tests|docs|examples|bench)/[\w./]+\.(?:c|h|py|md))`", prose(document)):
        assert (ROOT / name).exists(), name


@every_document
def test_names_of_pynn_that_it_mentions_exist(document):
    for name in re.findall(r"`(pynn(?:\.\w+)+)(?:\([^`]*\))?`", prose(document)):
        if name in ("pynn.ReLU6", "pynn.SquaredHinge"):  # what CONTRIBUTING.md adds
            continue
        value = pynn
        for part in name.split(".")[1:]:
            assert hasattr(value, part), name
            value = getattr(value, part)


def test_the_readme_names_all_that_is_public():
    listed = set(re.findall(r"`pynn\.(\w+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    modules = {"costs", "layers", "network", "optimizers", "rows", "training"}  # whose contents are listed instead
    assert set(pynn.__all__) - modules - {"Activation"} <= listed


def test_the_readme_names_the_environment_variables_that_are_read():
    read = set(re.findall(r"PYNN_(?:INSTRUCTION_SET|NUM_THREADS|[A-Z_]+)(?=\"\))", (ROOT / "pynn/engine.py").read_text("utf-8")))
    listed = {re.search(r"PYNN_\w+", row[0])[0] for row in rows(ROOT / "README.md", "The public face") if "PYNN_" in row[0]}
    assert listed == read == {"PYNN_INSTRUCTION_SET", "PYNN_NUM_THREADS"}


def defines(source, kernel):
    """Whether C has a function of that name; those of the lists are defined by ACTIVATION(relu), COST(mse) or OPTIMIZER(adam)."""
    kind, _, name = kernel.partition("_")
    of_a_list = {"act": "ACTIVATION", "cost": "COST", "optimizer": "OPTIMIZER"}.get(kind)
    pattern = rf"^[^#\n/]*\b(?:F\({kernel}\)|{kernel})\(" + (rf"|^{of_a_list}\({name}\)" if of_a_list else "")
    return bool(re.search(pattern, source, re.MULTILINE))


EQUATION = re.compile(r"\s:?[=~]\s")
SECTION = r"Forward Pass|Activation Layers|Cost Function|Backpropagation \d|Gradient Descent"
SOURCE = re.compile(rf"\([^()]*\b[12]\d{{3}}\b[^()]*\)|\((?:{SECTION})\)")
ON_THEIR_OWN = {  # without an equation that somebody found
    "Layer", "Schedule",  # what others derive from
    "Constant", "constant", "zeros",  # equations that say what the name says
    "compiler", "get_num_threads", "instruction_set", "instruction_sets", "set_num_threads", "weight_in_c_order",  # none
}  # fmt: skip
PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in (
        *(pynn.layers, pynn.rows, pynn.costs, pynn.optimizers),
        *(pynn.schedules, pynn.initializers, pynn.metrics, pynn.kernels),
    )
    for name in module.__all__
    if callable(getattr(module, name))
}


@pytest.mark.parametrize("name", PUBLIC)
def test_help_has_the_equation_the_source_and_an_example_that_runs(name):
    thing, short = PUBLIC[name], name.split(".")[-1]
    shown = pydoc.render_doc(thing, renderer=pydoc.plaintext)
    text, _, example = inspect.getdoc(thing).partition(">>> ")
    assert all(line.strip() in shown for line in text.splitlines())
    assert example
    if short not in ON_THEIR_OWN:
        derived = name.startswith("pynn.kernels.") and short.endswith("_gradient")  # in docs/mathematics.md, as pynn.kernels says
        assert EQUATION.search(text)
        assert SOURCE.search(text) or derived
    failures, _ = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(
        doctest.DocTestParser().get_doctest(thing.__doc__, vars(inspect.getmodule(thing)).copy(), name, None, None)
    )
    assert not failures


@pytest.mark.parametrize("row", [*kernels.ACTIVATIONS.values(), *kernels.COSTS.values()], ids=lambda row: row.class_name)
def test_help_of_a_class_of_the_lists_has_both_formulas_and_the_source(row):
    shown = pydoc.render_doc(getattr(pynn, row.class_name), renderer=pydoc.plaintext)
    assert f"= {row.formula}\n" in shown
    assert f"= {row.derivative}\n" in shown
    assert re.search(r"[A-Z]\w+.*, [12]\d{3}", row.source)
    assert f"({row.source})" in shown


def test_every_activation_has_its_equation_and_its_source():
    table = rows(ROOT / "docs" / "mathematics.md", "3. Activation layers")[1:]
    listed = [(f"`{row.class_name}`", row.source) for row in kernels.ACTIVATIONS.values()]
    assert [(name, source) for name, _, source in table] == listed
    assert all("$" in function for _, function, _ in table)


def test_every_cost_and_optimizer_has_its_equation_its_source_and_its_kernel():
    for heading, kind, listed, classes in (
        ("4. Cost", "cost", kernels.COSTS, {row.class_name for row in kernels.COSTS.values()}),
        ("7. Gradient descent", "optimizer", engine.OPTIMIZERS, set(pynn.optimizers.__all__) - {"Optimizer"}),
    ):
        table = rows(ROOT / "docs" / "mathematics.md", heading)[1:]
        assert {name for row in table for name in re.findall(r"`([A-Z]\w+)`", row[0])} == classes
        words = [row[-1].strip("`") for row in table]
        assert words == [f"{kind}_{name}" for name in listed]
        source = (ROOT / f"csrc/kernels/{kind}s.h").read_text(encoding="utf-8")
        assert all(defines(source, word) for word in words)
        for names, sources in ((row[0], row[-2]) for row in table):
            documented = " ".join(" ".join(getattr(pynn, name).__doc__ for name in re.findall(r"`([A-Z]\w+)`", names)).split())
            assert all(source in documented for source in sources.split("; ")), names
            assert re.search(r"\d{4}", sources)


def test_every_equation_has_its_function_its_kernel_and_its_test():
    document = ROOT / "docs" / "mathematics.md"
    tests = (ROOT / "tests" / "test_mathematics.py").read_text(encoding="utf-8")
    table = rows(document, "Equation, function, kernel, test")[1:]
    numbered = re.findall(r"\\tag\{(\d+)\}", document.read_text(encoding="utf-8"))
    assert [row[0] for row in table][:-1] == [f"({n})" for n in numbered[:16]]
    assert (table[-1][0], numbered[16:]) == ("(17) to (21)", ["17", "18", "19", "20", "21"])
    for number, _, function, kernel, test in table:
        if function.startswith("`"):
            assert hasattr(kernels, function.strip("`")), number
            assert hasattr(pynn.reference, function.strip("`")), number
        words = re.findall(r"`([^`]+)`", kernel)
        files = [word for word in words if "/" in word]
        for word in set(words) - set(files):
            sources = [(ROOT / file).read_text(encoding="utf-8") for file in files]
            assert any(defines(source, word) for source in sources), word
        assert f"def {test.strip('`')}(" in tests, number
    for number in numbered:
        assert re.search(rf'"""Equations? .*\({number}\)', tests) or int(number) in range(17, 22), number


def test_every_layer_on_rows_has_its_function_its_kernel_and_its_test():
    tests = (ROOT / "tests" / "test_rows.py").read_text(encoding="utf-8")
    table = rows(ROOT / "docs" / "mathematics.md", "9. Layers that work on rows")[1:]
    assert len(table) == 9
    for _, function, kernel, test in table:
        assert hasattr(kernels, function.strip("`"))
        assert hasattr(pynn.reference, function.strip("`"))
        word, file = re.findall(r"`([^`]+)`", kernel)
        assert re.search(rf"^static void {word}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), word
        assert f"def {test.strip('`')}(" in tests


def test_the_demonstration_is_the_one_the_readme_describes():
    from pynn import demo

    trained = demo.train(epochs=1)
    described = ", ".join(f"`{layer!r}`" for layer in trained.network.layers)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert described in readme
    assert f"{len(pynn.datasets.load_digits().x):,} images" in readme


def test_the_change_log_has_this_version():
    assert f"\n## {pynn.__version__}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_make_knows_the_targets_that_documents_name():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for document in DOCUMENTS:
        named = set(re.findall(r"(?:^|`)make (\w+)", document.read_text(encoding="utf-8"), re.MULTILINE))
        assert named <= targets, document
