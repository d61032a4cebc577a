"""The budget view as one self-contained HTML page: caps, what is spent and left, and a plot over time."""

from __future__ import annotations

from datetime import datetime
from html import escape
from pathlib import Path

from privsynth.errors import StorageError
from privsynth.ledger.accounts import Account, Books, Purchase
from privsynth.validate import page as html
from privsynth.validate import svg

WHAT = (
    "A budget is for ever: what was learnt about a person adds up, and no period gives it back.",
    "The line of a population is the guarantee: everything ever released about its people, taken together. Lines of "
    "recipients are limits of the policy: recipients may share what they hold. What is left of one is never more than "
    "what her population has left.",
    "Shares are of the filter, the rule that adds up holds: it is spent when a hold is bought, whatever becomes of it.",
    "Nothing here was computed from a record; attempts and refusals at the gate are not shown.",
)
PLAN = "A plan is several holds that were sold together, all or none. What is not used stays spent."
PLAN_HEADS = ("plan", "sold (UTC)", "holds", "used", "waiting")
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 760.0, 220.0, 44.0, 12.0, 26.0
_SHOWN = 50


def budget_page(books: Books, *, policy: str) -> str:
    """The page as text.

    Args:
        books: as ``ledger.accounts`` gives them.
        policy: id and version, for the head.
    """
    parts = [f"<h1>Budgets of {escape(policy)}</h1>", html.items(WHAT)]
    heads = ("budget of", "name", "cap", "holds", "spent", "of it held", "left", "what the rest buys")
    rows = [
        (
            a.over,
            a.name,
            f"ε = {a.epsilon:g}, δ = {a.delta:g}",
            str(len(a.purchases)),
            f"{a.spent:.1%}",
            f"{a.held:.1%}",
            f"{a.left:.1%}",
            a.words,
        )
        for a in books.lines
    ]
    parts.append(html.table(heads, rows, numbers={3, 4, 5, 6}))
    if books.plans:
        parts += ["<h2>Plans</h2>", html.items([PLAN]), html.table(PLAN_HEADS, plan_rows(books), numbers={2, 3, 4})]
    for account in books.lines:
        if account.purchases:
            parts += _account(account)
    return html.document(f"Budgets of {policy}", parts)


def plan_rows(books: Books) -> list[tuple[str, ...]]:
    """The rows under ``PLAN_HEADS``, as text."""
    rows = [(p.title, p.time, len(p.requests), p.used, p.waiting) for p in books.plans]
    return [(title, time[:16].replace("T", " "), *map(str, counts)) for title, time, *counts in rows]


def write_budget_page(path: Path, books: Books, *, policy: str) -> None:
    """Write the page, readable by its owner alone.

    Raises:
        StorageError: something else lies there, or it cannot be written.
    """
    if path.exists() and not (path.is_file() and path.read_bytes()[:2000].find(b"<title>Budgets of ") >= 0):
        raise StorageError("something else lies there", where=str(path), mend="name another file")
    html.write(path, budget_page(books, policy=policy), what="the page of budgets")


def _account(account: Account) -> list[str]:
    title = f"{account.over} {account.name}"
    shares = [(source, f"{share:.1%}") for source, share in account.by_source.items()]
    last = account.purchases[-_SHOWN:]
    rows = [
        (
            p.time[:16].replace("T", " "),
            p.source,
            p.recipient,
            p.purpose,
            f"{p.epsilon:g}",
            f"{p.delta:g}",
            f"{p.spent:.1%}",
        )
        for p in reversed(last)
    ]
    told = (
        f"the last {len(last)} of {len(account.purchases)} holds" if len(account.purchases) > _SHOWN else "every hold"
    )
    return [
        f"<h2>{escape(title)}</h2>",
        _plot(account),
        html.table(("source", "spent"), shares, numbers={1}),
        f"<p><small>{escape(told)}, the newest first</small></p>",
        html.table(
            ("bought (UTC)", "source", "recipient", "purpose", "ε", "δ", "spent after"), rows, numbers={4, 5, 6}
        ),
    ]


def _plot(account: Account) -> str:
    """Spent share over time: a step at each hold."""
    times = [datetime.fromisoformat(p.time).timestamp() for p in account.purchases]
    first, span = times[0], max(times[-1] - times[0], 1.0)
    wide, high = _WIDTH - _LEFT - 10, _HEIGHT - _TOP - _BOTTOM

    def x(time: float) -> float:
        return _LEFT + wide * (0.05 + 0.9 * (time - first) / span)

    def y(share: float) -> float:
        return _TOP + high * (1 - min(share, 1.0))

    points, before = [(_LEFT, y(0.0))], 0.0
    for time, purchase in zip(times, account.purchases, strict=True):
        points += [(x(time), y(before)), (x(time), y(purchase.spent))]
        before = purchase.spent
    points.append((_LEFT + wide, y(before)))
    marks = [svg.line(_LEFT, y(s), _LEFT + wide, y(s), svg.GRID) for s in (0.0, 0.25, 0.5, 0.75)]
    marks += [svg.text(_LEFT - 6, y(s) + 4, f"{s:.0%}", "end") for s in (0.0, 0.25, 0.5, 0.75, 1.0)]
    marks.append(svg.line(_LEFT, y(1.0), _LEFT + wide, y(1.0), svg.ORANGE, 1.6, "6 4", "the cap, for ever"))
    marks.append(svg.path(points, svg.BLUE, ""))
    marks += [
        svg.bar(x(t) - 3, y(p.spent) - 3, 6, 6, svg.BLUE, _told(p))
        for t, p in zip(times, account.purchases, strict=True)
    ]
    marks.append(svg.text(x(times[0]), _HEIGHT - 8, account.purchases[0].time[:10], "middle"))
    if times[-1] > times[0]:
        marks.append(svg.text(x(times[-1]), _HEIGHT - 8, account.purchases[-1].time[:10], "middle"))
    return svg.drawing(_WIDTH, _HEIGHT, f"share of the budget of {account.name} spent over time", marks)


def _told(purchase: Purchase) -> str:
    return (
        f"{purchase.time[:16]}: {purchase.source} for {purchase.recipient}, ε = {purchase.epsilon:g}; "
        f"{purchase.spent:.1%} spent after it"
    )
