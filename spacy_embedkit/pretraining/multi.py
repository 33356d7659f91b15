"""Several objectives on one encoding."""

from dataclasses import replace
from math import isfinite
from typing import Any, Dict, List, Mapping, Optional

from spacy.vocab import Vocab
from thinc.api import Model

from .masked_model import Head, masked_language_model
from .masking import TOKEN_MASKING, Masking
from .objectives import Objective

NAME = "PretrainMulti.v1"


def build_pretrain_multi_v1(
    objectives: Dict[str, Any],
    weights: Optional[Dict[str, float]] = None,
    masking: Optional[Masking] = TOKEN_MASKING,
) -> Objective:
    """Learn several objectives at once, with one mask and one pass of the tok2vec.

    The heads are those of the objectives; their own maskings are not used. Heads that
    predict all tokens see the masked text too. The loss is the weighted sum of theirs;
    each is reported as "key.head", such as "chars.characters".

    objectives (Dict[str, Callable]): Objectives of this package, by names of your
        choice; at least one. At most one of them may need a pass over the text before
        pretraining, as PretrainTransformer.v1 does.
    weights (Optional[Dict[str, float]]): Factors of the losses and gradients of the
        objectives, above 0; the default is 1.
    masking (callable): As for PretrainCharacters.v1. None masks nothing, for objectives
        that predict all tokens.
    Shapes: docs of N tokens -> one prediction per head.
    Raises: ValueError if a weight is out of range, and when the objective is created
        from a vocab, if the objectives can't be combined.
    Source: Caruana 1997, doi:10.1023/A:1007379606734.
    """
    _check(objectives, weights or {})

    def create_objective(vocab: Vocab, tok2vec: Model) -> Model:
        models = {key: make(vocab, tok2vec) for key, make in objectives.items()}
        heads: List[Head] = []
        for key, model in models.items():
            for head in _heads_of(key, model):
                if masking is None and head.tokens == "masked":
                    raise ValueError(
                        f"{NAME}: masking is null, but objective {key!r} predicts "
                        "masked words; give a masking, or leave the objective out"
                    )
                weight = head.weight * (weights or {}).get(key, 1.0)
                heads.append(replace(head, name=f"{key}.{head.name}", weight=weight))
        model = masked_language_model(tok2vec, heads, masking)
        model.attrs.update(_preparation(models))
        return model

    return create_objective


def _check(objectives: Mapping[str, Any], weights: Mapping[str, float]) -> None:
    if not objectives:
        raise ValueError(
            f"{NAME}: objectives is empty, but at least one is needed; add a block "
            "[pretraining.objective.objectives.NAME]"
        )
    # The annotation can't say so: while a config is filled, these are still blocks.
    for key, objective in objectives.items():
        if not callable(objective):
            raise ValueError(
                f"{NAME}: objective {key!r} is {objective!r}, but it has to be a block "
                "with @architectures"
            )
    for key, weight in weights.items():
        if key not in objectives:
            raise ValueError(
                f"{NAME}: weights has {key!r}, but the objectives are "
                f"{', '.join(map(repr, objectives))}; use these names"
            )
        if not (isfinite(weight) and weight > 0):
            raise ValueError(
                f"{NAME}: the weight of {key!r} is {weight}, but it has to be above 0; "
                "leave the objective out to do without it"
            )


def _heads_of(key: str, model: Model) -> List[Head]:
    heads = model.attrs.get("heads")
    if not heads:
        raise ValueError(
            f"{NAME}: objective {key!r} made a model {model.name!r} without heads, but "
            "only objectives of spacy-embedkit share an encoding; use "
            "spacy-embedkit.PretrainCharacters.v1 for spacy.PretrainCharacters.v1, and "
            "so on"
        )
    return list(heads)


def _preparation(models: Mapping[str, Model]) -> Dict[str, Any]:
    """Return attrs for the one objective that needs a pass over the text."""
    found = {
        key: model.attrs["prepare"]
        for key, model in models.items()
        if model.attrs.get("prepare") is not None
    }
    if len(found) > 1:
        raise ValueError(
            f"{NAME}: objectives {', '.join(map(repr, found))} each need a pass over "
            "the text before pretraining, but at most one may; leave out all but one"
        )
    return {"prepare": next(iter(found.values()))} if found else {}
