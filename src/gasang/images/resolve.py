"""Which packages a system needs: the closure of what is asked for over Pre-Depends and Depends.

Debian's archive is consistent, so a greedy walk suffices (debootstrap and apt begin the same way): of a clause's alternatives take one that
is already chosen, else the first that the archive can meet, a real package before one that provides the name. What was chosen is then
checked for conflicts. Recommends and Suggests are left out on purpose: an image is as small as Debian allows.
"""

from __future__ import annotations

from collections.abc import Iterable

from gasang.core.errors import BadInputError, NotFoundError
from gasang.images.packages import Clause, Index, Package, Relation
from gasang.images.versions import satisfies

_HINT = "pull again later, or use another mirror"


def resolve(index: Index, wanted: Iterable[str]) -> list[Package]:
    """The wanted packages and all they need, each after its dependencies where these form no circle.

    Raise NotFoundError where the archive lacks one, BadInputError where chosen packages exclude each other.
    """
    chosen = _Chosen(index)
    for name in wanted:
        chosen.require((Relation(name),), "the image")
    while chosen.pending:
        package = chosen.pending.pop(0)
        for clause in package.depends:
            chosen.require(clause, f"package {package.name}")
    chosen.check_conflicts()
    return _ordered(chosen)


class _Chosen:
    def __init__(self, index: Index) -> None:
        self.index = index
        self.packages: dict[str, Package] = {}
        self.pending: list[Package] = []
        self._provided: dict[str, list[tuple[Package, str]]] = {}

    def require(self, clause: Clause, who: str) -> None:
        """Choose a package for the clause, unless a chosen one meets it."""
        if self.meeting(clause) is not None:
            return
        package = next((found for relation in clause if (found := self._candidate(relation)) is not None), None)
        if package is None:
            text = " | ".join(str(relation) for relation in clause)
            raise NotFoundError(f"package {text}", f"{who} needs it, and the archive has none such", _HINT)
        self.packages[package.name] = package
        self.pending.append(package)
        for name in package.provides:
            self._provided.setdefault(name.name, []).append((package, name.version))

    def meeting(self, clause: Clause) -> Package | None:
        """The chosen package that meets the clause."""
        return next((found for relation in clause for found in self.all_meeting(relation)), None)

    def all_meeting(self, relation: Relation) -> list[Package]:
        """The chosen packages that meet one relation, by name or by what they provide."""
        package = self.packages.get(relation.name)
        met = [package] if package is not None and _fits(relation, package.version) else []
        return met + [provider for provider, version in self._provided.get(relation.name, ()) if _fits_provided(relation, version)]

    def _candidate(self, relation: Relation) -> Package | None:
        package = self.index.get(relation.name)
        if package is not None and _fits(relation, package.version):
            return package
        for provider in self.index.providers(relation.name):
            if any(_fits_provided(relation, name.version) for name in provider.provides if name.name == relation.name):
                return provider
        return None

    def check_conflicts(self) -> None:
        """Raise BadInputError where one chosen package excludes another; itself it may exclude (Policy 7.4)."""
        for package in self.packages.values():
            for field in ("conflicts", "breaks"):
                for clause in package.relations(field):
                    other = next((found for found in self.all_meeting(clause[0]) if found is not package), None)
                    if other is not None:
                        raise BadInputError(f"package {package.name}", f"it cannot be installed beside {other.name}", _HINT)


def _fits(relation: Relation, version: str) -> bool:
    return not relation.relation or satisfies(version, relation.relation, relation.version)


def _fits_provided(relation: Relation, version: str) -> bool:
    """A name provided without a version meets no versioned relation (Policy 7.5)."""
    return not relation.relation or (bool(version) and satisfies(version, relation.relation, relation.version))


def _ordered(chosen: _Chosen) -> list[Package]:
    """Dependencies first, names in order; a circle is cut where it is met."""
    order: dict[str, Package] = {}
    entered: set[str] = set()
    pending = [(package, False) for package in sorted(chosen.packages.values(), key=lambda package: package.name, reverse=True)]
    while pending:
        package, ready = pending.pop()
        if ready:
            order.setdefault(package.name, package)
        elif package.name not in entered:
            entered.add(package.name)
            pending.append((package, True))
            needs = (chosen.meeting(clause) for clause in reversed(package.depends))
            pending += [(need, False) for need in needs if need is not None]
    return list(order.values())
