"""How blocks are cut."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BlockSettings:
    """How blocks were cut for a network: whoever uses its weights must cut them the same way.

    block_size, grid, frame_size and tallest are metres. grid: 0 keeps every point. frame_size: math.inf is the box of
    the whole room, as published. tallest: height of the tallest training room; a scan taller than this is tiled in z,
    None never. normalization: "none" or "official", see `features.normalize`.
    """

    num_points: int = 4096
    block_size: float = 1.0
    grid: float = 0.02
    frame_size: float = 8.0
    tallest: float | None = None
    normalization: str = "none"
