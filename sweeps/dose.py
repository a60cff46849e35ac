"""How a difference grows along an axis: the curve, the safe range, interactions, the exchange rate.

The axis is usually mono_ratio (share of monolingual batches), its reference 1.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hybrid.errors import BadInput
from sweeps.crossed import Crossed, Estimate, Floats, combine, estimate
from sweeps.families import simultaneous_level
from sweeps.macro import Aim, contrast
from sweeps.pairing import Refused, Scores


@dataclass(frozen=True)
class Point:
    """One arm on the axis. `lower`, `upper`: simultaneous band over the points of the curve, in the
    measure's unit. `tested`: verdict of the fixed sequence, "not reached" after its first failure."""

    x: float
    arm: str
    difference: float | None
    lower: float | None
    upper: float | None
    tested: str
    note: str = ""


@dataclass(frozen=True)
class DoseResponse:
    """A curve of differences to the arm at `reference`, points in the order tested: descending x, or
    ascending where `upwards`.

    `safe_to`: the last x of the unbroken run of non-inferior arms from the reference on (the reference
    itself if the first step fails); `level` bounds the chance that any x in it is in truth below the
    margin. `crossing`: where the curve, linear between points, falls through −margin, as estimate, by
    the lower and by the upper edge of the band; None where it does not in the range.
    """

    aim: Aim
    reference: float
    margin: float
    level: float
    points: tuple[Point, ...]
    safe_to: float
    stopped: str
    crossing: tuple[float | None, float | None, float | None]


@dataclass(frozen=True)
class Interaction:
    """How much the effect of `x` differs between `z` and the first z; bounds simultaneous over all."""

    x: float
    z: float | str
    difference: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Exchange:
    """Points gained per point lost, with Fieller's set; None, with the reason, where it has no meaning."""

    rate: float | None
    lower: float | None
    upper: float | None
    note: str = ""


def dose_response(
    scores: Scores,
    arms: Mapping[float, str],
    aim: Aim,
    *,
    margin: float,
    reference: float = 1.0,
    level: float = 0.05,
    sequences: int = 1,
    upwards: bool = False,
    fewest_seeds: int = 2,
    resamples: int = 10_000,
) -> DoseResponse:
    """The curve over `arms` (x → arm) and the range tested from the reference downwards, or `upwards`.

    Fixed-sequence testing (Maurer, Hothorn & Lehmacher 1995): each arm is tested at the full level, in
    order, until one fails. With several sequences in one sweep (backbones, batch sizes) each gets
    `level`/`sequences`, so that the level holds for all of them together. The band is two-sided, each
    side at `level`, over the points of this curve. Points with fewer than `fewest_seeds` seeds keep their
    band and end the sequence.
    """
    if reference not in arms:
        raise BadInput(f"no arm stands at the reference {reference:g}; there are: {sorted(arms)}")
    share = level / sequences
    direction = 1 if upwards else -1
    others = sorted((x for x in arms if x != reference), key=lambda x: direction * x)
    made: dict[float, tuple[Crossed, Estimate]] = {}
    reasons: dict[float, str] = {}
    for x in others:
        try:
            part = contrast(scores, {arms[x]: 1.0, arms[reference]: -1.0}, aim).part
            e = estimate(part)
            if e.replicated and e.seeds < 2:
                raise Refused("one_seed", "one seed")
            if e.fewest_clusters < 2:
                raise Refused("handful_of_queries", "a set has one query")
            made[x] = (part, e)
        except Refused as refusal:
            reasons[x] = refusal.reason
    adjusted = simultaneous_level(
        [p for p, _ in made.values()], [e for _, e in made.values()], level, resamples
    )
    bands: dict[float, tuple[float, float, float]] = {}
    alone: dict[float, str] = {}
    for x in others:
        if x not in made:
            alone[x] = "refused"
            continue
        e = made[x][1]
        width = e.half_width(adjusted)
        bands[x] = (e.mean, e.mean - width, e.mean + width)
        alone[x] = judged_alone(aim.sign * e.mean, e.half_width(share), margin)
        if e.replicated and e.seeds < fewest_seeds:
            alone[x], reasons[x] = "refused", f"{e.seeds} seeds are too few"
    ahead = [x for x in others if direction * (x - reference) > 0]
    tested = alone | dict(zip(ahead, in_fixed_order([alone[x] for x in ahead]), strict=True))
    safe, stopped = reference, ""
    for x in ahead:
        if tested[x] != "no_degradation":
            stopped = f"{x:g}: {reasons.get(x, tested[x].replace('_', ' '))}"
            break
        safe = x
    points = [Point(reference, arms[reference], 0.0, 0.0, 0.0, "reference")]
    for x in others:
        difference, lower, upper = bands.get(x, (None, None, None))
        points.append(Point(x, arms[x], difference, lower, upper, tested[x], reasons.get(x, "")))
    points.sort(key=lambda p: direction * p.x)
    known = [p for p in points if p.difference is not None and direction * (p.x - reference) >= 0]
    curves = np.array([[p.difference, p.lower, p.upper] for p in known], dtype=float) * aim.sign
    curves[:, 1:].sort(axis=1)
    xs = [p.x for p in known]
    crossing = tuple(_crossing(xs, curves[:, i], -margin) for i in (0, 1, 2))
    return DoseResponse(
        aim, reference, margin, share, tuple(points), safe, stopped, (crossing[0], crossing[1], crossing[2])
    )


