# Set-up and the two commands of the README. `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CORES ?= all
WORKERS ?= 2
FUZZ_SECONDS ?= 3600
MUTANTS_SEED ?= 0
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCKED := --require-hashes --no-deps --only-binary :all:
export SOURCE_DATE_EPOCH ?= 0

.DEFAULT_GOAL := help
.PHONY: help setup basic-test reproduce bundle cluster test test-all unit check fuzz mutants kills dag lock sbom metadata release docs pictures licences clean distclean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: pyproject.toml requirements/lock.txt requirements/torch.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "tilecast needs Python 3.11 to 3.13; set PYTHON=python3.12, say" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) $(LOCKED) -r requirements/lock.txt
	$(PIP) -r requirements/torch.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

setup: $(VENV)/.ready ## create .venv with the pinned dependencies

basic-test: setup ## does the package work here? under a minute; verdicts in build/basic-test.json
	$(BIN)/python tests/support/basic_test.py

reproduce: setup ## run the whole workflow and print where the report is
	$(BIN)/snakemake --cores $(CORES) --logger tilecast
	@echo "report: $(CURDIR)/results/report/index.html"

build/cluster/.ready: requirements/cluster.txt requirements/cluster-test.txt $(VENV)/.ready
	rm -rf build/cluster
	$(PIP) $(LOCKED) --target build/cluster \
		-r requirements/cluster.txt -r requirements/cluster-test.txt
	touch $@

cluster: build/cluster/.ready ## what SLURM, Kubernetes and S3 need, into build/cluster (docs/use/cluster.md)

bundle: reproduce ## pack results and measurements into build/tilecast-results.tar.gz, checksummed
	$(BIN)/tilecast bundle make

UNIT = $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests/unit
WORKFLOW = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder tests/workflow tests/cluster tests/report

test: check cluster ## every check and every promise; says at its end where the time went
	FUZZ_SECONDS=120 $(UNIT) -m "not exhaustive"
	$(WORKFLOW) -m "not exhaustive"

test-all: check cluster ## the same with every draw
	FUZZ_SECONDS=600 TILECAST_FUZZ=50 $(UNIT)
	$(WORKFLOW)

unit: setup ## unit tests without the slow ones: under a minute
	$(UNIT) -m "not slow and not exhaustive"

fuzz: setup ## hostile files for every parser, seeds random; FUZZ_SECONDS=3600, FUZZ_REPLAY='parser:number' for one
	$(BIN)/python tests/support/fuzz.py --seconds $(FUZZ_SECONDS) $(if $(FUZZ_REPLAY),--replay '$(FUZZ_REPLAY)')

mutants: setup ## how many of 200 small faults the unit tests notice; MUTANTS_SEED=0
	$(BIN)/python tests/support/mutants.py --seed $(MUTANTS_SEED)

kills: setup ## kill `make reproduce` at seeded moments, go on, compare every byte
	$(BIN)/python tests/support/kills.py

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
	$(BIN)/snakemake --rulegraph | $(BIN)/python tests/support/dag.py | dot -Tsvg > docs/images/dag.svg

pictures: reproduce dag ## take the README's pictures of the report's first screen anew (needs Chromium)
	$(BIN)/python tests/support/screens.py

# Environments apart: tools (what `make lock` runs), docs, package (docs/develop/dependencies.md).
build/%/.ready: requirements/%.txt
	rm -rf build/$* && $(PYTHON) -m venv build/$*
	build/$*/bin/python -m pip install --quiet --disable-pip-version-check $(LOCKED) -r $<
	touch $@

lock: build/tools/.ready ## pin what pyproject.toml asks for, with hashes; UPGRADE=--upgrade takes the newest versions
	PATH="$(CURDIR)/build/tools/bin:$$PATH" python tests/support/lock.py $(UPGRADE)

sbom: build/package/.ready ## the pinned packages as a CycloneDX bill of materials, into build/sbom.cdx.json
	cat requirements/lock.txt requirements/torch.txt requirements/cluster.txt | env -u SOURCE_DATE_EPOCH \
		build/package/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible -o build/sbom.cdx.json -

metadata: setup ## renew codemeta.json and .zenodo.json from CITATION.cff
	$(BIN)/python tests/support/citation.py

release: setup sbom ## everything of a version in one archive below build/: source, wheel, bill of materials, results
	$(BIN)/python tests/support/release.py

transcript: setup ## run the commands of docs/use/first-commands.md and docs/evidence/scenarios.md anew
	$(BIN)/python benchmarks/transcript.py

docs: build/docs/.ready ## build the documentation as a site into build/site; a dead link fails
	NO_MKDOCS_2_WARNING=1 build/docs/bin/mkdocs build --strict --quiet

licences: setup cluster build/docs/.ready ## renew docs/develop/licences.md from what is installed
	$(BIN)/python tests/support/licences.py docs/develop/licences.md

clean: ## remove results, keep .venv and the fetched artifact
	find results -mindepth 1 -maxdepth 1 ! -name README.md ! -name artifact -exec rm -rf {} +

distclean: clean ## remove everything that was made
	rm -rf results/artifact .snakemake $(VENV)
