"""The table of processors: what is chosen is fixed, and a processor with fewer instructions keeps the contract."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from s3dis_seg.graph import processor

FOLDER = Path(__file__).parent


@pytest.fixture
def machine(monkeypatch):
    """Pretend to be a machine: its name, what torch finds there, and variables of the environment."""

    def pretend(name, capability="DEFAULT", **variables):
        monkeypatch.setattr(platform, "machine", lambda: name)
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
        for variable in (processor.VARIABLE, "NUMBA_CPU_NAME"):
            monkeypatch.delenv(variable, raising=False)
        for variable, value in variables.items():
            monkeypatch.setenv(variable, value)
        return processor.instructions()

    return pretend


def test_the_instruction_set_decides_and_nothing_else(machine):
    assert machine("x86_64", "AVX512") == "avx512"
    assert machine("AMD64", "AVX2") == "avx2"
    assert machine("x86_64", "DEFAULT") == "sse2"
    assert machine("arm64") == machine("aarch64", "SVE256") == "neon"
    assert machine("riscv64") == "other"


def test_a_processor_named_for_numba_gets_what_every_x86_has(machine):
    assert machine("x86_64", "AVX512", NUMBA_CPU_NAME="core2") == "sse2"


def test_only_lesser_processors_can_be_forced(machine):
    assert machine("x86_64", "AVX512", S3DIS_SEG_INSTRUCTIONS="avx2") == "avx2"
    with pytest.raises(ValueError, match="'avx512'; set it to avx2 or sse2"):
        machine("x86_64", "AVX2", S3DIS_SEG_INSTRUCTIONS="avx512")


def test_forcing_sets_the_variables_of_the_libraries():
    environment = {processor.VARIABLE: "avx2", "ATEN_CPU_CAPABILITY": "avx512"}
    processor.force(environment)
    assert environment["ATEN_CPU_CAPABILITY"] == "avx2" and environment["NUMBA_CPU_NAME"] == "haswell"
    untouched = {}
    processor.force(untouched)
    assert untouched == {}


def test_every_entry_fits_its_registers_and_its_rows_are_whole_tiles():
    for entry in processor.TABLE.values():
        rows, vectors = entry.tile
        assert entry.rows % rows == 0
        registers = 32 if entry.instructions in ("avx512", "neon") else 16
        assert rows * vectors + vectors + 1 <= registers


def test_other_constants_or_files_give_kernels_another_place_in_the_cache(monkeypatch):
    vectors = pytest.importorskip("s3dis_seg.graph.vectors")
    before = vectors._fingerprint()
    assert before == vectors._fingerprint()
    monkeypatch.setattr(vectors, "processor", lambda: processor.TABLE["other"])
    assert vectors._fingerprint() != before


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="needs an x86 processor")
@pytest.mark.parametrize("name", processor.FORCED)
def test_processors_with_fewer_instructions_keep_the_contract(name):
    pytest.importorskip("numba")
    if os.environ.get(processor.VARIABLE):
        pytest.skip("is itself run with fewer instructions")
    if name == "avx2" and torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        pytest.skip("this processor has no AVX2")
    files = [FOLDER / f"test_{part}.py" for part in ("knn", "edge_max", "definition", "batch_norm")]
    command = [sys.executable, "-m", "pytest", "-q", "-k", "not torch_cluster and not triton", "-p", "no:cacheprovider"]
    environment = {**os.environ, processor.VARIABLE: name}
    subprocess.run([*command, *files], env=environment, cwd=FOLDER.parents[1], check=True, timeout=550)
