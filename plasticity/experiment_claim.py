"""A claim of the plasticity paper, put as a question to an experiment, and its answer."""

from __future__ import annotations

from dataclasses import dataclass, field

HOLDS, NOT, OPEN, UNKNOWN = "holds", "does not hold", "not settled", "not measured"
YES, NO, RISES, FALLS = "yes", "no", "rises", "falls"  # of another axis than the paper's
ONE_SEED = "one seed of pretraining: what another would change is not known"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A claim of the paper, put as a question, and what this experiment answers, in one sentence with its certainty.

    `of_paper`: whether it is about the paper's axis, weight decay. If not, statuses are yes, no, rises, falls in place of holds and
    does not hold.
    """

    claim: str
    group: str
    question: str
    answer: str
    status: str
    evidence: list[str] = field(default_factory=list)
    of_paper: bool = True


def unknown(claim: str, group: str, question: str, why: str) -> Finding:
    answer = f"{why[0].upper()}{why[1:]}."
    return Finding(claim=claim, group=group, question=question, answer=answer, status=UNKNOWN)
