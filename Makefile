# make demo   sets everything up and runs the whole pipeline on rooms made from a seed
# make test   the same environment plus the test tools, then the tests
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test clean

demo: $(VENV)/installed
	$(BIN)/s3dis-seg demo

test: $(VENV)/installed-for-tests
	$(BIN)/python -m pytest

# torch comes first and alone: asked for together with others, pip may take another build of it.
$(VENV)/installed: setup.cfg setup.py pyproject.toml
	bash tools/install_system_libraries.sh
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "s3dis_seg needs Python 3.10 or later")'
	$(PYTHON) -m venv $(VENV) || { echo "cannot make $(VENV): on Debian run apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install torch==2.13.0
	$(BIN)/python -m pip install --editable .
	touch $@

# torch-cluster is a second opinion on the graph: where it cannot be built, its tests are skipped.
$(VENV)/installed-for-tests: $(VENV)/installed
	$(BIN)/python -m pip install --editable '.[test]'
	bash tools/install_torch_cluster.sh $(BIN)/python || echo "torch-cluster was not built; its tests will be skipped"
	touch $@

clean:
	rm -rf $(VENV) demo build *.egg-info
