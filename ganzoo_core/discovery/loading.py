"""Import the picked parts, check their hooks and call them; turn their failures into plain errors.

One slot, one manager: for each slot (generator, discriminator, loss, schedule, data) a fresh pluggy manager holds
the picked part and then the picked modifiers, the first innermost. A guard after each names the plugin at fault.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Generator, Iterable, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import pluggy

from ganzoo_core import hookspecs
from ganzoo_core.discovery.manifest import Part, advise_upgrade, find_core_version
from ganzoo_core.errors import GanzooError, PluginError
from ganzoo_core.hookspecs import hookimpl

_REQUIRED_HOOKS = {
    "models": ("build_generator", "build_discriminator"),
    "losses": ("loss",),
    "schedules": ("schedule",),
    "datasets": ("dataset",),
    "extractors": ("extractor",),
    "metrics": ("metric",),
}
_FORBIDDEN_OPTIONS = ("tryfirst", "trylast", "specname", "hookwrapper")


def call_hook(
    hook: str,
    part: Part,
    check: Callable[[Any], str],
    *,
    wrappers: Sequence[Part] = (),
    replacement: Any = None,
    **arguments: Any,
) -> Any:
    """Call a part's hook, with modifiers around it.

    Args:
        hook: `build_generator`, `loss`, `dataset`, …; see `hookspecs`.
        part: the part that implements the hook.
        check: describes what is wrong with a result, "" for nothing; applied to the part's result and each modifier's.
        wrappers: modifiers, the first innermost; those without this hook are skipped.
        replacement: an object passed from Python that is used instead of the part's result.
        arguments: the hook's arguments.

    Raises:
        PluginError: if a part cannot be imported, breaks the contract, raises or returns something else.
    """
    manager = pluggy.PluginManager("ganzoo")
    manager.add_hookspecs(hookspecs)
    plugins: list[tuple[Part, Any]] = [
        (part, import_hooks(part) if replacement is None else _make_plugin(hook, lambda: replacement)),
        *((modifier, module) for modifier in wrappers if hasattr(module := import_hooks(modifier), hook)),
    ]
    for owner, plugin in plugins:
        register(manager, owner, plugin)
        manager.register(_make_guard(hook, owner, check))
    try:
        with stdout_to_stderr():
            return getattr(manager.hook, hook)(**arguments)
    except (GanzooError, KeyboardInterrupt):
        raise
    except BaseException as error:  # pluggy's error for a second yield does not go through the guards
        message = str(error)
        owner = next((owner for owner, plugin in plugins if str(getattr(plugin, "__file__", part)) in message), part)
        raise make_plugin_error(owner, f"{hook} raised", error) from error


def import_hooks(part: Part) -> ModuleType:
    """Import a part's hooks module and check what it declares; raises PluginError."""
    try:
        with stdout_to_stderr():
            module = importlib.import_module(part.hooks)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit at import is a plugin's failure and must not end the program
        if isinstance(error, GanzooError):
            raise
        raise make_plugin_error(part, f"importing {part.hooks} raised", error) from error
    _check_module(part, module)
    return module


def stdout_to_stderr() -> contextlib.AbstractContextManager[Any]:
    """Redirect a plugin's prints to stderr, since stdout is for the command's own output, which may be JSON."""
    return contextlib.redirect_stdout(sys.stderr)