def interactions(
    scores: Scores,
    arms: Mapping[tuple[float, float | str], str],
    aim: Aim,
    *,
    reference: float = 1.0,
    level: float = 0.05,
    resamples: int = 10_000,
) -> tuple[Interaction, ...]:
    """Differences of differences: does the effect of x (against its reference) depend on z?

    `arms`: (x, z) → arm. The effect at each z is set against that at the first. Exploratory.
    """
    zs = list(dict.fromkeys(z for _, z in arms))
    made: list[tuple[float, float | str, Crossed, Estimate]] = []
    for x in sorted({x for x, _ in arms if x != reference}, reverse=True):
        for z in zs[1:]:
            corners = [(x, z), (reference, z), (x, zs[0]), (reference, zs[0])]
            if all(corner in arms for corner in corners):
                weights = {arms[c]: w for c, w in zip(corners, (1.0, -1.0, -1.0, 1.0), strict=True)}
                try:
                    part = contrast(scores, weights, aim).part
                except Refused:
                    continue
                e = estimate(part)
                if (e.seeds > 1 or not e.replicated) and e.fewest_clusters > 1:
                    made.append((x, z, part, e))
    adjusted = simultaneous_level([m[2] for m in made], [m[3] for m in made], level, resamples)
    return tuple(
        Interaction(x, z, e.mean, e.mean - e.half_width(adjusted), e.mean + e.half_width(adjusted))
        for x, z, _, e in made
    )


def exchange_rate(
    scores: Scores, arm: str, reference: str, *, gain: Aim, cost: Aim, level: float = 0.05
) -> Exchange:
    """Points of `gain` won per point of `cost` lost, each against the reference.

    Fieller's set (1954): all rates r for which gain + r·(difference of cost) cannot be told from zero;
    shared seeds and queries are in it. Given only where the loss itself excludes zero.
    """
    weights = {arm: 1.0, reference: -1.0}
    try:
        won, lost = contrast(scores, weights, gain), contrast(scores, weights, cost)
    except Refused as refusal:
        return Exchange(None, None, None, refusal.reason)
    if won.seeds != lost.seeds or len(won.seeds) < 2:
        return Exchange(None, None, None, "needs the same two or more seeds on both sides")
    loss = estimate(lost.part)
    if cost.sign * loss.mean + loss.half_width(level) >= 0:
        return Exchange(None, None, None, "the loss cannot be told from zero")

    gains = combine([won.part, lost.part], [gain.sign, 0.0])  # the two on the same clusters
    costs = combine([won.part, lost.part], [0.0, cost.sign])

    def excess(rate: float) -> float:
        both = estimate(
            replace(
                gains,
                per_seed=gains.per_seed + rate * costs.per_seed,
                contributions=gains.contributions + rate * costs.contributions,
                weights=gains.weights + abs(rate) * costs.weights,
            )
        )
        return abs(both.mean) - both.half_width(level)

    rate = -gain.sign * estimate(won.part).mean / (cost.sign * loss.mean)
    ends = [_boundary(excess, rate, step) for step in (-1.0, 1.0)]
    return Exchange(
        rate, ends[0], ends[1], "" if all(e is not None for e in ends) else "unbounded on one side"
    )


def in_fixed_order(verdicts: Sequence[str]) -> list[str]:
    """Verdicts of arms in the order tested: after the first that is not `no_degradation`, `not reached`."""
    stop = next((i for i, verdict in enumerate(verdicts) if verdict != "no_degradation"), len(verdicts))
    return [verdict if i <= stop else "not reached" for i, verdict in enumerate(verdicts)]


def judged_alone(gain: float, width: float, margin: float) -> str:
    """The verdict on one arm by the half-width of its interval; a gain below zero is a loss."""
    if gain - width > -margin:
        return "no_degradation"
    return "degradation" if gain + width < -margin else "inconclusive"


def _crossing(xs: Sequence[float], ys: Floats, bar: float) -> float | None:
    """The first x, going down, at which the line through the points falls to `bar`."""
    for i in range(1, len(xs)):
        if ys[i - 1] > bar >= ys[i]:
            return float(xs[i - 1] + (xs[i] - xs[i - 1]) * (ys[i - 1] - bar) / (ys[i - 1] - ys[i]))
    return None


def _boundary(excess: Callable[[float], float], start: float, step: float) -> float | None:
    """The point beyond `start` where `excess` turns positive, by doubling and bisection."""
    inside, size = start, 0.01 * max(abs(start), 1.0)
    while excess(inside + step * size) <= 0:
        size *= 2
        if size > 1e6:
            return None
    low, high = inside, inside + step * size
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) <= 0 else (low, middle)
    return high
