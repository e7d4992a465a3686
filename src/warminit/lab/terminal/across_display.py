"""results over many settings -> a table and one sentence per arm, on a terminal."""

from rich.console import Console

from warminit.lab.terminal.display import new_table, say
from warminit.lab.verdict.settings import EXPLANATION, HEADINGS, Settings, sentences, texts


def print_across(settings: Settings, console: Console) -> None:
    """Print the table, one sentence per arm, and an explanation."""
    unit = f", {settings.unit}" if settings.unit else ""
    shown = {
        "arm": "arm",
        "settings": "settings",
        "gain": f"gain{unit}",
        "beats the baseline": "beats\nbaseline",
        "better": "better",
        "worse": "worse",
        "failed": "failed",
    }
    title = f"{settings.metric.replace('_', ' ')} over all settings"
    table = new_table(title, *((text, name != "arm") for name, text in shown.items()))
    for row in texts(settings):
        cell = dict(zip(HEADINGS, row, strict=True))
        cell["gain"] = f"{cell['gain']}\n{cell['interval']}"
        cell["beats the baseline"] = f"{cell['beats the baseline']}\n{cell['its interval']}"
        table.add_row(*(cell[name] for name in shown))
    console.print(table)
    say(console, *(f"- {sentence}" for sentence in sentences(settings)))
    say(console, EXPLANATION)
