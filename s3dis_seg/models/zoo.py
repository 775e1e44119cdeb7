"""Networks by name."""

from s3dis_seg.models.config import model_config
from s3dis_seg.models.deepgcn import DeepGCN


def create_model(name: str = "resgcn28", **overrides) -> DeepGCN:
    """A named network with fresh weights. -> DeepGCN, (B, N, 9) -> (B, N, 13)

    Every field of DeepGCNConfig may be overridden: create_model("resgcn28", blocks=14, channels=32, k=8, conv="mr").
    Weights are drawn from torch's random state (Kaiming normal, zero biases). InputError as in `model_config`.
    """
    return DeepGCN(model_config(name, **overrides))
