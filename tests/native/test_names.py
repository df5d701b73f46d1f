"""The same names everywhere: the table of intrinsics, what modules import, what type checkers see, what the reference tells."""

import ast
import re
from pathlib import Path

import gasang.native
from gasang.native import names
from gasang.native.checker import Checker
from gasang.native.intrinsics import INTRINSICS
from gasang.native.names import IntrinsicName

PACKAGE = Path(gasang.native.__path__[0])
REFERENCE = PACKAGE.parents[2] / "docs" / "reference" / "native.md"


def intrinsic_names() -> set[str]:
    return {value.name for value in vars(names).values() if isinstance(value, IntrinsicName)}


def special_forms() -> set[str]:
    return {name.removeprefix("special_") for name in dir(Checker) if name.startswith("special_")}


def test_each_name_is_a_row_or_a_special_form() -> None:
    assert intrinsic_names() == set(INTRINSICS) | special_forms()
    assert not set(INTRINSICS) & special_forms()
    assert all(getattr(names, name).name == name for name in intrinsic_names())
    assert all(row.name == name for name, row in INTRINSICS.items())


def test_all_of_them_are_exported() -> None:
    exported = set(gasang.native.__all__)
    assert intrinsic_names() <= exported
    assert all(hasattr(gasang.native, name) for name in exported)
    public = {
        name for name, value in vars(gasang.native).items() if not name.startswith("_") and getattr(value, "__name__", "") != "annotations"
    }
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    assert public - modules - {"annotations"} == exported - modules


def test_the_stub_agrees() -> None:
    declared: set[str] = set()
    for node in ast.parse((PACKAGE / "__init__.pyi").read_text("utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            declared.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            declared |= {alias.asname for alias in node.names if alias.asname}
        elif isinstance(node, ast.Assign):
            declared |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            declared.add(node.target.id)
    assert {name for name in declared if not name.startswith("_")} == set(gasang.native.__all__)


def test_the_reference_names_each() -> None:
    words = set(re.findall(r"\w+", REFERENCE.read_text("utf-8")))
    assert intrinsic_names() - words == set()
