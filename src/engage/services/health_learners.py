"""The health score's learned peers, on the same purchases: what a data scientist would train instead of it.

They need scikit-learn, which engage itself does not: it is the extra ``benchmark``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from engage.services.health_features import features
from engage.services.purchase_history import Period, Purchase, split

BOOSTING = "gradient boosting, inside the split"
LOGISTIC = "logistic regression, earlier split"
MISSING = (
    "Gradient boosting and logistic regression were not measured: they need scikit-learn, "
    "which comes with pip install 'engage-platform[benchmark]'."
)
_FOLDS = 5


def are_there() -> bool:
    """Whether scikit-learn is installed."""
    return find_spec("sklearn") is not None


def learned(
    histories: Mapping[str, list[Purchase]], earlier: Period, held_out: Sequence[Period]
) -> list[dict[str, list[float]]]:
    """Each held-out period's chances of coming back, 0-1, by name of the peer, in the order that ``split`` gives.

    Gradient boosting is trained on four fifths of the very customers and outcomes it is asked for, and asked for the
    last fifth: it knows of the period what nobody knows on its day. Logistic regression has seen the earlier period's
    outcome alone, as the shipped score's parameters have.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    logistic.fit(*_table(earlier, histories))
    found = []
    for period in held_out:
        rows, came_back = _table(period, histories)
        boosting = HistGradientBoostingClassifier(
            learning_rate=0.05, max_iter=150, max_leaf_nodes=8, min_samples_leaf=50, random_state=0
        )
        folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
        chances = {
            BOOSTING: cross_val_predict(boosting, rows, came_back, cv=folds, method="predict_proba"),
            LOGISTIC: logistic.predict_proba(rows),
        }
        found.append({name: [float(back) for _, back in pairs] for name, pairs in chances.items()})
    return found


def _table(period: Period, histories: Mapping[str, list[Purchase]]) -> tuple[list[list[float]], list[bool]]:
    known, came_back = split(period, histories)
    return [features(history, period.calibration) for history in known.values()], came_back
