# Set-up and the two commands of the README. `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CORES ?= all
WORKERS ?= 2
TORCH ?= 2.13.0
export SOURCE_DATE_EPOCH ?= 0

.DEFAULT_GOAL := help
.PHONY: help setup reproduce bundle cluster test check unit workflow-tests dag lock clean distclean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: pyproject.toml requirements/lock.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "tilecast needs Python 3.11 to 3.13; set PYTHON=python3.12, say" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' requirements/lock.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/lock.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

setup: $(VENV)/.ready ## create .venv with the pinned dependencies

reproduce: setup ## run the whole workflow and print where the report is
	$(BIN)/snakemake --cores $(CORES) --logger tilecast
	@echo "report: $(CURDIR)/results/report/index.html"

build/cluster/.ready: requirements/cluster.txt requirements/cluster-test.txt $(VENV)/.ready
	rm -rf build/cluster
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target build/cluster \
		-r requirements/cluster.txt -r requirements/cluster-test.txt
	touch $@

cluster: build/cluster/.ready ## what SLURM, Kubernetes and S3 need, into build/cluster (docs/use/cluster.md)

bundle: reproduce ## pack results and measurements into build/tilecast-results.tar.gz, checksummed
	$(BIN)/tilecast bundle make

test: check cluster ## every check and every test
	$(BIN)/python -m pytest -n $(WORKERS) tests/unit
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile tests/workflow tests/cluster tests/report

check: setup ## style, types and the workflow's own linter: the cheapest checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/mypy

envs/Dockerfile: envs/analysis.yaml envs/report.yaml envs/torch.yaml ## renew the image with one conda environment a rule
	$(BIN)/python tests/support/containerize.py $@

dag: setup ## draw the workflow's rules into docs/images/dag.svg (needs graphviz's `dot`)
	mkdir -p docs/images
	$(BIN)/snakemake --rulegraph | dot -Tsvg > docs/images/dag.svg

lock: ## resolve pyproject.toml afresh and write requirements/lock.txt (see docs/develop/dependencies.md)
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet "torch==$(TORCH)"
	build/lock/bin/python -m pip install --quiet ".[workflow,torch,report,test]"
	build/lock/bin/python -m pip freeze | grep -v '^tilecast' | sed 's/^\(torch==[0-9.]*\)+.*/\1/' > requirements/lock.txt

clean: ## remove results, keep .venv and the fetched artifact
	find results -mindepth 1 -maxdepth 1 ! -name README.md ! -name artifact -exec rm -rf {} +

distclean: clean ## remove everything that was made
	rm -rf results/artifact .snakemake $(VENV)
