"""The way back to the official layout, which only tests need."""

from s3dis_seg.models.official import layer_names


def to_official(state):
    """State dict of a DeepGCN -> keys and shapes of lightaime/deep_gcns_torch (edge and mr convolutions only)."""
    theirs = layer_names(state)
    renamed = {}
    for key, value in state.items():
        prefix, _, leaf = key.rpartition(".")
        if prefix not in theirs:
            raise ValueError(f"{key} has no place in the official layout, which knows edge and mr convolutions only")
        # Their products are 1x1 convolutions: weights (D, C, 1, 1).
        renamed[f"{theirs[prefix]}.{leaf}"] = value[..., None, None] if value.dim() == 2 else value
    return renamed
