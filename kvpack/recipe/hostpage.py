"""What a recipe says of the machines that its wheels run on, as Markdown. Pure."""

from collections.abc import Iterator

from kvpack.recipe.host import HostStack
from kvpack.recipe.markdown import code, codes, plain, table, url
from kvpack.recipe.model import Recipe


def on_hosts(recipe: Recipe) -> Iterator[str]:
    """The part of a recipe's page about hosts; nothing where the recipe says nothing."""
    parts = (_environment(recipe), _requirements(recipe), *map(_stack, *_stacks(recipe)))
    for number, lines in enumerate(part for part in map(list, parts) if part):
        yield from ([""] if number else [])
        yield from lines


def _environment(recipe: Recipe) -> Iterator[str]:
    rows = []
    for name, variable in sorted(recipe.runtime.environment.items()):
        limits = [*([code(variable.when)] if variable.when else ()), *(variable.accelerator or ())]
        rows.append(
            (code(f"{name}={variable.value}"), ", ".join(limits) or "all", plain(variable.why))
        )
    yield from table(("set where it runs", "for", "why"), rows)


def _requirements(recipe: Recipe) -> Iterator[str]:
    yield from table(
        ("requirements", "which", "for"),
        (
            (code(name), codes(group.requires), plain(group.summary))
            for name, group in sorted(recipe.requirements.items())
        ),
    )


def _stacks(recipe: Recipe) -> tuple[list[str], list[HostStack]]:
    names = sorted(recipe.host)
    return names, [recipe.host[name] for name in names]


def _stack(name: str, stack: HostStack) -> Iterator[str]:
    channel = f", channel {code(stack.channel)}" if stack.channel else ""
    yield (
        f"{code(name)}: {plain(stack.summary)}. {codes(stack.packages)} from "
        f"[{plain(stack.repository.partition('://')[2])}]({url(stack.repository)}) "
        f"{code(stack.suite)}{channel}."
    )
    yield from ("", *(f"- {plain(note)}" for note in stack.notes))
    rows = [
        (
            code(one.channel),
            code(one.libraries) if one.libraries else "not known",
            codes(one.dkms) or "not known",
            "not known" if one.abi is None else str(one.abi),
            plain(one.source),
        )
        for one in stack.channels
    ]
    if rows:
        yield ""
        yield from table(("channel", "libraries", "kernel module", "ABI", "from"), rows)
