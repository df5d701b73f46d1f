"""Compile and link: LLVM IR to an object (or the cached object), and the object into this process.

LLVM is loaded only where there is something to compile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gasang.native.cache import ObjectCache, key_of
from gasang.native.loading import Built, LinkError, link, lock, target_machine, unresolved
from gasang.native.target import compiler_identity, level, machine

if TYPE_CHECKING:
    from gasang.native.function import NativeFunction


def build(
    roots: list[NativeFunction],
    tables: dict[str, list[NativeFunction]] | None = None,
    *,
    optimise: int = 2,
    cache: ObjectCache | None = None,
) -> Built:
    """Compile and link functions; the key of the cache is the text LLVM would be given."""
    from gasang.native.llvm import ModuleEmitter

    module = ModuleEmitter(roots, tables)
    text = module.emit()
    sizes = {name: len(functions) for name, functions in module.tables.items()}
    return link(load_or_compile(key_of(text), lambda: text, optimise, cache), len(roots), sizes)


def object_key(content: str, optimise: int) -> str:
    """The key of an object made of `content` (a key of its own) for this host."""
    return key_of(content, compiler_identity(), machine(), *level(), str(optimise))


def load_or_compile(text_key: str, text: Callable[[], str], optimise: int, cache: ObjectCache | None = None) -> bytes:
    """The object of a module's text, from the cache if it is there and sound."""
    cache = cache or ObjectCache()
    key = object_key(text_key, optimise)
    found = cache.load(key)
    if found is not None and not unresolved(found):
        return found
    compiled = compile_object(text(), optimise)
    cache.store(key, compiled)
    return compiled


def compile_object(text: str, optimise: int) -> bytes:
    """Machine code for a module's text, with our 128-bit operations added where LLVM calls them. Raises LinkError for other calls."""
    from gasang.native.builtins import BUILTINS, OPERATIONS
    from gasang.native.llvm import ModuleEmitter

    helpers = {name for operation, name in OPERATIONS.items() if operation in text}
    while True:
        added = ModuleEmitter([], {"builtins": [BUILTINS[name] for name in sorted(helpers)]}).emit()
        compiled = emit_object([text, added] if helpers else [text], optimise)
        missing = unresolved(compiled)
        if not missing:
            return compiled
        if not missing <= set(BUILTINS) - helpers:
            raise LinkError(missing)
        helpers |= missing  # LLVM has found a wide division where the text has none


def spend_less() -> None:
    """Have this process's code generator spend less on what to keep in registers: half of its time, for code that is not the hottest."""
    import llvmlite.binding as llvm

    with lock:
        llvm.set_option("", "-regalloc=basic")


def emit_object(texts: list[str], optimise: int, target: Any = None, *, few_passes: bool = False) -> bytes:
    """One object of several modules' texts, by the host's code generator or another; with `few_passes` only those that are needed most."""
    import llvmlite.binding as llvm

    with lock:
        target = target or target_machine(optimise)
        module = llvm.parse_assembly(texts[0])
        for text in texts[1:]:
            module.link_in(llvm.parse_assembly(text))
        module.verify()
        # A pass manager serves one module: using one for two ends the process.
        tuning = llvm.create_pipeline_tuning_options(speed_level=optimise)
        builder = llvm.create_pass_builder(target, tuning)
        (_few_passes(llvm) if few_passes else builder.getModulePassManager()).run(module, builder)
        return bytes(target.emit_object(module))


def _few_passes(llvm: Any) -> Any:
    """Values out of memory, what can be said with less, and no more blocks than are needed: a fifth of the time that -O1 takes."""
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    return passes
