"""Where to try next, and which trial to give up: Optuna, behind one door.

In: the space, the seed, trials that are over. Out: figures. The same seed and trials give the same figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.core.search import Trial
from tasks.core.search_space import Choice, Figure, figures_at, place_of

if TYPE_CHECKING:
    import optuna

#: Completed trials before one is given up: fewer say little.
UNPRUNED = 5
#: Per cent of the completed trials that another must keep up with. With half of them, the search ended at an AUROC
#: that was lower by 0.01 (docs/LOG.md).
_KEPT = 75.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A trial that is to be run: its figures, and what it is worth as it goes on."""

    figures: Mapping[str, Figure]
    trial: optuna.Trial

    def is_hopeless(self, auroc: float, step: int) -> bool:
        """Tell what the trial has come to after a fold, numbered from 1; return whether to give it up.

        It is given up where the best it had so far is below what three quarters of the completed trials had there.
        """
        self.trial.report(auroc, step)
        return self.trial.should_prune()


class Sampler:
    """Bergstra et al. (2011), "Algorithms for Hyper-Parameter Optimization": a tree of Parzen estimators.

    Trials that lie outside the space, as the profile's own may, teach it nothing.
    """

    def __init__(self, space: Sequence[Choice], *, seed: int, told: Sequence[Trial]) -> None:
        """Take up the trials so far.

        Args:
            space: that is searched.
            seed: of the search.
            told: trials that are over, in their order.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space, self._seed = space, seed
        pruner = optuna.pruners.PercentilePruner(_KEPT, n_startup_trials=UNPRUNED)
        self._study = optuna.create_study(direction="maximize", pruner=pruner)
        for trial in told:
            self.add(trial)

    def ask(self, number: int) -> Asked:
        """Return the trial of this number; the draw depends on seed, number and the trials so far alone."""
        import optuna

        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        self._study.sampler = optuna.samplers.TPESampler(seed=seed)
        trial = self._study.ask(_distributions(self._space))
        return Asked(figures_at(trial.params, self._space), trial)

    def tell(self, asked: Asked, trial: Trial) -> None:
        """Say how a trial ended that was asked for; one that diverged ranks behind all others."""
        import optuna

        if trial.state == "completed":
            self._study.tell(asked.trial, trial.auroc)
        else:
            self._study.tell(asked.trial, state=optuna.trial.TrialState.PRUNED)

    def add(self, trial: Trial) -> None:
        """Take up a trial that nobody asked for."""
        import optuna

        place = place_of(trial.figures, self._space)
        if place is None:
            return
        completed = trial.state == "completed"
        states = optuna.trial.TrialState
        self._study.add_trial(
            optuna.trial.create_trial(
                state=states.COMPLETE if completed else states.PRUNED,
                value=trial.auroc if completed else None,
                params=place,
                distributions=_distributions(self._space),
                intermediate_values=dict(enumerate(trial.steps, 1)),
            )
        )


def _distributions(space: Sequence[Choice]) -> dict[str, Any]:
    """Return each figure as the place of its value, so that neighbours are alike for the sampler too."""
    from optuna.distributions import IntDistribution

    return {figure.name: IntDistribution(0, len(figure.values) - 1) for figure in space}