def make_plugin_error(part: Part, action: str, error: BaseException) -> PluginError:
    """Make the error for an exception raised in a plugin."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if part.location in frame.filename]
    source_line = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames and part.location else ""
    missing = (error.name or "").split(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if missing and missing != part.package:
        advice = f"it needs {missing}, which is not installed: pip install {part.distribution} brings what it declares"
    else:
        advice = f"upgrade it (pip install -U {part.distribution}) or tell its author, and go on without it"
    return PluginError(f"{part.label}: {action} {_describe_error(error)}{source_line}; {advice}")


def _describe_error(error: BaseException) -> str:
    """An exception's type and message on one line."""
    try:
        message = " ".join(str(error).split())
    except (Exception, SystemExit):  # the exception's own class may be broken as well
        message = "(its message cannot be printed)"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _check_module(part: Part, module: ModuleType) -> None:
    def broken(reason: str, advice: str = "its author must mend it") -> PluginError:
        return PluginError(f"{part.label}: {part.hooks} {reason}; {advice}")

    def unknown(reason: str, name: str, known: Iterable[str]) -> PluginError:
        lacks = f"which ganzoo-core {find_core_version()} does not have (it has {', '.join(known)})"
        return broken(f"{reason}, {lacks}", advise_upgrade(name, known))

    known = {name for name, spec in vars(hookspecs).items() if hasattr(spec, "ganzoo_spec")}
    # Only functions: a module may hold lazy objects that import something or have every attribute.
    functions = {name: value for name, value in vars(module).items() if inspect.isroutine(value)}
    marked = {name: value.ganzoo_impl for name, value in functions.items() if hasattr(value, "ganzoo_impl")}
    for name, options in marked.items():
        if name not in known:
            raise unknown(f"implements the hook {name!r}", name, sorted(known))
        for option in _FORBIDDEN_OPTIONS:
            if options.get(option):
                raise broken(f"marks {name} with {option}; the order is the user's")
        wrong = _find_wrong_argument(functions[name])
        if wrong:
            raise broken(f"gives {name} {wrong}")
        arguments = inspect.signature(getattr(hookspecs, name)).parameters
        for argument in _list_arguments(functions[name]):
            if argument.name not in arguments:
                raise unknown(f"asks {name} for the argument {argument.name!r}", argument.name, arguments)
        if (part.kind == "modifiers") is not bool(options.get("wrapper")):
            expected = "@gz.hookimpl(wrapper=True)" if part.kind == "modifiers" else "@gz.hookimpl"
            raise broken(f"marks {name} otherwise than {expected}, which {part.kind} need")
    if part.kind == "modifiers" and not marked:
        raise broken("wraps no hook; mark a function with @gz.hookimpl(wrapper=True)")
    if part.kind == "trackers" and not any(name.startswith("on_") for name in marked):
        raise broken("watches nothing; mark a function such as on_report with @gz.hookimpl")
    for name in _REQUIRED_HOOKS.get(part.kind, ()):
        if name not in marked:
            nearest = difflib.get_close_matches(name, set(functions) - set(marked), n=1)
            if name in functions:
                raise broken(f"defines {name} without @gz.hookimpl")
            hint = f"; is {nearest[0]}, which lacks @gz.hookimpl too, meant to be it?" if nearest else ""
            raise broken(f"has no hook {name}{hint}")


def _list_arguments(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # compiled functions may have no signature
        return []


def _find_wrong_argument(function: Callable[..., Any]) -> str:
    """Describe the first argument that would never be filled; "" for none."""
    for parameter in _list_arguments(function):
        if parameter.default is not parameter.empty:
            return f"the argument {parameter.name!r} a default, so it would never be filled"
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            return f"the argument {str(parameter)!r}, which would never be filled; expected plain names"
    return ""


def register(manager: pluggy.PluginManager, part: Part, plugin: Any) -> None:
    """Add a plugin to a slot's manager; raises PluginError for hooks that pluggy refuses."""
    try:
        manager.register(plugin)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(f"{part.label}: {' '.join(str(error).split())}; its author must mend it") from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # pluggy reads every attribute of the module, which may raise
        raise make_plugin_error(part, f"registering {part.hooks} raised", error) from error


def _make_plugin(hook: str, implementation: Callable[[], Any], *, wrapper: bool = False) -> SimpleNamespace:
    """A plugin of this process with one hook."""
    return SimpleNamespace(**{hook: hookimpl(wrapper=wrapper)(implementation)})


def _make_guard(hook: str, part: Part, check: Callable[[Any], str]) -> SimpleNamespace:
    """A wrapper around one plugin that checks its result and attributes its errors to it."""

    def watch() -> Generator[None, Any, Any]:
        try:
            answer = yield
        except (GanzooError, KeyboardInterrupt, GeneratorExit):  # GeneratorExit: this generator is being closed
            raise
        except BaseException as error:  # also SystemExit: sys.exit in a hook must not end a run silently
            raise make_plugin_error(part, f"{hook} raised", error) from error
        if answer is None:
            extra = "; a modifier must return the result of its yield" if part.kind == "modifiers" else ""
            raise PluginError(f"{part.label}: {hook} returned nothing{extra}; its author must mend it")
        try:
            wrong = check(answer)
        except (GanzooError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise make_plugin_error(part, f"what {hook} returned raised", error) from error
        if wrong:
            raise PluginError(f"{part.label}: {hook} returned {wrong}; its author must mend it")
        return answer

    return _make_plugin(hook, watch, wrapper=True)
