"""The networks that are compared: every combination of some settings, once for each seed. Imports no torch."""

import itertools
from dataclasses import dataclass, replace

from s3dis_seg.models.config import DeepGCNConfig

# How the adjacency of a GCN is normalised -> its convolution.
ADJACENCIES = {
    "none": "gcn-none",
    "random-walk": "gcn",
    "symmetric": "gcn-symmetric",
    "diagonal": "gcn-diagonal",
}
WORDS_OF_CONVOLUTIONS = {conv: f"gcn-{adjacency}" for adjacency, conv in ADJACENCIES.items()}


@dataclass(frozen=True)
class System:
    """A network and the seed of its weights and of the order of its training blocks."""

    network: DeepGCNConfig
    seed: int

    @property
    def name(self):
        """Such as "plain-28-edge-nofusion": connections, depth and variant."""
        return f"{self.network.block}-{self.network.blocks}-{self.variant}"

    @property
    def variant(self):
        """All settings but connections and depth."""
        return "-".join(self.words)

    @property
    def words(self):
        """The convolution, and a word for each setting that differs from the plainest network. -> list of str"""
        network = self.network
        words = [WORDS_OF_CONVOLUTIONS.get(network.conv, network.conv)]
        words += [f"k{network.k}"] if network.k != DEFAULT_K else []
        words += [f"{network.channels}channels"] if network.channels != DEFAULT_CHANNELS else []
        words += {"batch": [], "layer": ["layernorm"], "none": ["nonorm"]}[network.norm]
        words += [] if network.fusion else ["nofusion"]
        words += ["fixed"] if network.graph == "fixed" else []
        words += ["dilated"] if network.dilation else []
        words += [f"stochastic{network.epsilon:g}"] if network.epsilon else []
        words += [f"drop{network.edge_drop:g}"] if network.edge_drop else []
        return words

    def differs_only_in(self, other, *settings):
        """Whether two networks are alike but for these settings of DeepGCNConfig."""
        return replace(self.network, **{name: getattr(other.network, name) for name in settings}) == other.network


DEFAULT_K = 8
DEFAULT_CHANNELS = 16


def grid(seeds, k=DEFAULT_K, channels=DEFAULT_CHANNELS, **choices):
    """Every combination of the choices. -> list of System, all networks with seed 0 first

    choices: settings of DeepGCNConfig, each a sequence of values. What is not named is the plainest there is: no
    dilation, no random neighbours, no dropout.
    """
    fixed = {"dilation": False, "epsilon": 0.0, "dropout": 0.0, "k": k, "channels": channels}
    combinations = [dict(zip(choices, values)) for values in itertools.product(*choices.values())]
    networks = [DeepGCNConfig(**fixed | settings) for settings in combinations]
    return [System(network, seed) for seed in range(seeds) for network in networks]
