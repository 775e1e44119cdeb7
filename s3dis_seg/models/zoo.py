"""The named networks and their numbers."""

from dataclasses import fields, replace

from s3dis_seg.files import InputError
from s3dis_seg.models.deepgcn import DeepGCN, DeepGCNConfig

MODELS = {
    "resgcn7": DeepGCNConfig(blocks=7),
    "resgcn14": DeepGCNConfig(blocks=14),
    "resgcn28": DeepGCNConfig(),
    "resgcn28w": DeepGCNConfig(channels=128, k=8),
    "resgcn56": DeepGCNConfig(blocks=56, k=8),
    "resgcn112": DeepGCNConfig(blocks=112, k=8),
    "plaingcn28": DeepGCNConfig(block="plain", dilation=False, epsilon=0.0),
    "densegcn28": DeepGCNConfig(block="dense", channels=32, k=8),
    "resmrgcn28": DeepGCNConfig(conv="mr"),
}


def model_config(name="resgcn28", **overrides):
    """The numbers of a named network, some of them replaced. -> DeepGCNConfig

    InputError for an unknown name, an unknown override or a value out of range.
    """
    if name not in MODELS:
        raise InputError(f"there is no model {name!r}; choose one of {', '.join(MODELS)}")
    known = [field.name for field in fields(DeepGCNConfig)]
    unknown = sorted(set(overrides) - set(known))
    if unknown:
        raise InputError(f"a model has no setting {', '.join(unknown)}; its settings are {', '.join(known)}")
    return replace(MODELS[name], **overrides)


def create_model(name="resgcn28", **overrides):
    """A named network with fresh weights. -> DeepGCN, (B, N, 9) -> (B, N, 13)

    Every field of DeepGCNConfig may be overridden: create_model("resgcn28", blocks=14, channels=32, k=8, conv="mr").
    Weights are drawn from torch's random state (Kaiming normal, zero biases). InputError as in `model_config`.
    """
    return DeepGCN(model_config(name, **overrides))
