"""The grid: which networks it holds, and that a name means one network."""

import itertools

from s3dis_seg.depth.systems import ADJACENCIES, grid
from s3dis_seg.models.config import BLOCKS, CONVOLUTIONS, GRAPHS, NORMS, DeepGCNConfig

EVERYTHING = {
    "block": BLOCKS,
    "blocks": (3, 4),
    "conv": CONVOLUTIONS,
    "norm": NORMS,
    "fusion": (True, False),
    "graph": GRAPHS,
    "dilation": (True, False),
    "epsilon": (0.0, 0.2),
    "edge_drop": (0.0, 0.25),
}


def test_a_grid_holds_every_combination_for_every_seed_the_first_seed_first():
    systems = grid(2, block=["plain", "res"], blocks=[7, 14])
    assert [(s.network.block, s.network.blocks, s.seed) for s in systems] == [
        (block, blocks, seed) for seed in (0, 1) for block, blocks in itertools.product(("plain", "res"), (7, 14))
    ]


def test_what_is_not_chosen_is_the_plainest():
    [system] = grid(1, blocks=[7])
    wanted = DeepGCNConfig(blocks=7, k=8, channels=16, dilation=False, epsilon=0.0, dropout=0.0)
    assert system.network == wanted
    assert system.name == "res-7-edge"


def test_every_network_has_a_name_of_its_own():
    systems = [s for k, channels in ((8, 16), (3, 16), (8, 32)) for s in grid(1, k, channels, **EVERYTHING)]
    assert len({system.name for system in systems}) == len(systems) == len(set(systems))


def test_the_name_says_what_differs_from_the_plainest_network():
    [system] = grid(1, k=4, block=["dense"], blocks=[5], conv=["gcn-none"], norm=["layer"], fusion=[False],
                    graph=["fixed"], dilation=[True], epsilon=[0.2], edge_drop=[0.25])  # fmt: skip
    assert system.name == "dense-5-gcn-none-k4-layernorm-nofusion-fixed-dilated-stochastic0.2-drop0.25"
    assert system.variant == "gcn-none-k4-layernorm-nofusion-fixed-dilated-stochastic0.2-drop0.25"
    assert system.words[:3] == ["gcn-none", "k4", "layernorm"]


def test_a_graph_convolution_is_named_after_its_adjacency():
    names = [grid(1, block=["plain"], blocks=[3], conv=[conv])[0].name for conv in ADJACENCIES.values()]
    assert names == [f"plain-3-gcn-{adjacency}" for adjacency in ADJACENCIES]


def test_networks_that_differ_in_one_setting_only_are_known():
    [one], [other], [third] = (grid(1, dilation=[d], blocks=[b]) for d, b in ((False, 7), (True, 7), (True, 9)))
    assert one.differs_only_in(other, "dilation") and one.differs_only_in(third, "dilation", "blocks")
    assert not one.differs_only_in(third, "dilation")


def test_every_adjacency_is_a_convolution():
    assert set(ADJACENCIES.values()) == {name for name in CONVOLUTIONS if name.startswith("gcn")}
