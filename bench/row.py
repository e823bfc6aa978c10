# SPDX-License-Identifier: Apache-2.0
"""What a row of the bench is, and the form of its result."""
import dataclasses
import statistics
import typing


@dataclasses.dataclass(frozen=True)
class Row:
    """measure(servers, side, quick) gives one figure; side is ours or the peer. mark is the ratio
    asked for, None where the row only tells."""
    name: str
    work: str
    unit: str
    peer: str
    mark: typing.Optional[float]
    larger: bool
    measure: typing.Callable
    ours: str = "dacmd"

    def run(self, servers, rounds, quick):
        figures = {self.ours: [], self.peer: []}
        for i in range(rounds):
            for side in (self.ours, self.peer) if i % 2 == 0 else (self.peer, self.ours):
                figures[side].append(self.measure(servers, side, quick))
        ratios = [(ours / peer if self.larger else peer / ours)
                  for ours, peer in zip(figures[self.ours], figures[self.peer])]
        return self.result(statistics.median(figures[self.ours]),
                           statistics.median(figures[self.peer]), statistics.median(ratios),
                           ratios)

    def result(self, ours, peer, ratio, ratios):
        return {"row": self.name, "work": self.work, "unit": self.unit, "ours": round(ours, 3),
                "peer": round(peer, 3), "peer_name": self.peer, "ratio": round(ratio, 3),
                "mark": self.mark, "holds": self.mark is None or ratio >= self.mark,
                "rounds": len(ratios), "spread": [round(min(ratios), 3), round(max(ratios), 3)]}


@dataclasses.dataclass(frozen=True)
class BoundRow(Row):
    """A figure with a bound of its own instead of a peer: the ratio is bound to figure (of figures
    that shall be large, figure to bound), and must be 1. measure(servers, quick) gives the figure
    of one run and what else is to be told."""
    bound: float = 0

    def run(self, servers, rounds, quick):
        figure, more = self.measure(servers, quick)
        ratio = figure / self.bound if self.larger else self.bound / figure
        return dict(self.result(figure, self.bound, ratio, [ratio]), more=more)
